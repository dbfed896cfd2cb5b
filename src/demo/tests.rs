//! Each simulator against the vendor's own request, over a real socket.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

use super::*;
use crate::model::EndpointUrl;
use crate::vendor::{
    Answer, FaultClass, FaultReason, Grant, LifetimeSource, Login, Occasion, TokenFault, Vendor, parse,
};

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn token_number(&self) -> Option<u64> {
        self.headers.get("x-token-number")?.to_str().unwrap().parse().ok()
    }
}

/// One request on one connection of its own; `None` where it broke off.
async fn try_send(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Option<Got> {
    let url = EndpointUrl::parse(url).unwrap();
    let stream = TcpStream::connect(url.origin().authority().as_str()).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(url.target())
        .header("host", url.origin().authority().as_str())
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    driver.abort();
    Some(Got { status: head.status, headers: head.headers, body })
}

async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Got {
    try_send(method, url, headers, body).await.unwrap()
}

async fn get(url: &str, token: &str) -> Got {
    send(Method::GET, url, &[("authorization", &format!("Bearer {token}"))], "").await
}

fn vendor(provider: &str, settings: &Value, token_url: Option<&str>) -> Arc<dyn Vendor> {
    let url = token_url.map(|url| EndpointUrl::parse(url).unwrap());
    parse(provider, settings).unwrap().build(url).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Sends the vendor's own request and reads the answer as the vendor does.
async fn log_in(vendor: &dyn Vendor) -> Result<Grant, TokenFault> {
    let occasion = Occasion { now: 0, nonce: String::new(), refresh_token: None };
    let Ok(Login::Request(request)) = vendor.login(&occasion) else { panic!("nothing to send") };
    let headers: Vec<_> = request.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    let got = send(request.method, &request.url.to_string(), &headers, request.body.expose()).await;
    vendor.read(&Answer { status: got.status, headers: &got.headers, body: &got.body, sent: &[] })
}

async fn token(vendor: &dyn Vendor) -> String {
    log_in(vendor).await.unwrap().token.expose().to_owned()
}

async fn crewmojo(options: Options) -> (Simulator, Arc<dyn Vendor>) {
    let rules = Crewmojo::default();
    let settings = json!({"client_id": rules.client_id, "client_secret": rules.client_secret});
    let simulator = Simulator::start(rules, options).await.unwrap();
    let url = format!("{}/v1/oauth/token", simulator.login_origin());
    (simulator, vendor("crewmojo", &settings, Some(&url)))
}

async fn crm_com(settings: impl FnOnce(&CrmCom) -> Value) -> (Simulator, Arc<dyn Vendor>, String) {
    let rules = CrmCom::default();
    let mut settings = settings(&rules);
    let simulator = Simulator::start(rules, Options::default()).await.unwrap();
    let base = format!("{}/crmapi/rest/v2", simulator.origin());
    settings["base_url"] = base.clone().into();
    (simulator, vendor("crm_com", &settings, None), base)
}

fn by_key(rules: &CrmCom) -> Value {
    json!({"method": "web_api_key", "key": rules.key})
}

fn status_code(got: &Got) -> String {
    got.json().pointer("/status/code").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn crewmojos_earlier_tokens_die_with_every_new_one() {
    let (simulator, vendor) = crewmojo(Options::default()).await;
    let data = format!("{}/v1/employees?page=2", simulator.origin());
    let grant = log_in(&*vendor).await.unwrap();
    assert_eq!(grant.lifetime, Some((Duration::from_secs(1800), LifetimeSource::Answer)));
    let first = grant.token.expose().to_owned();
    let got = get(&data, &first).await;
    assert_eq!((got.status, got.token_number()), (StatusCode::OK, Some(1)));
    let second = token(&*vendor).await;
    let dead = get(&data, &first).await;
    assert_eq!(dead.status, StatusCode::UNAUTHORIZED);
    assert_eq!(dead.json(), json!({"success": "false", "httpErrorCode": 401, "errorMessage": "Unauthorized"}));
    assert_eq!(get(&data, &second).await.token_number(), Some(2));
    assert_eq!((simulator.token_requests(), simulator.data_requests(), simulator.refused()), (2, 3, 1));
}

#[tokio::test]
async fn crewmojo_refuses_what_its_documents_do_not_have() {
    let (simulator, _) = crewmojo(Options::default()).await;
    let url = format!("{}/v1/oauth/token", simulator.origin());
    let good = r#"{"grant_type":"client_credentials","client_id":"demo-crewmojo-client","client_secret":"demo-crewmojo-secret"}"#;
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let good_form = "grant_type=client_credentials&client_id=demo-crewmojo-client&client_secret=demo-crewmojo-secret";
    for (method, header, body, status) in [
        (Method::POST, json, good.to_owned(), 200),
        (Method::POST, form, good_form.to_owned(), 200),
        (Method::GET, json, good.to_owned(), 400),
        (Method::POST, form, good.to_owned(), 400),
        (Method::POST, json, good_form.to_owned(), 400),
        (Method::POST, ("content-type", "text/plain"), good.to_owned(), 400),
        (Method::POST, json, good.replace("client_credentials", "password"), 400),
        (Method::POST, json, good.replace("client_id", "id"), 400),
        (Method::POST, json, good.replace("demo-crewmojo-secret", "wrong"), 401),
        (Method::POST, form, good_form.replace("demo-crewmojo-client", "wrong"), 401),
    ] {
        let got = send(method, &url, &[header], &body).await;
        assert_eq!(got.status.as_u16(), status, "{header:?} {body}");
    }
    assert_eq!(simulator.tokens_issued(), 2);
}

#[tokio::test]
async fn the_echo_says_what_arrived_and_never_the_token() {
    let (simulator, vendor) = crewmojo(Options::default()).await;
    let token = token(&*vendor).await;
    let url = format!("{}/v1/x/y?a=b&t={token}", simulator.origin());
    let bearer = format!("Bearer {token}");
    let got = send(Method::DELETE, &url, &[("authorization", &bearer), ("x-a", "1"), ("x-a", "2")], "12345").await;
    assert!(!String::from_utf8_lossy(&got.body).contains(&token));
    let echo = got.json();
    for (pointer, expected) in [
        ("/vendor", json!("crewmojo")),
        ("/method", json!("DELETE")),
        ("/path", json!("/v1/x/y")),
        ("/query", json!("a=b&t=***")),
        ("/version", json!("HTTP/1.1")),
        ("/headers/x-a", json!("1, 2")),
        ("/body_length", json!(5)),
        ("/token_number", json!(1)),
    ] {
        assert_eq!(echo.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(echo.pointer("/headers/authorization").is_none());
    let without = send(Method::GET, &url, &[], "").await;
    assert_eq!((without.status, without.token_number()), (StatusCode::UNAUTHORIZED, None));
    let twice = send(Method::GET, &url, &[("authorization", &bearer), ("authorization", &bearer)], "").await;
    assert_eq!(twice.status, StatusCode::UNAUTHORIZED, "two credentials are none");
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge() {
    let (simulator, vendor) = crewmojo(Options::default()).await;
    let token = token(&*vendor).await;
    let stream = TcpStream::connect(simulator.origin().trim_start_matches("http://")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .uri(format!("{}/v1/employees", simulator.origin()))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::new(Bytes::new()))
        .unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["version"], "HTTP/2.0");
}

#[tokio::test]
async fn crm_coms_four_logins_give_tokens_that_say_two_hours_in_strings() {
    let logins: [fn(&CrmCom) -> Value; 5] = [
        |r| {
            json!({"method": "password", "username": r.username, "password": r.password,
                   "organisation": r.organisation, "unit": "1"})
        },
        by_key,
        |r| {
            json!({"method": "consumer_application_key", "key": r.key,
                   "access_token_identifier": {"authentication_code": r.authentication_code}})
        },
        |r| {
            json!({"method": "consumer_application_key", "key": r.key,
                   "access_token_identifier": {"identifier": r.identifier, "pass_code": r.pass_code}})
        },
        |r| json!({"method": "consumer_application_key", "jwt": r.jwt, "organisation": r.organisation, "unit": "1"}),
    ];
    for settings in logins {
        let (_simulator, vendor, _) = crm_com(settings).await;
        let grant = log_in(&*vendor).await.unwrap();
        assert_eq!(grant.lifetime, Some((Duration::from_secs(7200), LifetimeSource::Token)));
    }
}

#[tokio::test]
async fn crm_com_takes_the_token_where_it_documents_it_and_keeps_the_earlier_ones() {
    let (simulator, vendor, base) = crm_com(by_key).await;
    let (first, second) = (token(&*vendor).await, token(&*vendor).await);
    let json = ("content-type", "application/json");
    let query = send(Method::GET, &format!("{base}/subscriptions/list?token={first}&number=number=CI1"), &[], "").await;
    assert_eq!((status_code(&query).as_str(), query.token_number()), ("OK", Some(1)));
    assert_eq!(query.json().pointer("/data/query"), Some(&json!("token=***&number=number=CI1")));
    let url = format!("{base}/contact_information/create");
    let body = send(Method::POST, &url, &[json], &format!(r#"{{"token":"{second}","name":"x"}}"#)).await;
    assert_eq!(body.token_number(), Some(2));
    let header = send(Method::POST, &url, &[json, ("token", &first)], "{}").await;
    assert_eq!(header.token_number(), Some(1));
    let both = send(Method::POST, &url, &[json, ("token", &first)], &format!(r#"{{"token":"{first}"}}"#)).await;
    assert_eq!(both.token_number(), Some(1));

    for (method, url, headers, body) in [
        (Method::GET, url.clone(), vec![], String::new()),
        (Method::POST, format!("{url}?token={first}"), vec![json], "{}".to_owned()),
        (Method::POST, url.clone(), vec![json, ("token", first.as_str())], format!(r#"{{"token":"{second}"}}"#)),
        (Method::GET, format!("{url}?token={first}&token={second}"), vec![], String::new()),
        (Method::GET, format!("{url}?token=nonsense"), vec![], String::new()),
    ] {
        let got = send(method, &url, &headers, &body).await;
        assert_eq!(got.status, StatusCode::OK, "errors come inside a 200");
        let code = status_code(&got);
        let rule = vendor.defaults().refused_when.json.unwrap().matches;
        assert!(rule.is_match(&code), "{code}");
        assert_eq!(got.token_number(), None);
    }
    assert_eq!(simulator.refused(), 5);
    let deleted = send(Method::DELETE, &url, &[("token", &first)], "").await;
    assert_eq!(deleted.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn crm_com_refuses_wrong_logins_inside_a_200_and_releases_tokens() {
    for settings in [
        json!({"method": "password", "username": "demo", "password": "wrong", "organisation": "CRMDEMO"}),
        json!({"method": "web_api_key", "key": "wrong"}),
        json!({"method": "consumer_application_key", "key": "wrong",
               "access_token_identifier": {"authentication_code": "demo-crm-code"}}),
    ] {
        let (simulator, vendor, _) = crm_com(|_| settings).await;
        let fault = log_in(&*vendor).await.unwrap_err();
        assert_eq!((fault.class, fault.reason), (FaultClass::Refused, FaultReason::ErrorInside));
        assert_eq!(fault.code.as_deref(), Some("INVALID_CREDENTIALS"));
        assert_eq!((simulator.token_requests(), simulator.tokens_issued()), (1, 0));
    }
    let (_simulator, vendor, base) = crm_com(by_key).await;
    let token = token(&*vendor).await;
    let json = ("content-type", "application/json");
    let release = format!("{base}/authentication/token/release");
    let body = format!(r#"{{"token":"{token}"}}"#);
    assert_eq!(
        send(Method::POST, &release, &[json], &body).await.json(),
        json!({"data": {}, "status": {"code": "OK", "description": "", "message": ""}})
    );
    assert_eq!(status_code(&send(Method::POST, &release, &[json], &body).await), "INVALID_TOKEN");
    let login = format!("{base}/authentication/token");
    let form = send(Method::POST, &login, &[("content-type", "application/x-www-form-urlencoded")], "a=b").await;
    assert_eq!(status_code(&form), "INVALID_REQUEST");
}

fn crayon_settings() -> Value {
    let rules = Crayon::default();
    json!({
        "client_id": rules.client_id, "client_secret": rules.client_secret,
        "username": rules.username, "password": rules.password,
    })
}

#[tokio::test]
async fn crayon_takes_its_documented_login_and_answers_in_pascal_case() {
    let simulator = Simulator::start(Crayon::default(), Options::default()).await.unwrap();
    for path in ["/api/v1/connect/token/", "/api/v1/connect/token"] {
        let vendor = vendor("crayon", &crayon_settings(), Some(&format!("{}{path}", simulator.origin())));
        let grant = log_in(&*vendor).await.unwrap();
        assert_eq!(grant.lifetime, Some((Duration::from_secs(20060), LifetimeSource::Answer)));
        let me = get(&format!("{}/API/v1/Me/", simulator.origin()), grant.token.expose()).await;
        assert_eq!(me.status, StatusCode::OK);
        assert_eq!(me.json()["path"], "/API/v1/Me/");
    }
    let ping = send(Method::GET, &format!("{}/api/v1/ping", simulator.origin()), &[], "").await;
    assert_eq!((ping.status, ping.json()["token_number"].clone()), (StatusCode::OK, Value::Null));
    let bare = send(Method::GET, &format!("{}/api/v1/organizations", simulator.origin()), &[], "").await;
    assert_eq!(bare.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bare.json()["ErrorCode"], "401 Unauthorized");
}

#[tokio::test]
async fn crayon_answers_wrong_logins_with_400() {
    let simulator = Simulator::start(Crayon::default(), Options::default()).await.unwrap();
    let url = format!("{}/api/v1/connect/token/", simulator.origin());
    for (field, value, code) in [
        ("client_secret", "wrong", "invalid_client"),
        ("client_id", "wrong", "invalid_client"),
        ("password", "wrong", "invalid_grant"),
        ("username", "wrong", "invalid_grant"),
        ("scope", "Wrong", "invalid_scope"),
    ] {
        let mut settings = crayon_settings();
        settings[field] = value.into();
        let fault = log_in(&*vendor("crayon", &settings, Some(&url))).await.unwrap_err();
        assert_eq!((fault.class, fault.reason), (FaultClass::Refused, FaultReason::Status(400)), "{field}");
        assert_eq!(fault.code.as_deref(), Some(code));
    }
    assert_eq!(simulator.tokens_issued(), 0);
}

#[tokio::test]
async fn a_plain_endpoint_takes_the_client_in_header_or_body_and_both_grants() {
    let simulator = Simulator::start(OAuth2::default(), Options::default()).await.unwrap();
    let url = format!("{}/oauth2/token", simulator.origin());
    let rules = OAuth2::default();
    let base = json!({"client_id": rules.client_id, "client_secret": rules.client_secret});
    let with = |more: Value| {
        let mut settings = base.clone();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        vendor("oauth2", &settings, Some(&url))
    };
    for more in [
        json!({}),
        json!({"client_auth": "body"}),
        json!({"client_auth": "body", "body": "json", "scope": "a b", "extra": {"x": "y"}}),
        json!({"grant": "password", "username": rules.username, "password": rules.password}),
    ] {
        let token = token(&*with(more.clone())).await;
        assert_eq!(get(&format!("{}/anything", simulator.origin()), &token).await.status, StatusCode::OK, "{more}");
    }
    for (more, status, code) in [
        (json!({"client_secret": "wrong"}), 401, "invalid_client"),
        (json!({"client_secret": "wrong", "client_auth": "body"}), 401, "invalid_client"),
        (json!({"grant": "password", "username": "wrong", "password": "wrong"}), 400, "invalid_grant"),
    ] {
        let fault = log_in(&*with(more.clone())).await.unwrap_err();
        assert_eq!((fault.reason, fault.code.as_deref()), (FaultReason::Status(status), Some(code)), "{more}");
    }
}

#[tokio::test]
async fn tokens_end_when_their_time_is_over_or_when_they_are_revoked() {
    let (simulator, vendor) = crewmojo(Options { lifetime: Some(Duration::from_secs(1)), ..Options::default() }).await;
    let data = format!("{}/v1/employees", simulator.origin());
    let grant = log_in(&*vendor).await.unwrap();
    assert_eq!(grant.lifetime, Some((Duration::from_secs(1), LifetimeSource::Answer)));
    let ended = async {
        while get(&data, grant.token.expose()).await.status == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the token ends");
    simulator.adjust(|options| options.lifetime = None);
    let token = token(&*vendor).await;
    assert_eq!(get(&data, &token).await.status, StatusCode::OK);
    simulator.revoke_all();
    assert_eq!(get(&data, &token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_vendor_may_refuse_every_token_it_gives_out() {
    let (simulator, vendor) = crewmojo(Options { refuse_every_token: true, ..Options::default() }).await;
    let token = token(&*vendor).await;
    let data = format!("{}/v1/employees", simulator.origin());
    assert_eq!(get(&data, &token).await.status, StatusCode::UNAUTHORIZED);
    simulator.adjust(|options| options.refuse_every_token = false);
    assert_eq!(get(&data, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_vendors_clock_may_be_hours_off() {
    let (simulator, vendor, _) = crm_com(by_key).await;
    for skew in [7200, -7200, 0] {
        simulator.adjust(|options| options.clock_skew = skew);
        let grant = log_in(&*vendor).await.unwrap();
        let (life, source) = grant.lifetime.unwrap();
        assert_eq!(source, LifetimeSource::Token);
        assert!(life > Duration::from_secs(7190) && life <= Duration::from_secs(7200), "{skew}: {life:?}");
    }
}

#[tokio::test]
async fn the_token_endpoint_fails_in_every_way() {
    let (simulator, vendor) = crewmojo(Options::default()).await;
    let url = format!("{}/v1/oauth/token", simulator.login_origin());
    for (fault, class, reason) in [
        (Fault::status(StatusCode::SERVICE_UNAVAILABLE), FaultClass::Transient, FaultReason::Status(503)),
        (Fault::status(StatusCode::UNAUTHORIZED), FaultClass::Refused, FaultReason::Status(401)),
        (Fault::garbage(), FaultClass::Transient, FaultReason::Unreadable),
        (Fault::body(""), FaultClass::Transient, FaultReason::Empty),
        (Fault::redirect(HeaderValue::from_static("/elsewhere")), FaultClass::Refused, FaultReason::Redirect),
    ] {
        simulator.adjust(|options| options.token_fault = Some(fault.clone()));
        let found = log_in(&*vendor).await.unwrap_err();
        assert_eq!((found.class, found.reason), (class, reason), "{fault:?}");
    }
    simulator.adjust(|o| o.token_fault = Some(Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, 7)));
    assert_eq!(log_in(&*vendor).await.unwrap_err().retry_after, Some(Duration::from_secs(7)));

    let json = [(CONTENT_TYPE.as_str(), "application/json")];
    let body = r#"{"grant_type":"client_credentials","client_id":"demo-crewmojo-client","client_secret":"demo-crewmojo-secret"}"#;
    simulator.adjust(|options| options.token_fault = Some(Fault::Close));
    assert!(try_send(Method::POST, &url, &json, body).await.is_none());
    assert_eq!(simulator.tokens_issued(), 0);
    simulator.adjust(|options| options.token_fault = Some(Fault::LoseAnswer));
    assert!(try_send(Method::POST, &url, &json, body).await.is_none());
    assert_eq!(simulator.tokens_issued(), 1, "carried out, and the answer lost");
    simulator.adjust(|options| options.token_fault = Some(Fault::Hang));
    let hung = tokio::time::timeout(Duration::from_millis(50), try_send(Method::POST, &url, &json, body)).await;
    assert!(hung.is_err());
    simulator.adjust(|options| options.token_fault = None);
    assert!(log_in(&*vendor).await.is_ok());
}

#[tokio::test]
async fn the_login_goes_down_and_comes_back_while_the_data_stays() {
    let (simulator, vendor) = crewmojo(Options::default()).await;
    let token = token(&*vendor).await;
    let address = simulator.login_origin().trim_start_matches("http://").to_owned();
    simulator.set_login_down(true).await;
    assert!(TcpStream::connect(&address).await.is_err(), "nobody listens");
    let other = format!("{}/v1/oauth/token", simulator.origin());
    assert!(try_send(Method::POST, &other, &[], "").await.is_none());
    assert_eq!(get(&format!("{}/v1/employees", simulator.origin()), &token).await.status, StatusCode::OK);
    simulator.set_login_down(false).await;
    assert!(log_in(&*vendor).await.is_ok());
}

#[tokio::test]
async fn a_dropped_simulator_stops_with_its_connections() {
    let (simulator, _) = crewmojo(Options::default()).await;
    let address = simulator.origin().trim_start_matches("http://").to_owned();
    let mut open = TcpStream::connect(&address).await.unwrap();
    drop(simulator);
    let gone = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        matches!(tokio::io::AsyncReadExt::read(&mut open, &mut byte).await, Ok(0) | Err(_))
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it stops"));
}

#[test]
fn a_simulator_may_move_between_threads() {
    fn is_send<T: Send + Sync>() {}
    is_send::<Simulator>();
}

/// Logs in on this occasion; the status, and the error where there is one.
async fn log_in_on(vendor: &dyn Vendor, occasion: &Occasion) -> (u16, String) {
    let Ok(Login::Request(request)) = vendor.login(occasion) else { panic!("nothing to send") };
    let headers: Vec<_> = request.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    let got = send(request.method, &request.url.to_string(), &headers, request.body.expose()).await;
    (got.status.as_u16(), got.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn oauth2_takes_an_assertion_once_while_it_holds_and_for_itself_alone() {
    let key = rcgen::KeyPair::generate().unwrap();
    let public = Some(key.public_key_pem());
    let issuer = Some(Issuer { name: "i".to_owned(), subject: "s".to_owned(), key: key.public_key_pem() });
    let rules = OAuth2 { client_key: public, issuer, ..OAuth2::default() };
    let id = rules.client_id.clone();
    let simulator = Simulator::start(rules, Options::default()).await.unwrap();
    let url = format!("{}/oauth2/token", simulator.origin());
    let client = |changed: Value| {
        let mut settings =
            json!({"client_auth": "private_key_jwt", "client_id": id, "private_key": key.serialize_pem()});
        settings.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        vendor("oauth2", &settings, Some(&url))
    };
    let grant = |issuer: &str, subject: &str| {
        let assertion = json!({"private_key": key.serialize_pem(), "issuer": issuer, "subject": subject});
        vendor("oauth2", &json!({"client_auth": "none", "grant": "jwt_bearer", "assertion": assertion}), Some(&url))
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let at = |now: u64, nonce: &str| Occasion { now, nonce: nonce.to_owned(), refresh_token: None };
    let taken = (200, String::new());
    let no_client = (401, "invalid_client".to_owned());
    let no_grant = (400, "invalid_grant".to_owned());
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (vendor, occasion, expected) in [
        (client(json!({})), at(now, "1"), &taken),
        (client(json!({})), at(now, "1"), &no_client),
        (client(json!({})), at(now, "2"), &taken),
        (client(json!({})), at(now - 1000, "3"), &no_client),
        (client(json!({})), at(now + 1000, "4"), &no_client),
        (client(json!({"client_assertion_audience": "http://elsewhere/"})), at(now, "5"), &no_client),
        (client(json!({"private_key": other})), at(now, "6"), &no_client),
        (client(json!({"client_id": "other"})), at(now, "7"), &no_client),
        (grant("i", "s"), at(now, "8"), &taken),
        (grant("i", "s"), at(now, "8"), &no_grant),
        (grant("i", "t"), at(now, "9"), &no_grant),
        (grant("j", "s"), at(now, "10"), &no_grant),
    ] {
        assert_eq!(log_in_on(&*vendor, &occasion).await, *expected, "{occasion:?}");
    }
}

#[tokio::test]
async fn oauth2_exchanges_what_it_knows_and_says_what_it_gives() {
    let simulator = Simulator::start(OAuth2::default(), Options::default()).await.unwrap();
    let url = format!("{}/oauth2/token", simulator.origin());
    let OAuth2 { client_id, client_secret, subject_token, actor_token, .. } = OAuth2::default();
    let exchange = |changed: Value| {
        let mut settings = json!({"client_id": client_id, "client_secret": client_secret, "grant": "token_exchange",
                                  "subject_token": subject_token});
        settings.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        vendor("oauth2", &settings, Some(&url))
    };
    let occasion = Occasion { now: 0, nonce: String::new(), refresh_token: None };
    for (changed, status) in [
        (json!({}), 200),
        (json!({"actor_token": actor_token}), 200),
        (json!({"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"}), 200),
        (json!({"subject_token": "other"}), 400),
        (json!({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}), 400),
        (json!({"actor_token": "other"}), 400),
        (json!({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}), 400),
        (json!({"client_secret": "other"}), 401),
    ] {
        assert_eq!(log_in_on(&*exchange(changed.clone()), &occasion).await.0, status, "{changed}");
    }
}
