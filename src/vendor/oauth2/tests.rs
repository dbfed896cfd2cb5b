use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::vendor::tests::{answer, build, problems, problems_at, sent};
use crate::vendor::{FaultClass, FaultReason, LifetimeSource};

const URL: &str = "https://login.example.com/oauth2/token";

fn vendor(settings: Value) -> Arc<dyn Vendor> {
    let Value::Object(mut settings) = settings else { panic!("settings are a map") };
    settings.entry("client_id").or_insert("id:1 ä".into());
    settings.entry("client_secret").or_insert("s/+=&".into());
    build("oauth2", &settings.into(), Some(URL))
}

#[test]
fn by_default_the_client_stands_in_a_basic_header_form_encoded_before() {
    let request = sent(&*vendor(json!({})));
    assert_eq!(request.url, URL);
    // id%3A1+%C3%A4:s%2F%2B%3D%26
    assert_eq!(
        request.headers,
        [
            "content-type: application/x-www-form-urlencoded",
            "accept: application/json",
            "authorization: Basic aWQlM0ExKyVDMyVBNDpzJTJGJTJCJTNEJTI2",
        ]
    );
    assert_eq!(request.body, "grant_type=client_credentials");
}

#[test]
fn the_client_may_stand_in_the_body_as_form_or_json() {
    let form = sent(&*vendor(json!({"client_auth": "body"})));
    assert_eq!(form.headers.len(), 2);
    assert_eq!(form.body, "grant_type=client_credentials&client_id=id%3A1+%C3%A4&client_secret=s%2F%2B%3D%26");
    let json = sent(&*vendor(json!({"client_auth": "body", "body": "json", "scope": "a b"})));
    assert_eq!(json.headers[0], "content-type: application/json");
    assert_eq!(
        json.body,
        r#"{"grant_type":"client_credentials","client_id":"id:1 ä","client_secret":"s/+=&","scope":"a b"}"#
    );
}

#[test]
fn a_client_without_a_secret_only_gives_its_name() {
    let settings =
        json!({"client_auth": "none", "client_id": "app", "grant": "password", "username": "u", "password": "p"});
    let request = sent(&*build("oauth2", &settings, Some(URL)));
    assert_eq!(request.headers.len(), 2);
    assert_eq!(request.body, "grant_type=password&client_id=app&username=u&password=p");
    assert_eq!(
        sent(&*build("oauth2", &json!({"client_auth": "none"}), Some(URL))).body,
        "grant_type=client_credentials"
    );
}

#[test]
fn every_wish_is_a_parameter_in_the_order_of_the_file() {
    let request = sent(&*vendor(json!({
        "grant": "password", "username": "u@x", "password": "p", "scope": "read write", "audience": "https://api/",
        "resource": "urn:r", "extra": {"z": "1", "tenant": "acme & co"},
    })));
    assert_eq!(
        request.body,
        "grant_type=password&username=u%40x&password=p&scope=read+write&audience=https%3A%2F%2Fapi%2F&resource=urn%3Ar\
         &z=1&tenant=acme+%26+co"
    );
}

#[test]
fn a_token_is_read_however_its_names_are_written() {
    for body in [
        r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#,
        r#"{"accessToken":"t","expiresIn":"3600","error":null}"#,
        r#"{"ACCESS_TOKEN":"t","EXPIRES_IN":3600.0,"error":""}"#,
    ] {
        let grant = answer(&*vendor(json!({})), 200, body).unwrap();
        assert_eq!(grant.token.expose(), "t");
        assert_eq!(grant.lifetime, Some((Duration::from_secs(3600), LifetimeSource::Answer)));
    }
    assert_eq!(answer(&*vendor(json!({})), 200, r#"{"access_token":"t"}"#).unwrap().lifetime, None);
}

#[test]
fn failures_have_their_classes_and_codes() {
    use FaultClass::{Refused, Transient};
    let read = |status, body: &str| {
        let fault = answer(&*vendor(json!({"extra": {"pin": "t0ps3cret"}})), status, body).unwrap_err();
        (fault.class, fault.reason, fault.code.unwrap_or_default())
    };
    let status = FaultReason::Status;
    for (code, body, expected) in [
        (401, r#"{"error":"invalid_client"}"#, (Refused, status(401), "invalid_client")),
        (400, r#"{"error":"invalid_grant","error_description":"prose"}"#, (Refused, status(400), "invalid_grant")),
        (400, "<html>", (Refused, status(400), "")),
        (400, r#"{"error":{"code":1}}"#, (Refused, status(400), "")),
        (400, r#"{"error":"s/+=& s%2F%2B%3D%26 t0ps3cret"}"#, (Refused, status(400), "*** *** ***")),
        (503, r#"{"error":"temporarily_unavailable"}"#, (Transient, status(503), "temporarily_unavailable")),
        (200, r#"{"error":"invalid_grant"}"#, (Refused, FaultReason::ErrorInside, "invalid_grant")),
        (200, r#"{"access_token":"t","error":"server_error"}"#, (Transient, FaultReason::ErrorInside, "server_error")),
        (200, r#"{"error":{"message":"unauthorized"}}"#, (Refused, FaultReason::ErrorInside, "")),
        (200, r#"{"access_token":""}"#, (Transient, FaultReason::NoToken, "")),
        (200, r#"{"access_token":"a\r\nb"}"#, (Transient, FaultReason::BadToken, "")),
        (200, r#"{"access_token":"caf\u00e9"}"#, (Transient, FaultReason::BadToken, "")),
        (200, r#"{"access_token":1.5}"#, (Transient, FaultReason::NoToken, "")),
        (200, "[]", (Transient, FaultReason::Unreadable, "")),
        (200, "", (Transient, FaultReason::Empty, "")),
        (302, "", (Refused, FaultReason::Redirect, "")),
    ] {
        let (class, reason, text) = expected;
        assert_eq!(read(code, body), (class, reason, text.to_owned()), "{code} {body}");
    }
}

#[test]
fn all_that_is_wrong_is_said_together() {
    assert_eq!(problems("oauth2", &json!({})), ["token_url", "client_id", "client_secret"]);
    let at = |settings: Value| problems_at("oauth2", &settings, Some(URL));
    assert_eq!(at(json!({"grant": "password"})), ["username", "password", "client_id", "client_secret"]);
    assert_eq!(at(json!({"client_id": "i", "client_secret": "s", "username": "u"})), ["username"]);
    assert_eq!(at(json!({"client_auth": "none", "client_secret": "s"})), ["client_secret"]);
    assert_eq!(
        at(json!({"client_id": "i", "client_secret": "s", "extra": {"grant_type": "x", "scope": "y", "z": "1"}})),
        ["extra.grant_type", "extra.scope"]
    );
}

#[test]
fn whatever_changes_the_token_changes_the_credential_and_secrets_do_not() {
    let parts = |settings: Value| vendor(settings).identity().parts;
    let plain = parts(json!({}));
    for other in [
        json!({"scope": "a"}),
        json!({"audience": "a"}),
        json!({"resource": "a"}),
        json!({"extra": {"tenant": "acme"}}),
        json!({"client_id": "other"}),
        json!({"grant": "password", "username": "u", "password": "p"}),
    ] {
        assert_ne!(parts(other.clone()), plain, "{other}");
    }
    assert_ne!(parts(json!({"extra": {"tenant": "a"}})), parts(json!({"extra": {"tenant": "b"}})));
    assert_eq!(parts(json!({"client_secret": "other"})), plain);
    let shown = format!("{:?}", vendor(json!({"extra": {"pin": "t0ps3cret"}})).identity());
    assert!(!shown.contains("t0ps3cret"));
}

mod grants;
