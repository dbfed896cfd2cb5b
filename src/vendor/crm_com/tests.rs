use serde_json::json;

use super::*;
use crate::vendor::tests::{answer, build, problems, sent};
use crate::vendor::{FaultClass, FaultReason, LifetimeSource};

const BASE: &str = "https://crm.example.com/crmapi/rest/v2";

/// The answer of the vendor's page POST `authentication/consumer_application_key/token`.
const SAMPLE: &str = r#" {
    "data": {
        "token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJjaWkiOiIyNjk1RkVEM0ZDRkQ0MDg0QUIzOUY0NEIxODg4OTEyMyIsInVzciI6Im1heXRlbXBsYXRlIiwib3JnIjoicHNfZGV2IiwiYXJpIjoiMjYxQkYyQjc5MTk4NDAxRDg5QTc5QzU0NUYxNkNCRUMiLCJvdW4iOiIxIiwiZXhwIjoiMTUxODEwNDg2NCIsImlhdCI6IjE1MTgwOTc2NjQiLCJqdGkiOiJGNTg2QjI4ODA0OEE0MTAwQjc0OUU2MkY0N0RGQzg0NCJ9.yvRGqFy7dL2H6RcqXOJQtD3zBoWHUDpoRN9Ma6hKfpg"
    },
    "status": {
        "code": "OK",
        "description": "",
        "message": ""
    }
}"#;

fn vendor(settings: Value) -> Arc<dyn Vendor> {
    let Value::Object(mut settings) = settings else { panic!("settings are a map") };
    settings.insert("base_url".to_owned(), BASE.into());
    build("crm_com", &settings.into(), None)
}

fn by_key() -> Arc<dyn Vendor> {
    vendor(json!({"method": "web_api_key", "key": "EE73C0AE64524371B5DDEFF5F7BB2192"}))
}

#[test]
fn a_password_login_is_three_or_four_json_members() {
    let settings = json!({"method": "password", "username": "u\"", "password": "p\\", "organisation": "CRMDEMO"});
    let request = sent(&*vendor(settings.clone()));
    assert_eq!(request.url, format!("{BASE}/authentication/token"));
    assert_eq!(request.headers, ["content-type: application/json", "accept: application/json"]);
    assert_eq!(request.body, r#"{"username":"u\"","password":"p\\","organisation":"CRMDEMO"}"#);
    let mut settings = settings;
    settings["unit"] = "1".into();
    assert!(sent(&*vendor(settings)).body.ends_with(r#","organisation":"CRMDEMO","unit":"1"}"#));
}

#[test]
fn a_key_is_the_user_of_a_basic_header_with_an_empty_password() {
    let request = sent(&*by_key());
    assert_eq!(request.url, format!("{BASE}/authentication/web_api_key/token"));
    assert_eq!(
        request.headers[2], "authorization: Basic RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6",
        "the vendor's sample, trailing colon and all"
    );
    assert_eq!(request.body, "{}");
    assert_eq!(sent(&*vendor(json!({"method": "web_api_key", "key": "k", "unit": "1"}))).body, r#"{"unit":"1"}"#);
}

#[test]
fn a_consumer_login_is_the_documents_example() {
    let request = sent(&*vendor(json!({
        "method": "consumer_application_key", "key": "EE73C0AE64524371B5DDEFF5F7BB2192", "unit": "1",
        "access_token_identifier": {"authentication_code": "p_kestora1!"},
    })));
    assert_eq!(request.url, format!("{BASE}/authentication/consumer_application_key/token"));
    assert_eq!(request.headers[2], "authorization: Basic RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6");
    assert_eq!(request.body, r#"{"access_token_identifier":{"authentication_code":"p_kestora1!"},"unit":"1"}"#);

    let request = sent(&*vendor(json!({
        "method": "consumer_application_key", "key": "k",
        "access_token_identifier": {"identifier": "i", "pass_code": "p"},
    })));
    assert_eq!(request.body, r#"{"access_token_identifier":{"identifier":"i","pass_code":"p"}}"#);
}

#[test]
fn a_consumer_login_by_jwt_needs_no_key() {
    let request =
        sent(&*vendor(json!({"method": "consumer_application_key", "jwt": "a.b.c", "organisation": "o", "unit": "1"})));
    assert_eq!(request.url, format!("{BASE}/authentication/consumer_application_key/token"));
    assert_eq!(request.headers.len(), 2, "no Basic header");
    assert_eq!(request.body, r#"{"jwt":"a.b.c","organisation":"o","unit":"1"}"#);
}

#[test]
fn the_token_is_opaque_and_a_jwt_says_its_own_life() {
    let grant = answer(&*by_key(), 200, SAMPLE).unwrap();
    assert!(grant.token.expose().starts_with("eyJ0eXAi"));
    assert_eq!(grant.lifetime, Some((Duration::from_secs(7200), LifetimeSource::Token)));
    for (body, token) in [
        (r#"{"status":{"code":"ok","description":null,"message":null},"data":{"token":"4AD9"}}"#, "4AD9"),
        (r#"{"data":{"token":1351195444},"status":{"code":"OK"}}"#, "1351195444"),
        (r#"{"Data":{"Token":"t"},"Status":{"Code":"OK"}}"#, "t"),
    ] {
        let grant = answer(&*by_key(), 200, body).unwrap();
        assert_eq!((grant.token.expose(), grant.lifetime), (token, None));
    }
}

#[test]
fn an_error_inside_a_200_is_told_by_what_it_names() {
    use FaultClass::{Refused, Transient};
    for (code, message, class) in [
        ("INVALID_CREDENTIALS", "", Refused),
        ("COM.CRM.EXCEPTION.SECURITY.LOGINEXCEPTION", "Invalid username or password", Refused),
        ("COM.CRM.EXCEPTION.SYSTEM.DATABASEEXCEPTION", "", Transient),
        ("NOT_OK", "", Transient),
    ] {
        let body = json!({"data": {"token": "t"}, "status": {"code": code, "description": "", "message": message}});
        let fault = answer(&*by_key(), 200, &body.to_string()).unwrap_err();
        assert_eq!((fault.class, fault.reason), (class, FaultReason::ErrorInside), "{code}");
        assert_eq!(fault.code.as_deref(), Some(code), "the code, never the message");
    }
    for (body, reason) in [
        (r#"{"data":{"token":"t"}}"#, FaultReason::Unreadable),
        (r#"{"data":{"token":"t"},"status":{}}"#, FaultReason::Unreadable),
        (r#"{"data":{"token":"t"},"status":"OK"}"#, FaultReason::Unreadable),
        (r#"{"data":{},"status":{"code":"OK"}}"#, FaultReason::NoToken),
        (r#"{"data":null,"status":{"code":"OK"}}"#, FaultReason::NoToken),
        (r#"{"data":{"token":"a\nb"},"status":{"code":"OK"}}"#, FaultReason::BadToken),
    ] {
        let fault = answer(&*by_key(), 200, body).unwrap_err();
        assert_eq!((fault.class, fault.reason), (Transient, reason), "{body}");
    }
}

#[test]
fn a_failed_status_keeps_its_class_and_the_envelopes_code() {
    let body = r#"{"data":{},"status":{"code":"SOME_CODE EE73C0AE64524371B5DDEFF5F7BB2192 RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6","message":"prose"}}"#;
    let fault = answer(&*by_key(), 401, body).unwrap_err();
    assert_eq!((fault.class, fault.reason), (FaultClass::Refused, FaultReason::Status(401)));
    assert_eq!(fault.code.as_deref(), Some("SOME_CODE *** ***"));
    assert_eq!(answer(&*by_key(), 500, body).unwrap_err().class, FaultClass::Transient);
}

#[test]
fn the_fields_that_a_method_needs_are_named() {
    let with = |settings: Value| {
        let Value::Object(mut settings) = settings else { panic!("settings are a map") };
        settings.insert("base_url".to_owned(), BASE.into());
        problems("crm_com", &settings.into())
    };
    assert_eq!(problems("crm_com", &json!({})), ["base_url", "method"]);
    assert_eq!(problems("crm_com", &json!({"base_url": "crm", "method": "web_api_key"})), ["base_url", "key"]);
    assert_eq!(with(json!({"method": "password"})), ["username", "password", "organisation"]);
    assert_eq!(
        with(json!({"method": "password", "username": "u", "password": "p", "organisation": "o", "key": "k"})),
        ["key"]
    );
    assert_eq!(with(json!({"method": "web_api_key", "key": "k", "username": "u"})), ["username"]);
    assert_eq!(with(json!({"method": "web_api_key", "key": "a:b"})), ["key"]);
    for release in [true, false] {
        assert_eq!(with(json!({"method": "web_api_key", "key": "k", "release": release})), [""; 0]);
    }
    let consumer = |rest: Value| {
        let Value::Object(mut settings) = rest else { panic!("settings are a map") };
        settings.insert("method".to_owned(), "consumer_application_key".into());
        with(settings.into())
    };
    assert_eq!(consumer(json!({})), ["key", "access_token_identifier"]);
    assert_eq!(consumer(json!({"jwt": "j"})), ["organisation"]);
    assert_eq!(consumer(json!({"jwt": "j", "organisation": "o", "key": "k"})), ["key"]);
    let identified = |identifier: Value| consumer(json!({"key": "k", "access_token_identifier": identifier}));
    assert_eq!(identified(json!({})), ["access_token_identifier"]);
    assert_eq!(identified(json!({"identifier": "i"})), ["access_token_identifier.pass_code"]);
    assert_eq!(identified(json!({"pass_code": "p"})), ["access_token_identifier.identifier"]);
    assert_eq!(
        identified(json!({"authentication_code": "a", "identifier": "i", "pass_code": "p"})),
        ["access_token_identifier"]
    );
}

#[test]
fn another_key_is_another_credential_and_another_password_is_not() {
    let key = |key: &str| vendor(json!({"method": "web_api_key", "key": key})).identity().parts;
    assert_ne!(key("a"), key("b"));
    let password = |password: &str| {
        vendor(json!({"method": "password", "username": "u", "password": password, "organisation": "o"})).identity()
    };
    assert_eq!(password("a").parts, password("b").parts);
    assert_ne!(password("a").secrets, password("b").secrets);
}

#[test]
fn a_dead_token_is_told_from_a_wrong_loyalty_card() {
    for code in ["INVALID_TOKEN", "token_expired", "COM.CRM.EXCEPTION.SESSIONNOTFOUNDEXCEPTION", "TOKEN_NOT_VALID"] {
        assert!(names_a_dead_token(code), "{code}");
    }
    for code in [
        "OK",
        "INVALID_ACCESS_TOKEN_IDENTIFIER",
        "COM.CRM.EXCEPTION.ACCESSTOKENNOTFOUNDEXCEPTION",
        "TOKEN_LIMIT",
        "INVALID_CONTACT",
        "",
    ] {
        assert!(!names_a_dead_token(code), "{code}");
    }
}

#[test]
fn every_login_and_the_release_are_its_own_endpoints() {
    let endpoints = by_key().own_endpoints();
    let urls = |call| endpoints.iter().filter(move |e| e.call == call).map(|e| e.url.to_string()).collect::<Vec<_>>();
    let mut logins = urls(OwnCall::Login);
    logins.sort();
    assert_eq!(logins, {
        let mut all = LOGINS.map(|path| format!("{BASE}{path}"));
        all.sort();
        all
    });
    assert_eq!(urls(OwnCall::Release), [format!("{BASE}/authentication/token/release")]);
}

#[test]
fn token_url_moves_the_login_and_nothing_else() {
    let settings = json!({"base_url": BASE, "method": "web_api_key", "key": "k"});
    let vendor = build("crm_com", &settings, Some("https://login.example/x"));
    assert_eq!(sent(&*vendor).url, "https://login.example/x");
    assert_eq!(vendor.own_endpoints().len(), 6);
}

#[test]
fn legacy_logins_and_releases_are_answered_in_the_envelope() {
    let vendor = by_key();
    assert_eq!(
        vendor.placeholder(OwnCall::Login, "t", Duration::ZERO),
        r#"{"data":{"token":"t"},"status":{"code":"OK","description":"","message":""}}"#
    );
    assert_eq!(
        vendor.placeholder(OwnCall::Release, "t", Duration::ZERO),
        r#"{"data":{},"status":{"code":"OK","description":"","message":""}}"#
    );
}

#[test]
fn a_token_is_given_up_by_the_vendors_call_where_the_operator_wants_that() {
    let vendor = |release: bool| {
        let settings = json!({"base_url": "https://crm/v2", "method": "web_api_key", "key": "k", "release": release});
        build("crm_com", &settings, None)
    };
    assert!(vendor(false).release(&Secret::new("t")).is_none());
    let request = vendor(true).release(&Secret::new("t\"1")).unwrap();
    assert_eq!(
        (request.method.as_str(), request.url.to_string().as_str()),
        ("POST", "https://crm/v2/authentication/token/release")
    );
    assert_eq!(request.body.expose(), r#"{"token":"t\"1"}"#);
    assert!(!format!("{request:?}").contains("t\\\"1"));
}
