//! The keys of an issuer, asked for at the one URL that the configuration names.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;

use crate::model::{EndpointUrl, KeySet, KeySetError};
use crate::upstream::{AGENT, ConnectError, OnceError, Upstream, once};

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

/// As it may be told: a certificate's fault names the hosts that it is for, and the issuer's may have
/// come from a reference.
fn told(error: &OnceError) -> String {
    match error {
        OnceError::Connect(ConnectError::Tls(_)) => {
            "the TLS handshake failed, or the certificate was not accepted".to_owned()
        }
        other => match std::error::Error::source(other) {
            Some(cause) => format!("{other}: {cause}"),
            None => other.to_string(),
        },
    }
}
