//! What a test or a bench turns while a simulator runs.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

/// How a simulator behaves. The default is a vendor that works as documented.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How long tokens live; `None` for as long as the vendor documents.
    pub lifetime: Option<Duration>,
    /// What goes wrong at the token endpoint.
    pub token_fault: Option<Fault>,
    /// Which logins that fault is of: each so many-th; each one where this is 0.
    pub token_fault_every: u64,
    /// How long the token endpoint thinks.
    pub token_delay: Duration,
    /// How long data calls take.
    pub data_delay: Duration,
    /// How far the vendor's clock is ahead of ours, in seconds: `Date`, and `iat` and `exp` of tokens.
    pub clock_skew: i64,
    /// Tokens are given out, and none is taken.
    pub refuse_every_token: bool,
}

/// What goes wrong at the token endpoint.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This is answered, whatever was asked.
    Answer {
        /// The status.
        status: StatusCode,
        /// The header fields.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The body.
        body: Bytes,
    },
    /// The connection is closed without an answer.
    Close,
    /// The request is carried out, and the connection closed without an answer.
    LoseAnswer,
    /// No answer, ever.
    Hang,
}

impl Fault {
    /// An empty answer with this status.
    pub fn status(status: StatusCode) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An empty answer with this status and `Retry-After` in seconds.
    pub fn retry_after(status: StatusCode, seconds: u64) -> Self {
        Self::Answer { status, headers: vec![(RETRY_AFTER, seconds.into())], body: Bytes::new() }
    }

    /// A success with this body, said to be JSON.
    pub fn body(body: impl Into<Bytes>) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self::Answer { status: StatusCode::OK, headers: vec![(CONTENT_TYPE, json)], body: body.into() }
    }

    /// A success that is a web page, as a captive portal or a wrong path answers.
    pub fn garbage() -> Self {
        let html = HeaderValue::from_static("text/html");
        Self::Answer {
            status: StatusCode::OK,
            headers: vec![(CONTENT_TYPE, html)],
            body: Bytes::from_static(b"<!doctype html><title>Sign in</title><h1>Sign in</h1>"),
        }
    }

    /// A redirect to there.
    pub fn redirect(location: HeaderValue) -> Self {
        Self::Answer { status: StatusCode::FOUND, headers: vec![(LOCATION, location)], body: Bytes::new() }
    }
}
