//! One request on one fresh connection, its answer read whole: a token call.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::connect::{Purpose, connect};
use super::error::tls_cause;
use super::{ConnectError, EgressError, Upstream, egress, wire};

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

impl OnceError {
    /// The last cause, which says most. A certificate for another name is told without the names.
    pub fn cause(&self) -> Option<String> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};

        if let Self::Connect(ConnectError::Tls(cause)) = self
            && let Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) =
                tls_cause(cause)
        {
            return Some("it is for another name".to_owned());
        }
        if matches!(self, Self::Connect(ConnectError::Egress(EgressError::Refused(_)))) {
            // The status says it.
            return None;
        }
        let mut cause = self.source()?;
        while let Some(next) = cause.source() {
            cause = next;
        }
        Some(cause.to_string())
    }
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
    let permit = match &upstream.limit {
        Some(limit) => timeout_at(deadline, limit.take()).await.map_err(|_| OnceError::Timeout { sent: false })?,
        None => None,
    };
    let (stream, _) = connect(upstream, Purpose::Call, permit, deadline).await.map_err(|error| match error {
        ConnectError::Timeout => OnceError::Timeout { sent: false },
        error => OnceError::Connect(error),
    })?;

    wire::as_http1(&mut request, &upstream.target.origin);
    let forwarder = upstream.forwarder();
    if let Some(proxy) = forwarder {
        egress::absolute(&mut request, &upstream.target.origin, proxy);
    }
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
        if forwarder.is_some() && head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(OnceError::Connect(ConnectError::Egress(EgressError::Refused(head.status))));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{PATIENCE, Raw, Step, target};
    use crate::upstream::{Roots, Target};
    use std::sync::Arc;

    const LIMIT: usize = 64;

    async fn call(raw: &Raw, timeout: Duration) -> Result<Response<Bytes>, OnceError> {
        let upstream = Upstream::new(target(&raw.url()), &Roots::none()).unwrap();
        let request = Request::post("/token?a=b").body(Full::new(Bytes::from_static(b"grant"))).unwrap();
        // Spawned: the future is at home on any runtime, and needs no `LocalSet`.
        tokio::spawn(async move { once(&upstream, request, timeout, LIMIT).await }).await.unwrap()
    }

    async fn answered(step: Step) -> Result<Response<Bytes>, OnceError> {
        let raw = Raw::start(&[step]).await;
        let result = call(&raw, PATIENCE).await;
        assert_eq!(raw.seen().len(), 1, "a token call is sent once");
        result
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_however_it_is_framed() {
        for step in [
            Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken"),
            Step::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nto\r\n3\r\nken\r\n0\r\n\r\n"),
            Step::AnswerAndClose("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\ntoken"),
            Step::AnswerAndClose("HTTP/1.0 200 OK\r\n\r\ntoken"),
        ] {
            assert_eq!(answered(step).await.unwrap().into_body(), "token");
        }
    }

    #[tokio::test]
    async fn the_request_is_sent_as_it_is_with_the_host_of_its_upstream() {
        let raw = Raw::start(&[Step::Answer("HTTP/1.1 204 No Content\r\n\r\n")]).await;
        call(&raw, PATIENCE).await.unwrap();
        let text = &raw.seen()[0].text;
        assert!(text.starts_with("POST /token?a=b HTTP/1.1\r\n"), "{text}");
        assert!(text.contains(&format!("Host: {}\r\n", raw.address)), "{text}");
        assert!(text.ends_with("grant"), "{text}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let step = Step::Answer("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answered(step).await.unwrap().status(), 302);
    }

    #[tokio::test]
    async fn an_answer_beyond_the_bound_is_refused() {
        for step in [
            Step::Answer(
                "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n\
                 0123456789012345678901234567890123456789012345678901234567890123x",
            ),
            Step::AnswerAndHang(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n\
                 0123456789012345678901234567890123456789012345678901234567890123x\r\n",
            ),
        ] {
            assert!(matches!(answered(step).await, Err(OnceError::TooLarge)));
        }
        let step = Step::Answer(
            "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n\
             0123456789012345678901234567890123456789012345678901234567890123",
        );
        assert_eq!(answered(step).await.unwrap().into_body().len(), LIMIT);
    }

    #[tokio::test]
    async fn what_breaks_off_may_have_been_heard() {
        for step in [
            Step::Close,
            Step::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Len"),
            Step::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
            Step::Answer("no HTTP at all\r\n\r\n"),
        ] {
            let result = answered(step).await;
            assert!(matches!(result, Err(OnceError::Broken(_))), "{result:?}");
        }
    }

    #[tokio::test]
    async fn the_time_is_for_the_whole_answer() {
        for step in [Step::Hang, Step::AnswerAndHang("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")] {
            let raw = Raw::start(&[step]).await;
            let result = call(&raw, Duration::from_millis(100)).await;
            assert!(matches!(result, Err(OnceError::Timeout { sent: true })), "{result:?}");
        }
    }

    #[tokio::test]
    async fn what_was_not_sent_is_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target { connections: Some(1), ..target(&format!("http://{}", listener.local_addr().unwrap())) };
        drop(listener);
        let upstream = Upstream::new(target, &Roots::none()).unwrap();
        // Twice: a failed call gives its permit back.
        for _ in 0..2 {
            let result = once(&upstream, Request::new(Full::default()), PATIENCE, LIMIT).await;
            assert!(matches!(result, Err(OnceError::Connect(ConnectError::Tcp(_)))), "{result:?}");
        }
        let held = upstream.limit.as_ref().unwrap().try_take();
        let result = once(&upstream, Request::new(Full::default()), Duration::from_millis(20), LIMIT).await;
        assert!(matches!(result, Err(OnceError::Timeout { sent: false })), "{result:?}");
        drop((held, Arc::clone(&upstream)));
    }
}
