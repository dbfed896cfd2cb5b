//! What answers of the admin port have in common. None of them is kept or framed by anybody.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::limit::seconds_up;

pub(super) type Answer = Response<Full<Bytes>>;

/// Nothing but the page's own files: no script or style in a line, no other origin, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Why a request is not answered as it would like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this admin port is not asked under that name; list it in `admin.hosts`")]
    Host,
    #[error("another site may not ask this admin port")]
    Origin,
    #[error("the request has no Host, or more than one")]
    NoHost,
    #[error("the admin token is asked for")]
    Token,
    #[error("too many wrong tokens came from this address; this one was not looked at")]
    WrongTokens(Duration),
    #[error("there is nothing here")]
    Path,
    #[error("there is no such credential")]
    Credential,
    #[error("this method is of no use here")]
    Method(&'static str),
    #[error("nothing is to be sent here, or JSON")]
    Media,
    #[error("the body is too large: none is needed here")]
    Body,
    #[error("the body did not arrive in time")]
    SlowBody,
    #[error("the body broke off")]
    BrokenBody,
    #[error("a fault of the proxy")]
    Internal,
    #[error("its token is written in the configuration: there is nothing to log in for")]
    Fixed,
    #[error("the proxy is about to end")]
    Draining,
    #[error("the reload takes too long; what comes of it is told by the log and the status")]
    Slow,
}

impl Refusal {
    fn face(self) -> (StatusCode, &'static str) {
        match self {
            Self::Host => (StatusCode::FORBIDDEN, "foreign_host"),
            Self::Origin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::NoHost => (StatusCode::BAD_REQUEST, "malformed_request"),
            Self::Token => (StatusCode::UNAUTHORIZED, "token_required"),
            Self::WrongTokens(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_tokens"),
            Self::Path => (StatusCode::NOT_FOUND, "not_found"),
            Self::Credential => (StatusCode::NOT_FOUND, "no_credential"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Media => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type"),
            Self::Body => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "body_broken"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Fixed => (StatusCode::CONFLICT, "nothing_to_renew"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::Slow => (StatusCode::GATEWAY_TIMEOUT, "reload_timeout"),
        }
    }

    /// Problem details (RFC 9457), as the proxy's own.
    pub(super) fn answer(self) -> Answer {
        let (status, code) = self.face();
        let problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Refused"),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "code": code,
        });
        let mut answer = with(status, "application/problem+json", problem.to_string());
        let headers = answer.headers_mut();
        match self {
            Self::Method(allowed) => drop(headers.insert(ALLOW, HeaderValue::from_static(allowed))),
            Self::WrongTokens(wait) => drop(headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(wait)))),
            Self::Token => {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tokenferry\""));
                // Browsers ask a person for this one, and give the token as its password.
                headers.append(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"tokenferry\", charset=\"UTF-8\""),
                );
            }
            _ => {}
        }
        answer
    }
}

/// An answer with this body.
pub(super) fn with(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

/// JSON.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    with(status, "application/json", value.to_string())
}

/// A line for people.
pub(super) fn line(status: StatusCode, text: &str) -> Answer {
    with(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// A file of the status page.
pub(super) fn file(media: &'static str, text: &'static str) -> Answer {
    with(StatusCode::OK, media, Bytes::from_static(text.as_bytes()))
}
