//! One request on one fresh connection, its answer read whole: a token call.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::{ConnectError, Upstream};

/// Why a token call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// No connection: the request did not leave.
    #[error("cannot connect")]
    Connect(#[from] ConnectError),
    /// It broke off: the request may have been heard.
    #[error("the connection broke off")]
    Broken(#[source] hyper::Error),
    /// Not within the time; `sent` says whether the request may have been heard.
    #[error("not answered in time")]
    Timeout {
        /// Whether the request may have been heard.
        sent: bool,
    },
    /// The answer is longer than the bound.
    #[error("the answer is too long")]
    TooLarge,
}

/// Sends over HTTP/1.1 and reads the answer, at most `limit` bytes, all within `timeout`. Follows no redirect.
pub async fn once(
    upstream: &Upstream,
    request: Request<Full<Bytes>>,
    timeout: Duration,
    limit: usize,
) -> Result<http::Response<Bytes>, OnceError> {
    let _ = (upstream, request, timeout, limit);
    todo!()
}
