//! A plain authorization server: the token endpoint of RFC 6749 with the grants of RFC 7523 and
//! RFC 8693, and data for Bearer tokens.

mod assertion;
mod rotation;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CACHE_CONTROL, HOST, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::ledger::Desk;
use super::message::{BodyKind, Reply, basic, bearer, body_kind, form_parameters, json_parameters};
use super::server::{Call, Refusal, Rules};
use assertion::{Assertions, is_good};
use rotation::Rotation;

const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

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
    /// The public half of the client's key, in PEM, for assertions of its own (RFC 7523 section 2.2).
    pub client_key: Option<String>,
    /// Whose assertions are taken for a grant (RFC 7523 section 2.1), and for whom.
    pub issuer: Option<Issuer>,
    /// The first refresh token, which a user's consent brought.
    pub refresh_token: String,
    /// An access token that may be exchanged (RFC 8693).
    pub subject_token: String,
    /// An access token of one who may act for others.
    pub actor_token: String,
    /// What it remembers.
    pub book: Book,
}

/// Somebody whose assertions are taken.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// As `iss` says it.
    pub name: String,
    /// As `sub` must say it.
    pub subject: String,
    /// The public half of the issuer's key, in PEM.
    pub key: String,
}

/// What an authorization server remembers between requests.
#[derive(Debug, Default)]
pub struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    assertions: Assertions,
    rotation: Rotation,
}

impl Book {
    fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Parameters = BTreeMap<String, String>;

impl Default for OAuth2 {
    fn default() -> Self {
        Self {
            client_id: "demo:client".to_owned(),
            client_secret: "demo/oauth2+secret".to_owned(),
            username: "demo@example.com".to_owned(),
            password: "demo-oauth2-password".to_owned(),
            client_key: None,
            issuer: None,
            refresh_token: "demo-oauth2-refresh-0".to_owned(),
            subject_token: "demo-oauth2-subject".to_owned(),
            actor_token: "demo-oauth2-actor".to_owned(),
            book: Book::default(),
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

/// The URL of the token endpoint, as the client knows it.
fn own_url(head: &Parts) -> String {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}{}", head.uri.path())
}

/// What a grant brings beside the access token.
#[derive(Default)]
struct Granted {
    refresh_token: Option<String>,
    issued_token_type: Option<&'static str>,
}

impl OAuth2 {
    /// Whether the client is who it says (RFC 6749 section 2.3); only an assertion's grant may do
    /// without one (RFC 7523 section 2.1).
    fn client(
        &self,
        head: &Parts,
        parameters: &Parameters,
        audience: &str,
        now: i64,
        grant: Option<&str>,
    ) -> Result<(), (StatusCode, &'static str)> {
        let in_header = basic_client(head);
        let in_body = parameters.get("client_id").zip(parameters.get("client_secret"));
        let asserted = parameters.contains_key("client_assertion") || parameters.contains_key("client_assertion_type");
        // A client must not use two methods at once.
        if usize::from(in_header.is_some()) + usize::from(in_body.is_some()) + usize::from(asserted) > 1 {
            return Err((StatusCode::BAD_REQUEST, "invalid_request"));
        }
        let secret = in_header.or_else(|| in_body.map(|(id, secret)| (id.clone(), secret.clone())));
        let known = match secret {
            Some((id, secret)) => id == self.client_id && secret == self.client_secret,
            None if asserted => self.asserted_client(parameters, audience, now),
            None => grant == Some("urn:ietf:params:oauth:grant-type:jwt-bearer"),
        };
        if known { Ok(()) } else { Err((StatusCode::UNAUTHORIZED, "invalid_client")) }
    }

    /// RFC 7523 sections 2.2 and 3, OIDC Core section 9.
    fn asserted_client(&self, parameters: &Parameters, audience: &str, now: i64) -> bool {
        let (Some(key), Some(assertion)) = (&self.client_key, parameters.get("client_assertion")) else { return false };
        parameters.get("client_assertion_type").is_some_and(|kind| kind == CLIENT_ASSERTION)
            && parameters.get("client_id").is_none_or(|id| *id == self.client_id)
            && is_good(assertion, key, (&self.client_id, &self.client_id), audience, now)
            // OIDC Core section 9 requires a `jti`, to be used once.
            && self.book.open().assertions.is_new(assertion, true)
    }

    /// RFC 7523 section 2.1.
    fn assertion(&self, parameters: &Parameters, audience: &str, now: i64) -> Result<Granted, &'static str> {
        let assertion = parameters.get("assertion").ok_or("invalid_request")?;
        let issuer = self.issuer.as_ref().ok_or("invalid_grant")?;
        let good = is_good(assertion, &issuer.key, (&issuer.name, &issuer.subject), audience, now)
            && self.book.open().assertions.is_new(assertion, false);
        if good { Ok(Granted::default()) } else { Err("invalid_grant") }
    }

    /// RFC 6749 section 6, with the rotation of RFC 9700 section 4.14.2.
    fn refresh(&self, parameters: &Parameters) -> Result<Granted, &'static str> {
        let presented = parameters.get("refresh_token").ok_or("invalid_request")?;
        let next = self.book.open().rotation.present(&self.refresh_token, presented).ok_or("invalid_grant")?;
        Ok(Granted { refresh_token: Some(next), ..Granted::default() })
    }

    /// RFC 8693 section 2.1.
    fn exchange(&self, parameters: &Parameters) -> Result<Granted, &'static str> {
        let text = |name: &str| parameters.get(name).map(String::as_str);
        let (Some(token), Some(ACCESS_TOKEN)) = (text("subject_token"), text("subject_token_type")) else {
            return Err("invalid_request");
        };
        let actor = match (text("actor_token"), text("actor_token_type")) {
            (None, None) => true,
            (Some(token), Some(ACCESS_TOKEN)) => token == self.actor_token,
            _ => return Err("invalid_request"),
        };
        if token != self.subject_token || !actor {
            return Err("invalid_request");
        }
        let issued = match text("requested_token_type") {
            None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
            Some(ID_TOKEN) => ID_TOKEN,
            Some(_) => return Err("invalid_request"),
        };
        Ok(Granted { issued_token_type: Some(issued), ..Granted::default() })
    }
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
        let (grant, audience) = (parameters.get("grant_type").map(String::as_str), own_url(head));
        if let Err((status, error)) = self.client(head, &parameters, &audience, desk.now(), grant) {
            return failure(status, error);
        }
        let granted = match grant {
            Some("client_credentials") => Ok(Granted::default()),
            Some("password") => {
                let is_user = parameters.get("username") == Some(&self.username)
                    && parameters.get("password") == Some(&self.password);
                if is_user { Ok(Granted::default()) } else { Err("invalid_grant") }
            }
            Some("refresh_token") => self.refresh(&parameters),
            Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => self.assertion(&parameters, &audience, desk.now()),
            Some("urn:ietf:params:oauth:grant-type:token-exchange") => self.exchange(&parameters),
            Some(_) => Err("unsupported_grant_type"),
            None => Err("invalid_request"),
        };
        let Granted { refresh_token, issued_token_type } = match granted {
            Ok(granted) => granted,
            Err(error) => return failure(StatusCode::BAD_REQUEST, error),
        };
        let token = desk.issue(|ticket| format!("demo-oauth2-{}", ticket.id));
        let mut body = json!({"access_token": token, "token_type": "Bearer", "expires_in": desk.seconds()});
        if let Some(refresh_token) = refresh_token {
            body["refresh_token"] = refresh_token.into();
        }
        if let Some(kind) = issued_token_type {
            // RFC 8693 section 2.2.1: what is no access token has no way of use to tell.
            if kind != ACCESS_TOKEN {
                body["token_type"] = "N_A".into();
            }
            body["issued_token_type"] = kind.into();
        }
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
