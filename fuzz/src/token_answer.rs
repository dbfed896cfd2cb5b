//! Token answers, as each vendor reads them: no token that cannot be sent, no life that makes no
//! sense, and nothing that was sent comes back in what is told of a failure.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokenferry::model::EndpointUrl;
use tokenferry::secret::Secret;
use tokenferry::vendor::{Answer, Grant, PROVIDERS, Vendor, parse};

use super::line;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Every secret of the settings.
const CANARY: &str = "c4nary&s3cret";
/// Made for this login.
const FLEETING: &str = "fl33ting-assertion";

/// The input is a status, a line; header lines, up to an empty one; and the body.
pub fn token_answer(data: &[u8]) {
    let (status, mut rest) = line(data);
    let status =
        std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).and_then(|s| StatusCode::from_u16(s).ok());
    let Some(status) = status else { return };
    let mut headers = HeaderMap::new();
    loop {
        let (header, behind) = line(rest);
        rest = behind;
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&header[..colon]);
        let value = HeaderValue::from_bytes(header[colon + 1..].trim_ascii());
        let (Ok(name), Ok(value)) = (name, value) else { return };
        headers.append(name, value);
    }
    let sent = [Secret::new(FLEETING)];
    let answer = Answer { status, headers: &headers, body: rest, sent: &sent };
    for vendor in vendors() {
        match vendor.read(&answer) {
            Ok(grant) => granted(vendor.provider(), &grant, status),
            Err(fault) => {
                let code = fault.code.clone().unwrap_or_default();
                assert!(code.len() <= 200 && code.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{code:?}");
                assert!(fault.retry_after.is_none_or(|after| !after.is_zero() && after <= DAY), "{fault:?}");
                let told = format!("{fault} {fault:?} {code}");
                assert!(!told.contains(CANARY) && !told.contains(FLEETING), "{told}");
            }
        }
    }
}

fn granted(provider: &str, grant: &Grant, status: StatusCode) {
    assert!(status.is_success(), "{provider}: a token of a {status}");
    let token = grant.token.expose();
    assert!(!token.is_empty() && token.trim() == token, "{provider}: {token:?}");
    assert!(token.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{provider}: {token:?}");
    if let Some((life, _)) = grant.lifetime {
        assert!(!life.is_zero() && life <= DAY, "{provider}: {life:?}");
    }
    let other = |secret: &Option<Secret>| secret.as_ref().map(|_| Secret::new("another"));
    let twin = Grant { token: Secret::new("another"), refresh_token: other(&grant.refresh_token), ..grant.clone() };
    assert_eq!(format!("{grant:?}"), format!("{twin:?}"), "{provider}: a secret shows");
}

fn vendors() -> &'static [Arc<dyn Vendor>] {
    static VENDORS: OnceLock<Vec<Arc<dyn Vendor>>> = OnceLock::new();
    VENDORS.get_or_init(|| {
        let oauth2 = |more: Value| {
            let mut settings = json!({"client_id": "id", "client_secret": CANARY});
            if let (Value::Object(all), Value::Object(more)) = (&mut settings, more) {
                all.extend(more);
            }
            settings
        };
        let pointer = json!({"pointer": "/status/code", "equals": "OK"});
        let response = json!({"token": "/data/session/id", "expires_in": "/data/ttl", "success": pointer});
        let all = [
            ("crewmojo", json!({"environment": "production", "client_id": "id", "client_secret": CANARY})),
            ("crm_com", json!({"base_url": "https://crm.example.com/v2", "method": "web_api_key", "key": CANARY})),
            (
                "crayon",
                json!({"client_id": "id", "client_secret": CANARY, "username": "user", "password": CANARY}),
            ),
            ("oauth2", oauth2(json!({"grant": "client_credentials"}))),
            ("oauth2", oauth2(json!({"grant": "refresh_token", "refresh_token": CANARY}))),
            ("oauth2", oauth2(json!({"grant": "token_exchange", "subject_token": CANARY}))),
            ("custom", json!({"request": {"url": "https://acme.example/login", "json": {"pass": CANARY}}, "response": response})),
            ("static", json!({"token": CANARY})),
        ];
        for provider in PROVIDERS {
            assert!(all.iter().any(|(name, _)| name == provider), "{provider} is not read here");
        }
        let build = |(provider, settings): &(&str, Value)| {
            let url = (*provider == "oauth2").then(|| EndpointUrl::parse("https://login.example.com/token").unwrap());
            let settings = parse(provider, settings).unwrap_or_else(|error| panic!("{provider}: {error}"));
            settings.build(url).unwrap_or_else(|problems| panic!("{provider}: {problems:?}"))
        };
        all.iter().filter(|(provider, _)| *provider != "static").map(build).collect()
    })
}
