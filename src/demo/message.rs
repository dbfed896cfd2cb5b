//! Requests as a vendor's rules look at them, and answers as they give them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: StatusCode, body: &Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { status, headers, body: Bytes::from(body.to_string()) }
    }

    /// 404, for what no vendor documents.
    pub(super) fn not_found() -> Self {
        Self::json(StatusCode::NOT_FOUND, &json!({"error": "not_found"}))
    }
}

/// What a body's parameters are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyKind {
    Json,
    Form,
    Other,
}

pub(super) fn body_kind(headers: &HeaderMap) -> BodyKind {
    let essence = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).and_then(|v| v.split(';').next());
    match essence.map(|e| e.trim().to_ascii_lowercase()).as_deref() {
        Some("application/json") => BodyKind::Json,
        Some("application/x-www-form-urlencoded") => BodyKind::Form,
        _ => BodyKind::Other,
    }
}

/// The parameters of a form; `None` where one comes twice (RFC 6749 section 3.2).
pub(super) fn form_parameters(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(parameters)
}

/// The parameters of a JSON object of strings.
pub(super) fn json_parameters(body: &[u8]) -> Option<BTreeMap<String, String>> {
    serde_json::from_slice(body).ok()
}

/// Whether the parameters are these and no others.
pub(super) fn are_exactly(parameters: &BTreeMap<String, String>, names: &[&str]) -> bool {
    parameters.len() == names.len() && names.iter().all(|name| parameters.contains_key(*name))
}

/// The one `Authorization` of a request.
fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (word, rest) = value.to_str().ok()?.split_once(' ')?;
    word.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    authorization(headers, "Bearer")
}

/// User and password of `Authorization: Basic`.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(authorization(headers, "Basic")?).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// What arrived, without the token.
pub(super) fn echo(vendor: &str, head: &Parts, length: u64, token: Option<(&str, u64)>) -> Value {
    let masked = |text: &str| match token {
        Some((token, _)) => text.replace(token, "***"),
        None => text.to_owned(),
    };
    let mut headers = Map::new();
    for name in head.headers.keys() {
        if *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION || name.as_str() == "token" {
            continue;
        }
        let lines = head.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
        headers.insert(name.to_string(), masked(&lines.collect::<Vec<_>>().join(", ")).into());
    }
    json!({
        "vendor": vendor,
        "method": head.method.as_str(),
        "path": masked(head.uri.path()),
        "query": head.uri.query().map(masked),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body_length": length,
        "token_number": token.map(|(_, number)| number),
    })
}
