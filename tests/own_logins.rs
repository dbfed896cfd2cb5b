//! A legacy application that still logs in, or out, by itself: it gets its vendor's own kind of
//! answer, and the shared token lives on.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokenferry::demo::{Crayon, Crewmojo, CrmCom, OAuth2, Rules, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::client::{self, get, json, send, text, token_number};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crayon, crewmojo, crm, partner, route, simulate};

const PLACEHOLDER: &str = "tokenferry-placeholder";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const KEYS: &str = ", access: {api_keys: [{name: billing, key: k3y-of-billing}]}";
const KEY: &str = "k3y-of-billing";

/// A vendor, what lies before it, and a proxy whose only route is `/it`.
struct Set {
    simulator: Simulator,
    tap: Upstream,
    proxy: Proxy,
}

impl Set {
    async fn new(rules: impl Rules, base: &str, credential: impl Fn(&str) -> String, more: &str) -> Self {
        let simulator = simulate(rules).await;
        let tap = Upstream::before(simulator.origin()).await;
        let name = credential("").trim().split(':').next().unwrap().to_owned();
        let yaml = config(&[credential(&tap.url(""))], &[route("it", &tap.url(base), &name, more)]);
        Self { simulator, proxy: Proxy::start(&yaml).await, tap }
    }

    async fn crewmojo(more: &str) -> Self {
        Self::new(Crewmojo::default(), "/v1", |origin| crewmojo(origin, ""), more).await
    }

    async fn crm(more: &str) -> Self {
        Self::new(CrmCom::default(), "/crmapi/rest/v2", |origin| crm(origin, ""), more).await
    }

    async fn crayon(more: &str) -> Self {
        Self::new(Crayon::default(), "/api/v1", |origin| crayon(origin, ""), more).await
    }

    async fn oauth2(more: &str) -> Self {
        Self::new(OAuth2::default(), "/", |origin| partner(origin, ""), more).await
    }

    async fn post(&self, target: &str, content_type: &str, body: &str) -> Response<Bytes> {
        client::post(self.proxy.address(), target, content_type, body.to_owned()).await
    }

    /// Asserts that data is still served, with the first token.
    async fn assert_first_token_lives(&self) {
        let answer = get(self.proxy.address(), "/it/data").await;
        assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{}", text(&answer));
        assert_eq!(self.simulator.token_requests(), 1);
    }
}

fn assert_answer(answer: &Response<Bytes>, expected: &Value) {
    assert_eq!(answer.status(), 200, "{}", text(answer));
    assert_eq!(answer.headers()["content-type"], JSON);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(json(answer), *expected);
}

#[tokio::test]
async fn crewmojo_is_answered_for_in_its_own_form() {
    let set = Set::crewmojo("").await;
    set.assert_first_token_lives().await;
    let expected = json!({"access_token": PLACEHOLDER, "token_type": "Bearer", "expires_in": 1800});
    let login = r#"{"grant_type":"client_credentials","client_id":"old","client_secret":"gone"}"#;
    for path in ["/it/oauth/token", "/it/oauth/token/"] {
        assert_answer(&set.post(path, JSON, login).await, &expected);
        assert_answer(
            &set.post(path, FORM, "grant_type=client_credentials&client_id=a&client_secret=b").await,
            &expected,
        );
    }
    let data = Request::get("/it/data").header("authorization", format!("Bearer {PLACEHOLDER}")).body(Full::default());
    assert_eq!(token_number(&send(set.proxy.address(), data.unwrap()).await), Some(1));
    set.assert_first_token_lives().await;
    assert!(set.tap.seen().iter().all(|seen| seen.method != "POST" || !seen.body.starts_with(login.as_bytes())));
}

#[tokio::test]
async fn crm_com_is_answered_for_at_every_login_and_at_the_release() {
    let set = Set::crm("").await;
    set.assert_first_token_lives().await;
    let envelope = |data: Value| json!({"data": data, "status": {"code": "OK", "description": "", "message": ""}});
    for path in ["token", "web_api_key/token", "consumer_application_key/token", "web_api_key/token/"] {
        let login = r#"{"username":"u","password":"p","organisation":"o"}"#;
        let answer = set.post(&format!("/it/authentication/{path}"), JSON, login).await;
        assert_answer(&answer, &envelope(json!({"token": PLACEHOLDER})));
    }
    let released = set.post("/it/authentication/token/release", JSON, &format!(r#"{{"token":"{PLACEHOLDER}"}}"#)).await;
    assert_answer(&released, &envelope(json!({})));
    let query = get(set.proxy.address(), &format!("/it/data?token={PLACEHOLDER}")).await;
    assert_eq!(token_number(&query), Some(1), "{}", text(&query));
    let body = set.post("/it/data", JSON, &format!(r#"{{"token":"{PLACEHOLDER}"}}"#)).await;
    assert_eq!(token_number(&body), Some(1), "{}", text(&body));
    set.assert_first_token_lives().await;
}

#[tokio::test]
async fn crayon_and_plain_oauth2_are_answered_for_in_their_own_form() {
    let set = Set::crayon("").await;
    set.assert_first_token_lives().await;
    let expected = json!({
        "AccessToken": PLACEHOLDER, "IdentityToken": null, "Error": null, "ExpiresIn": 3600,
        "TokenType": "Bearer", "RefreshToken": null,
    });
    for path in ["/it/connect/token/", "/it/connect/token"] {
        assert_answer(
            &set.post(path, FORM, "grant_type=password&username=a&password=b&scope=CustomerApi").await,
            &expected,
        );
    }
    set.assert_first_token_lives().await;

    let set = Set::oauth2("").await;
    set.assert_first_token_lives().await;
    let expected = json!({"access_token": PLACEHOLDER, "token_type": "Bearer", "expires_in": 300});
    assert_answer(&set.post("/it/oauth2/token", FORM, "grant_type=client_credentials").await, &expected);
    set.assert_first_token_lives().await;
}

#[tokio::test]
async fn a_login_of_ones_own_is_answered_for_where_its_pointers_say() {
    let upstream = Upstream::answering(|_| {
        let body = r#"{"status":{"code":"OK"},"data":{"id":"t","ttl":60}}"#;
        Response::builder().header("content-type", JSON).body(Full::from(body)).unwrap()
    })
    .await;
    let credential = format!(
        "  acme: {{provider: custom, request: {{url: \"{}\", form: {{a: b}}}}, lifetime: 7m, response: {{token: /data/id, \
         expires_in: /data/ttl, success: {{pointer: /status/code, equals: OK}}}}}}\n",
        upstream.url("/login")
    );
    let proxy = Proxy::start(&config(&[credential], &[route("it", &upstream.url("/"), "acme", "")])).await;
    let answer = client::post(proxy.address(), "/it/login", FORM, "user=a").await;
    assert_answer(&answer, &json!({"status": {"code": "OK"}, "data": {"id": PLACEHOLDER, "ttl": 420}}));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn where_a_key_is_asked_for_the_login_presents_it_and_gets_it_back_as_its_token() {
    let set = Set::crewmojo(KEYS).await;
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("anyone:{password}")));
    let json_login =
        |secret: &str| format!(r#"{{"grant_type":"client_credentials","client_id":"a","client_secret":"{secret}"}}"#);
    let login = |header: Option<(&'static str, String)>, content_type: &'static str, body: String| {
        let mut request = Request::post("/it/oauth/token").header("content-type", content_type);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        send(set.proxy.address(), request.body(Full::from(body)).unwrap())
    };
    let form = |secret: &str| format!("grant_type=client_credentials&client_id=a&client_secret={secret}");
    for answer in [
        login(None, JSON, json_login(KEY)).await,
        login(None, FORM, form(KEY)).await,
        login(Some(("authorization", format!("Bearer {KEY}"))), JSON, json_login("gone")).await,
        login(Some(("authorization", basic(KEY))), FORM, "grant_type=client_credentials".to_owned()).await,
        login(Some(("x-api-key", KEY.to_owned())), JSON, json_login("gone")).await,
    ] {
        assert_eq!((answer.status().as_u16(), json(&answer)["access_token"].as_str()), (200, Some(KEY)));
    }
    for answer in [
        login(None, JSON, json_login("wrong")).await,
        login(None, FORM, form("")).await,
        login(None, JSON, "{".to_owned()).await,
        login(None, JSON, String::new()).await,
        login(None, "text/plain", KEY.to_owned()).await,
        login(Some(("authorization", basic("wrong"))), FORM, form("wrong")).await,
    ] {
        assert_eq!(answer.status(), 401, "{}", text(&answer));
        assert!(!text(&answer).contains(PLACEHOLDER) && !text(&answer).contains(KEY));
    }
    assert_eq!((set.simulator.token_requests(), set.tap.seen().len()), (0, 0));

    let with = |token: &str| {
        Request::get("/it/data")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::<Bytes>::default())
            .unwrap()
    };
    assert_eq!(
        send(set.proxy.address(), with(PLACEHOLDER)).await.status(),
        401,
        "the placeholder of others lets nobody in"
    );
    let answer = send(set.proxy.address(), with(KEY)).await;
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)));
    for seen in set.tap.seen() {
        let shown = format!("{seen:?}");
        assert!(!shown.contains(KEY), "the key stays here: {shown}");
    }
}

#[tokio::test]
async fn where_a_user_is_asked_for_a_login_presents_them_as_every_request_does() {
    // Of "p4ss", with the least that argon2 takes.
    let hash = {
        use argon2::PasswordHasher as _;
        let argon2 = argon2::Argon2::from(argon2::Params::new(8, 1, 1, None).unwrap());
        argon2.hash_password(b"p4ss").unwrap().to_string()
    };
    for keys in ["", ", api_keys: [{name: billing, key: k3y-of-billing}]"] {
        let set = Set::crewmojo(&format!(", access: {{users: [{{name: alice, password: '{hash}'}}]{keys}}}")).await;
        let login = |headers: &[(&str, String)]| {
            let mut request = Request::post("/it/oauth/token").header("content-type", FORM);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let body = format!("grant_type=client_credentials&client_id=alice&client_secret={KEY}");
            send(set.proxy.address(), request.body(Full::from(body)).unwrap())
        };
        let basic =
            |password: &str| ("authorization", format!("Basic {}", STANDARD.encode(format!("alice:{password}"))));
        let key = || ("x-api-key", KEY.to_owned());
        for headers in [vec![], vec![key()], vec![basic("wrong"), key()], vec![basic(KEY), key()]] {
            let answer = login(&headers).await;
            assert_eq!(answer.status(), 401, "{headers:?}: {}", text(&answer));
        }
        if !keys.is_empty() {
            assert_eq!(login(&[basic("p4ss")]).await.status(), 401, "the key in the body is none");
        }
        let answer = login(&[basic("p4ss"), key()]).await;
        let placeholder = if keys.is_empty() { PLACEHOLDER } else { KEY };
        assert_eq!((answer.status().as_u16(), json(&answer)["access_token"].as_str()), (200, Some(placeholder)));
        assert_eq!((set.simulator.token_requests(), set.tap.seen().len()), (0, 0));
    }
}

#[tokio::test]
async fn logins_are_held_to_their_routes_bounds_each_key_to_its_own() {
    let keys = ", access: {api_keys: [{name: one, key: k3y-one}, {name: two, key: k3y-two}]}";
    let set = Set::crewmojo(&format!("{keys}, limits: {{rate: {{rate: 1/h, per: key}}}}")).await;
    let login = async |key: &str| {
        let body = format!("grant_type=client_credentials&client_id=a&client_secret={key}");
        set.post("/it/oauth/token", FORM, &body).await.status().as_u16()
    };
    for (key, status) in [("k3y-one", 200), ("k3y-two", 200), ("k3y-one", 429), ("k3y-two", 429), ("wrong", 401)] {
        assert_eq!(login(key).await, status, "{key}");
    }
}

#[tokio::test]
async fn crayons_sdk_says_the_key_as_its_client_secret_in_a_basic_header() {
    let set = Set::crayon(KEYS).await;
    let basic = format!("Basic {}", STANDARD.encode(format!("client:{KEY}")));
    let request = Request::post("/it/connect/token/")
        .header("authorization", basic)
        .header("content-type", FORM)
        .body(Full::from("grant_type=password&username=a&password=b&scope=CustomerApi"))
        .unwrap();
    let answer = send(set.proxy.address(), request).await;
    assert_eq!((answer.status().as_u16(), json(&answer)["AccessToken"].as_str()), (200, Some(KEY)));
    assert!(set.tap.seen().is_empty());
}

#[tokio::test]
async fn refused_logins_and_releases_get_403_and_the_token_lives() {
    let refuse = ", token_endpoint: refuse";
    for (set, paths) in [
        (Set::crewmojo(refuse).await, &["/it/oauth/token", "/it/oauth/token/"][..]),
        (Set::crm(refuse).await, &["/it/authentication/token", "/it/authentication/token/release"]),
        (Set::crayon(refuse).await, &["/it/connect/token/", "/it/connect/token"]),
    ] {
        set.assert_first_token_lives().await;
        let arrived = set.tap.seen().len();
        for path in paths {
            let answer = set.post(path, JSON, "{}").await;
            assert_eq!(
                (answer.status().as_u16(), json(&answer)["code"].as_str()),
                (403, Some("token_endpoint_refused"))
            );
        }
        assert_eq!(set.tap.seen().len(), arrived);
        set.assert_first_token_lives().await;
    }
}

#[tokio::test]
async fn forwarded_logins_arrive_untouched_and_without_a_credential() {
    let set = Set::crm(", token_endpoint: forward").await;
    set.assert_first_token_lives().await;
    let key = format!("Basic {}", STANDARD.encode(format!("{}:", CrmCom::default().key)));
    let body = r#"{"unit": "1"}"#;
    let login = Request::post("/it/authentication/web_api_key/token?token=theirs")
        .header("authorization", &key)
        .header("content-type", JSON)
        .body(Full::from(body))
        .unwrap();
    let answer = send(set.proxy.address(), login).await;
    let theirs = json(&answer)["data"]["token"].as_str().expect("the vendor's own answer").to_owned();
    let seen = set.tap.last();
    assert_eq!(seen.target, "/crmapi/rest/v2/authentication/web_api_key/token?token=theirs");
    assert_eq!((seen.header("authorization"), seen.header("token")), (Some(key.as_str()), None));
    assert_eq!(seen.body, body);
    let answer = set.post("/it/authentication/token/release", JSON, &format!(r#"{{"token":"{theirs}"}}"#)).await;
    assert_eq!(json(&answer)["status"]["code"], "OK", "the client's own token is the client's to release");
    let data = get(set.proxy.address(), "/it/data").await;
    assert_eq!((token_number(&data), set.simulator.token_requests()), (Some(1), 2));
}

#[tokio::test]
async fn a_forwarded_login_that_kills_the_shared_token_is_mended_by_the_next_request() {
    let set = Set::crewmojo(", token_endpoint: forward").await;
    set.assert_first_token_lives().await;
    let Crewmojo { client_id, client_secret } = Crewmojo::default();
    let login = json!({"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret});
    let answer = set.post("/it/oauth/token", JSON, &login.to_string()).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    let data = get(set.proxy.address(), "/it/data").await;
    assert_eq!((data.status().as_u16(), token_number(&data)), (200, Some(3)), "the second was the client's");
}

#[tokio::test]
async fn a_login_whose_body_comes_after_its_head_keeps_its_connection() {
    let set = Set::crewmojo("").await;
    let body = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
    let mut stream = TcpStream::connect(set.proxy.address()).await.unwrap();
    let head = format!("POST /it/oauth/token HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // Many clients write head and body apart. Answered to the head alone, the connection would be
    // closed behind the answer.
    let mut answer = Vec::new();
    let early = tokio::time::timeout(Duration::from_millis(200), stream.read_buf(&mut answer)).await;
    assert!(early.is_err(), "answered before the body came");
    stream.write_all(body.as_bytes()).await.unwrap();
    while !String::from_utf8_lossy(&answer).contains("expires_in") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed");
    }
    stream.write_all(b"GET /it/data HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(client::status(&rest), 200, "{rest}");
}
