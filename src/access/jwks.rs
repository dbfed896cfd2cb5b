//! The keys of an issuer, asked for at the one URL that the configuration names.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;

use crate::model::{EndpointUrl, KeySet, KeySetError};
use crate::upstream::{AGENT, OnceError, Upstream, once};

/// For one fetch.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_LIMIT: usize = 1 << 20;

/// A fetch under way.
pub(super) type Fetching = Pin<Box<dyn Future<Output = Result<KeySet, FetchError>> + Send>>;

/// Fetches the keys.
pub type FetchKeys = Arc<dyn Fn() -> Fetching + Send + Sync>;

/// Why there are no newer keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It cannot be reached, or did not answer.
    #[error("{}", told(.0))]
    Once(OnceError),
    /// Another answer, a redirect among them.
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    /// What it answered.
    #[error("the answer {0}")]
    Keys(KeySetError),
}

/// A fetch of what is at this URL. Follows no redirect, and nothing that the answer names.
pub fn fetch_keys(upstream: Arc<Upstream>, url: &EndpointUrl) -> FetchKeys {
    // A URL that was taken has a target that is one.
    let target: Uri = url.target().parse().unwrap_or(Uri::from_static("/"));
    Arc::new(move || {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = target.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let upstream = Arc::clone(&upstream);
        Box::pin(async move {
            let answer = once(&upstream, request, PATIENCE, ANSWER_LIMIT).await.map_err(FetchError::Once)?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(answer.status()));
            }
            KeySet::parse(answer.body()).map_err(FetchError::Keys)
        })
    })
}

impl FetchError {
    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Once(OnceError::Connect(cause)) if cause.is_certificate() => {
                "name the authority of its certificate as `ca` beside `jwks`, or have the certificate mended"
            }
            Self::Once(_) => "check the URL, and whether this machine may connect there",
            Self::Status(_) => "name the URL that answers with the keys themselves: no redirect is followed",
            Self::Keys(KeySetError::Discovery) => "name as `jwks` what it has as `jwks_uri`",
            Self::Keys(_) => "name the URL of the issuer's JWK set (RFC 7517)",
        }
    }
}

/// As it may be told: the names that a certificate is for are left out, since the issuer's may have come
/// from a reference.
fn told(error: &OnceError) -> String {
    match error.cause() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
