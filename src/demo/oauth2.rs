//! A plain token endpoint of RFC 6749, and data for Bearer tokens.

use std::time::Duration;

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::ledger::Desk;
use super::message::{BodyKind, Reply, basic, bearer, body_kind, form_parameters, json_parameters};
use super::server::{Call, Refusal, Rules};

/// An authorization server and its resources. Logins go to `/oauth2/token`; every other path is data.
pub struct OAuth2 {
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// A user, for the grant `password`.
    pub username: String,
    /// The user's password.
    pub password: String,
}

impl Default for OAuth2 {
    fn default() -> Self {
        Self {
            client_id: "demo:client".to_owned(),
            client_secret: "demo/oauth2+secret".to_owned(),
            username: "demo@example.com".to_owned(),
            password: "demo-oauth2-password".to_owned(),
        }
    }
}

/// Section 5.2.
fn failure(status: StatusCode, error: &str) -> Reply {
    let mut reply = Reply::json(status, &json!({"error": error}));
    if status == StatusCode::UNAUTHORIZED {
        reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"demo\""));
    }
    reply
}

/// Id and secret of a Basic header, which are form-encoded in it (section 2.3.1).
fn basic_client(head: &Parts) -> Option<(String, String)> {
    let decoded = |text: &str| {
        // A name alone is read as one whose value is empty; an ampersand or equals sign must be escaped.
        if text.contains(['&', '=']) {
            return None;
        }
        Some(form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default())
    };
    let (id, secret) = basic(&head.headers)?;
    Some((decoded(&id)?, decoded(&secret)?))
}

impl Rules for OAuth2 {
    fn name(&self) -> &'static str {
        "oauth2"
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(60 * 60)
    }

    fn call(&self, _: &Method, path: &str) -> Call {
        if path.trim_end_matches('/') == "/oauth2/token" { Call::Login } else { Call::Data }
    }

    fn login(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply {
        let parameters = match body_kind(&head.headers) {
            BodyKind::Form => form_parameters(body),
            // Not of the RFC, but of several servers.
            BodyKind::Json => json_parameters(body),
            BodyKind::Other => None,
        };
        let Some(parameters) = parameters.filter(|_| head.method == Method::POST) else {
            return failure(StatusCode::BAD_REQUEST, "invalid_request");
        };
        let in_body = parameters.get("client_id").cloned().zip(parameters.get("client_secret").cloned());
        let client = match (basic_client(head), in_body) {
            // A client must not use two methods at once.
            (Some(_), Some(_)) => return failure(StatusCode::BAD_REQUEST, "invalid_request"),
            (header, body) => header.or(body),
        };
        if client != Some((self.client_id.clone(), self.client_secret.clone())) {
            return failure(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        match parameters.get("grant_type").map(String::as_str) {
            Some("client_credentials") => {}
            Some("password") => {
                if parameters.get("username") != Some(&self.username)
                    || parameters.get("password") != Some(&self.password)
                {
                    return failure(StatusCode::BAD_REQUEST, "invalid_grant");
                }
            }
            Some(_) => return failure(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            None => return failure(StatusCode::BAD_REQUEST, "invalid_request"),
        }
        let token = desk.issue(|ticket| format!("demo-oauth2-{}", ticket.id));
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": desk.seconds()});
        let mut reply = Reply::json(StatusCode::OK, &body);
        reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }

    fn token(&self, head: &Parts, _: &[u8]) -> Option<String> {
        bearer(&head.headers).map(str::to_owned)
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let mut reply = Reply::json(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_token"}));
        // RFC 6750 section 3: no error code where no token was presented.
        let challenge = match refusal {
            Refusal::Missing => "Bearer",
            Refusal::Dead => "Bearer error=\"invalid_token\"",
        };
        reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        reply
    }
}
