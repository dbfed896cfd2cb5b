//! One request on one fresh connection, its answer read whole: a token call.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::connect::{Purpose, connect};
use super::{ConnectError, Upstream, wire};

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

/// Sends over HTTP/1.1 and reads the answer, at most `limit` bytes, all within `timeout`. Follows
/// no redirect. The request's target is in origin form; a missing `Host` is put in.
///
/// The future may be spawned on any runtime: it drives the connection itself.
pub async fn once(
    upstream: &Upstream,
    mut request: Request<Full<Bytes>>,
    timeout: Duration,
    limit: usize,
) -> Result<Response<Bytes>, OnceError> {
    let deadline = Instant::now() + timeout;
    let dialled = timeout_at(deadline, async {
        let permit = match &upstream.limit {
            Some(limit) => limit.take().await,
            None => None,
        };
        connect(upstream, Purpose::Http1, permit).await
    });
    let (stream, _) = dialled.await.map_err(|_| OnceError::Timeout { sent: false })??;

    wire::as_http1(&mut request, &upstream.target.origin);
    let (mut sender, connection) = wire::http1_builder(&upstream.target)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(ConnectError::Http)?;
    let exchange = async move {
        let response = sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(_) => OnceError::Connect(ConnectError::Http(error.into_error())),
            None => OnceError::Broken(error.into_error()),
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return OnceError::TooLarge;
            }
            match error.downcast::<hyper::Error>() {
                Ok(error) => OnceError::Broken(*error),
                // `Limited` has no errors but its own and the body's.
                Err(_) => OnceError::TooLarge,
            }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    timeout_at(deadline, drive(connection, exchange)).await.unwrap_or(Err(OnceError::Timeout { sent: true }))
}

/// Polls the connection beside the exchange, without a task of its own. The connection may end
/// first; the exchange then still has what was read.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let mut connection = pin!(connection);
    let mut exchange = pin!(exchange);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut exchange => return result,
            _ = &mut connection, if open => open = false,
        }
    }
}
