//! What holds for every vendor, and how vendors' own tests build, send and read.

use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A token request as bytes on the wire would be.
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

fn built(provider: &str, settings: &Value, token_url: Option<&str>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
    parse(provider, settings)
        .unwrap_or_else(|e| panic!("{provider}: {e}"))
        .build(token_url.map(|url| EndpointUrl::parse(url).unwrap()))
}

pub(super) fn build(provider: &str, settings: &Value, token_url: Option<&str>) -> Arc<dyn Vendor> {
    built(provider, settings, token_url).unwrap_or_else(|problems| panic!("{provider}: {problems:?}"))
}

/// The fields that have a problem.
pub(super) fn problems(provider: &str, settings: &Value) -> Vec<String> {
    problems_at(provider, settings, None)
}

pub(super) fn problems_at(provider: &str, settings: &Value, token_url: Option<&str>) -> Vec<String> {
    let problems = built(provider, settings, token_url).err().unwrap_or_default();
    for problem in &problems {
        assert!(!problem.message.is_empty() && !problem.message.ends_with('.'), "{problem:?}");
        assert!(!problem.mend.is_empty(), "{problem:?}");
    }
    problems.into_iter().map(|problem| problem.field).collect()
}

/// A login on 2026-01-01, without a refresh token that was kept.
pub(super) fn occasion() -> Occasion {
    Occasion { now: 1_767_225_600, nonce: "n0nce".to_owned(), refresh_token: None }
}

pub(super) fn sent(vendor: &dyn Vendor) -> Sent {
    let Ok(Login::Request(request)) = vendor.login(&occasion()) else { panic!("nothing is sent") };
    assert_eq!(Some(&request.url), vendor.token_url());
    Sent {
        method: request.method.to_string(),
        url: request.url.to_string(),
        headers: request.headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect(),
        body: request.body.expose().to_owned(),
    }
}

pub(super) fn answer(vendor: &dyn Vendor, status: u16, body: &str) -> Result<Grant, TokenFault> {
    let headers = HeaderMap::new();
    vendor.read(&Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
        body: body.as_bytes(),
        sent: &[],
    })
}

/// One credential of every provider, each secret of which holds `canary`.
fn every_vendor() -> Vec<Arc<dyn Vendor>> {
    let all = [
        ("crewmojo", json!({"client_id": "i", "client_secret": "canary1"}), None),
        (
            "crm_com",
            json!({"base_url": "https://crm/v2", "method": "password", "username": "u", "password": "canary2",
                   "organisation": "o"}),
            None,
        ),
        ("crm_com", json!({"base_url": "https://crm/v2", "method": "web_api_key", "key": "canary3"}), None),
        ("crayon", json!({"client_id": "i", "client_secret": "canary4", "username": "u", "password": "canary5"}), None),
        (
            "oauth2",
            json!({"client_id": "i", "client_secret": "canary6", "extra": {"x": "canary7"}}),
            Some("https://login/token"),
        ),
        (
            "oauth2",
            json!({"client_id": "i", "client_secret": "canary10", "grant": "refresh_token", "refresh_token": "canary11"}),
            Some("https://login/token"),
        ),
        (
            "oauth2",
            json!({"client_auth": "none", "grant": "jwt_bearer", "assertion": "canary12"}),
            Some("https://login/token"),
        ),
        (
            "oauth2",
            json!({"client_auth": "none", "grant": "token_exchange", "subject_token": "canary13",
                   "actor_token": "canary14"}),
            Some("https://login/token"),
        ),
        (
            "custom",
            json!({"request": {"url": "https://acme/login", "json": {"p": "canary8"}},
                   "response": {"token": "/token", "success": {"pointer": "/ok", "equals": true}}}),
            None,
        ),
        ("static", json!({"token": "canary9"}), None),
    ];
    all.iter().map(|(provider, settings, url)| build(provider, settings, *url)).collect()
}

#[test]
fn every_provider_is_in_the_list_and_says_its_fields() {
    for vendor in every_vendor() {
        assert!(PROVIDERS.contains(&vendor.provider()));
    }
    assert_eq!(PROVIDERS.len(), 6);
    assert_eq!(fields("crewmojo"), ["environment", "client_id", "client_secret"]);
    assert_eq!(fields("static"), ["token"]);
    assert_eq!(fields("custom"), ["request", "response"]);
    assert!(fields("crm_com").contains(&"access_token_identifier"));
    assert_eq!(fields("nobody"), [""; 0]);
    assert!(parse("nobody", json!({})).is_err());
}

#[test]
fn every_providers_schema_has_its_fields_and_no_others() {
    for provider in PROVIDERS {
        let schema = schema(provider, &mut schemars::SchemaGenerator::default()).unwrap();
        let mut named: Vec<_> = schema.get("properties").unwrap().as_object().unwrap().keys().cloned().collect();
        let mut known = fields(provider).to_vec();
        named.sort();
        known.sort_unstable();
        assert_eq!(named, known, "{provider}");
        assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "{provider}");
    }
    assert!(schema("nobody", &mut schemars::SchemaGenerator::default()).is_none());
    let crewmojo = schema("crewmojo", &mut schemars::SchemaGenerator::default()).unwrap();
    assert_eq!(crewmojo.get("required"), Some(&json!(["client_id", "client_secret"])));
}

#[test]
fn settings_are_read_from_yaml_and_unknown_fields_are_refused() {
    let read = |text: &str| parse("crm_com", serde_yaml::Deserializer::from_str(text)).map(|_| ());
    read("{base_url: https://crm/v2, method: web_api_key, key: 123, unit: 1}").unwrap();
    let error = read("{base_url: https://crm/v2, methd: web_api_key}").unwrap_err().to_string();
    assert!(error.contains("methd"), "{error}");
    assert!(read("{method: nonsense}").is_err());
}

#[test]
fn no_secret_is_shown_by_anything_that_can_be_printed() {
    for vendor in every_vendor() {
        let shown = format!("{vendor:?} {:?} {:?}", vendor.identity(), vendor.login(&occasion()));
        assert!(!shown.contains("canary"), "{shown}");
        if let Ok(Login::Request(request)) = vendor.login(&occasion()) {
            for (name, value) in &request.headers {
                let plain = *name == http::header::ACCEPT || *name == http::header::CONTENT_TYPE;
                assert!(plain || value.is_sensitive(), "{name}");
            }
        }
    }
}

#[test]
fn defaults_are_the_contracts() {
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    for vendor in every_vendor() {
        let defaults = vendor.defaults();
        let (lifetime, exclusive) = match vendor.provider() {
            "crewmojo" => (minutes(30), true),
            "crm_com" => (minutes(120), false),
            "crayon" => (minutes(60), false),
            "static" => (None, false),
            _ => (minutes(5), false),
        };
        assert_eq!((defaults.lifetime, defaults.exclusive), (lifetime, exclusive), "{}", vendor.provider());
        assert_eq!(defaults.refused_when.status, [StatusCode::UNAUTHORIZED]);
        assert_eq!(defaults.refused_when.json.is_some(), vendor.provider() == "crm_com");
        assert_eq!(defaults.inject.len(), if vendor.provider() == "crm_com" { 2 } else { 1 });
    }
}

#[test]
fn a_placeholder_is_read_back_by_its_own_vendor() {
    for vendor in every_vendor().iter().filter(|v| v.token_url().is_some()) {
        let text = vendor.placeholder(OwnCall::Login, "placeholder", Duration::from_secs(600));
        assert_eq!(answer(&**vendor, 200, &text).unwrap().token.expose(), "placeholder", "{}", vendor.provider());
        assert!(serde_json::from_str::<Value>(&vendor.placeholder(OwnCall::Release, "t", Duration::ZERO)).is_ok());
    }
}

/// Bodies that are nearly token answers: the known names with any values.
fn near_answers() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!("OK")),
    ];
    let names = prop::sample::select(vec![
        "access_token",
        "AccessToken",
        "token",
        "data",
        "status",
        "code",
        "expires_in",
        "ExpiresIn",
        "error",
        "success",
        "httpErrorCode",
        "ok",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
    .prop_map(|value| value.to_string().into_bytes())
}

proptest! {
    #[test]
    fn whatever_comes_back_is_a_sendable_token_or_a_fault_without_secrets(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), near_answers()],
        status in prop_oneof![Just(200_u16), 100_u16..600],
        headers in prop::collection::vec(
            (prop::sample::select(vec!["date", "retry-after", "content-encoding", "content-type"]), "[ -~]{0,30}"),
            0..3,
        ),
    ) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body: &body, sent: &[] };
        for vendor in every_vendor() {
            match vendor.read(&answer) {
                Ok(grant) => {
                    prop_assert!((200..300).contains(&status));
                    let token = grant.token.expose();
                    prop_assert!(!token.is_empty() && token.trim() == token);
                    prop_assert!(token.bytes().all(|b| (0x20..0x7f).contains(&b)));
                    if let Some((life, _)) = grant.lifetime {
                        prop_assert!(!life.is_zero() && life <= Duration::from_secs(86_400));
                    }
                }
                Err(fault) => {
                    let code = fault.code.unwrap_or_default();
                    prop_assert!(code.len() <= 200 && code.bytes().all(|b| (0x20..0x7f).contains(&b)));
                    prop_assert!(!code.contains("canary"));
                }
            }
        }
    }
}

#[test]
fn the_schema_offers_what_is_supported() {
    let text = |provider| {
        let mut generator = schemars::SchemaGenerator::default();
        let schema = schema(provider, &mut generator).unwrap();
        format!("{} {}", schema.to_value(), Value::Object(generator.take_definitions(true)))
    };
    let oauth2 = text("oauth2");
    assert!(oauth2.contains("\"client_credentials\"") && oauth2.contains("\"basic\""), "{oauth2}");
    for word in ["refresh_token", "jwt_bearer", "token_exchange", "private_key_jwt", "tls", "ES256", "EdDSA"] {
        assert!(oauth2.contains(&format!("\"{word}\"")), "{word}");
    }
    let crm_com = text("crm_com");
    assert!(crm_com.contains("\"web_api_key\"") && crm_com.contains("pass_code"), "{crm_com}");
}
