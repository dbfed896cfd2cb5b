use serde_json::{Value, json};

use super::*;
use crate::vendor::tests::{answer, build, occasion, problems, problems_at, sent};
use crate::vendor::{FaultClass, FaultReason, LifetimeSource};

fn settings() -> Value {
    json!({
        "request": {
            "method": "POST", "url": "https://acme.example/login?k=t0p", "headers": {"X-App": "billing"},
            "json": {"user": "b\"ob", "pass": "s3cret", "n": 1},
        },
        "response": {
            "token": "/data/session/id", "expires_in": "/data/ttl",
            "success": {"pointer": "/status/code", "equals": "OK"},
        },
    })
}

fn vendor() -> Arc<dyn Vendor> {
    build("custom", &settings(), None)
}

#[expect(clippy::needless_pass_by_value, reason = "written at the call")]
fn with_request(request: Value) -> Value {
    json!({"request": request, "response": {"token": "/t"}})
}

#[test]
fn the_request_is_what_was_written() {
    let request = sent(&*vendor());
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://acme.example/login?k=t0p"));
    assert_eq!(request.headers, ["accept: application/json", "content-type: application/json", "x-app: billing"]);
    assert_eq!(request.body, r#"{"user":"b\"ob","pass":"s3cret","n":1}"#);
}

#[test]
fn a_body_may_be_a_form_a_text_or_none() {
    let url = "https://acme.example/login";
    let form = sent(&*build("custom", &with_request(json!({"url": url, "form": {"z": "1 2", "a": "&"}})), None));
    assert_eq!(form.headers, ["accept: application/json", "content-type: application/x-www-form-urlencoded"]);
    assert_eq!(form.body, "z=1+2&a=%26");
    let headers = json!({"Content-Type": "text/xml", "Accept": "*/*", "Authorization": "Key k"});
    let text = with_request(json!({"method": "put", "url": url, "body": "<login/>", "headers": headers}));
    assert_eq!(problems("custom", &text), [""; 0], "a method may be any token");
    let text = with_request(json!({"method": "PUT", "url": url, "body": "<login/>", "headers": headers}));
    let text = sent(&*build("custom", &text, None));
    assert_eq!(text.method, "PUT");
    assert_eq!(text.headers, ["accept: */*", "content-type: text/xml", "authorization: Key k"]);
    assert_eq!(text.body, "<login/>");
    let get = sent(&*build("custom", &with_request(json!({"method": "GET", "url": url})), None));
    assert_eq!((get.method.as_str(), get.body.as_str()), ("GET", ""));
}

#[test]
fn the_token_is_found_by_its_pointer() {
    let body = r#"{"data":{"session":{"id":"t"},"ttl":"90"},"status":{"code":"OK"}}"#;
    let grant = answer(&*vendor(), 200, body).unwrap();
    assert_eq!(grant.token.expose(), "t");
    assert_eq!(grant.lifetime, Some((Duration::from_secs(90), LifetimeSource::Answer)));
    let bare = json!({"request": {"url": "https://a/b"}, "response": {"token": ""}});
    assert_eq!(answer(&*build("custom", &bare, None), 200, "\"t\"").unwrap().token.expose(), "t");
}

#[test]
fn failures_have_their_classes_and_codes() {
    use FaultClass::{Refused, Transient};
    for (status, body, class, reason, code) in [
        (200, r#"{"status":{"code":"BAD_PASSWORD"}}"#, Refused, FaultReason::ErrorInside, Some("BAD_PASSWORD")),
        (200, r#"{"status":{"code":"no s3cret"}}"#, Transient, FaultReason::ErrorInside, None),
        (200, r#"{"status":{"code":"s3cret"}}"#, Transient, FaultReason::ErrorInside, Some("***")),
        (200, r#"{"data":{"session":{"id":"t"}}}"#, Transient, FaultReason::ErrorInside, None),
        (200, r#"{"status":{"code":"OK"},"data":{"session":{"ID":"t"}}}"#, Transient, FaultReason::NoToken, None),
        (200, r#"{"status":{"code":"OK"},"data":{"session":{"id":" t"}}}"#, Transient, FaultReason::BadToken, None),
        (200, "", Transient, FaultReason::Empty, None),
        (401, r#"{"error":"nope"}"#, Refused, FaultReason::Status(401), Some("nope")),
        (500, "oops", Transient, FaultReason::Status(500), None),
    ] {
        let fault = answer(&*vendor(), status, body).unwrap_err();
        assert_eq!((fault.class, fault.reason, fault.code.as_deref()), (class, reason, code), "{body}");
    }
}

#[test]
fn nothing_of_the_request_is_shown() {
    let vendor = vendor();
    let shown = format!("{vendor:?} {:?} {:?}", vendor.identity(), vendor.login(&occasion()));
    for secret in ["s3cret", "b\"ob", "b\\\"ob", "billing", "t0p"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let settings = crate::vendor::parse("custom", &settings());
    assert!(settings.is_ok());
}

#[test]
fn another_request_is_another_credential() {
    let parts = |url: &str, user: &str| {
        build("custom", &with_request(json!({"url": url, "json": {"u": user}})), None).identity().parts
    };
    assert_eq!(parts("https://a/b", "x"), parts("https://a/b", "x"));
    assert_ne!(parts("https://a/b", "x"), parts("https://a/b", "y"));
    assert_ne!(parts("https://a/b?k=1", "x"), parts("https://a/b?k=2", "x"));
}

#[test]
fn all_that_is_wrong_is_said_together() {
    assert_eq!(problems_at("custom", &json!({}), Some("https://a/b")), ["token_url", "request", "response"]);
    assert_eq!(problems("custom", &json!({"request": {}, "response": {}})), ["request.url", "response.token"]);
    let bad = json!({
        "request": {"method": "TRACE", "url": "acme", "json": 1, "form": {},
                    "headers": {"Host": "x", "X Y": "z", "X-A": "a\nb"}},
        "response": {"token": "data", "expires_in": "/~2", "success": {"pointer": "x"}},
    });
    assert_eq!(
        problems("custom", &bad),
        [
            "request.method",
            "request.url",
            "request",
            "request.headers.Host",
            "request.headers.X Y",
            "request.headers.X-A",
            "response.token",
            "response.expires_in",
            "response.success.pointer",
            "response.success.equals",
        ]
    );
}

#[test]
fn a_legacy_login_is_answered_by_the_same_pointers() {
    let vendor = vendor();
    let text = vendor.placeholder(OwnCall::Login, "t", Duration::from_secs(60));
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({"data": {"session": {"id": "t"}, "ttl": 60}, "status": {"code": "OK"}})
    );
    assert_eq!(answer(&*vendor, 200, &text).unwrap().token.expose(), "t");
}
