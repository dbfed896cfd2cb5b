//! Through an egress proxy: a tunnel by CONNECT (RFC 9110 section 9.3.6), or, for plain HTTP/1,
//! requests whose target is a whole URL (RFC 9112 section 3.2.2), which is what every proxy takes for
//! port 80 while many open tunnels to port 443 only.

use std::io;

use http::header::PROXY_AUTHORIZATION;
use http::uri::{PathAndQuery, Scheme as UriScheme};
use http::{Request, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{AGENT, ConnectError};
use crate::model::{EgressProxy, Origin};

/// The longest head of an answer to CONNECT.
const HEAD: usize = 8 << 10;

/// Why an egress proxy did not lead to where it was to lead. The upstream is not to blame.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// No connection to it.
    #[error("it cannot be reached")]
    Unreached(#[source] Box<ConnectError>),
    /// It closed, or the connection broke, before it had answered.
    #[error("it broke off before it answered")]
    Broken(#[source] io::Error),
    /// What it said is no answer of an HTTP proxy, or one without end.
    #[error("what it answered is no HTTP")]
    NotHttp,
    /// It answered something else than success.
    #[error("it answered {}{}", .0.as_u16(), hint(*.0))]
    Refused(StatusCode),
    /// Not within `timeouts.connect`.
    #[error("it did not open the way in time")]
    Timeout,
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        // tinyproxy answers a wrong password with 401, and only a missing one with 407.
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
            " (check the user and password of `proxy`)"
        }
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => " (its rules do not let this host and port pass)",
        _ => "",
    }
}

impl EgressError {
    /// The error type of RFC 9209 section 2.3, for `Proxy-Status` and logs.
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Unreached(error) => error.proxy_status(),
            Self::Broken(_) => "connection_terminated",
            Self::NotHttp => "http_protocol_error",
            // That it wants another user and password is a matter of how this proxy is set up.
            Self::Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED) => {
                "proxy_configuration_error"
            }
            Self::Refused(_) => "destination_unavailable",
            Self::Timeout => "connection_timeout",
        }
    }
}

/// Asks for a tunnel to this origin. What comes after the answer's head is the origin's, and is left
/// where it is: over HTTP/2 it may speak first.
pub(super) async fn open<S>(stream: &mut S, origin: &Origin, proxy: &EgressProxy) -> Result<(), EgressError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let place = format!("{}:{}", origin.host(), origin.port());
    let mut ask = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n").into_bytes();
    for part in [b"User-Agent: ", AGENT.as_bytes(), b"\r\n"] {
        ask.extend_from_slice(part);
    }
    if let Some(authorization) = proxy.authorization() {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(authorization.as_bytes());
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    stream.write_all(&ask).await.map_err(EgressError::Broken)?;
    stream.flush().await.map_err(EgressError::Broken)?;
    // A success has no body, whatever its head says of one; what else there is to read of a refusal is
    // not worth its while.
    let status = status(&head(stream).await?).ok_or(EgressError::NotHttp)?;
    if status.is_success() { Ok(()) } else { Err(EgressError::Refused(status)) }
}

/// An answer's head, a byte at a time: there is no other way to stop right behind it, and the few
/// hundred reads of a dial cost less than its round trips.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, EgressError> {
    let mut head = Vec::with_capacity(256);
    while head.len() < HEAD {
        head.push(stream.read_u8().await.map_err(EgressError::Broken)?);
        // Nothing that begins otherwise is worth waiting for its end.
        if !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
            break;
        }
        // Old proxies end lines without a carriage return.
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(head);
        }
    }
    Err(EgressError::NotHttp)
}

/// `HTTP/1.x NNN`, with anything or nothing behind.
fn status(head: &[u8]) -> Option<StatusCode> {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let (version, rest) = (line.get(..9)?, line.get(9..)?);
    let code = rest.get(..3)?;
    let ends = rest.get(3).is_none_or(|byte| *byte == b' ');
    if !matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ") || !ends || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    StatusCode::from_bytes(code).ok()
}

/// Makes a request whose target is in origin form one for a proxy that forwards it. The target names
/// the origin and nothing else, whatever `Host` says: the token goes to no other host.
pub(super) fn absolute<B>(request: &mut Request<B>, origin: &Origin, proxy: &EgressProxy) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(UriScheme::HTTP);
    parts.authority = Some(origin.authority().clone());
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    // Scheme, authority and path are all there, which is all that `from_parts` asks for.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Some(authorization) = proxy.authorization() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
}

/// Takes the password for the proxy out of a request that may now go elsewhere.
pub(super) fn take_back<B>(request: &mut Request<B>) {
    request.headers_mut().remove(PROXY_AUTHORIZATION);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BaseUrl;

    async fn opened(answer: &[u8]) -> (Result<(), EgressError>, String, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(64 << 10);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let origin = BaseUrl::parse("https://[2001:db8::1]/").unwrap().origin().clone();
        let proxy = EgressProxy::parse("http://user:pass@proxy:3128").unwrap();
        let result = open(&mut near, &origin, &proxy).await;
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        drop(near);
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        (result, asked, rest)
    }

    #[tokio::test]
    async fn a_tunnel_begins_right_behind_the_head() {
        for head in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200\r\n\r\n",
            "HTTP/1.1 200 \r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 299 OK\nVia: x\n\n",
        ] {
            let (result, asked, rest) = opened(format!("{head}\0\r\n\r\nfirst").as_bytes()).await;
            assert!(result.is_ok(), "{head:?} {result:?}");
            assert_eq!(rest, b"\0\r\n\r\nfirst");
            let asked: Vec<&str> = asked.split("\r\n").collect();
            let agent = concat!("User-Agent: tokenferry/", env!("CARGO_PKG_VERSION"));
            assert_eq!(
                asked,
                [
                    "CONNECT [2001:db8::1]:443 HTTP/1.1",
                    "Host: [2001:db8::1]:443",
                    agent,
                    "Proxy-Authorization: Basic dXNlcjpwYXNz",
                    "",
                    ""
                ]
            );
        }
    }

    #[tokio::test]
    async fn anything_but_success_is_told_by_its_status() {
        for status in [100, 101, 301, 403, 404, 407, 502, 503] {
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 9\r\n\r\nno secret");
            let (result, ..) = opened(answer.as_bytes()).await;
            assert!(matches!(result, Err(EgressError::Refused(told)) if told == status), "{status} {result:?}");
        }
        let (result, ..) = opened(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let told = result.unwrap_err().to_string();
        assert_eq!(told, "it answered 407 (check the user and password of `proxy`)");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused_and_none_is_read_without_end() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD));
        for answer in [
            "SSH-2.0-OpenSSH",
            "\r\n\r\n",
            "\x15\x03\x01",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.2 200\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            endless.as_str(),
        ] {
            let (result, ..) = opened(answer.as_bytes()).await;
            assert!(matches!(result, Err(EgressError::NotHttp)), "{answer:?} {result:?}");
        }
        for answer in ["", "HTTP/1.1 200 OK\r\n"] {
            let (result, ..) = opened(answer.as_bytes()).await;
            assert!(matches!(result, Err(EgressError::Broken(_))), "{answer:?} {result:?}");
        }
    }

    #[test]
    fn a_forwarded_request_names_its_origin_whatever_its_host_says() {
        let origin = BaseUrl::parse("http://api.example:8080/").unwrap().origin().clone();
        let proxy = EgressProxy::parse("http://user:pass@proxy:3128").unwrap();
        let mut request = Request::get("/a?b=%20").header("host", "elsewhere.example").body(()).unwrap();
        absolute(&mut request, &origin, &proxy);
        assert_eq!(request.uri(), "http://api.example:8080/a?b=%20");
        assert_eq!(request.headers()["proxy-authorization"], "Basic dXNlcjpwYXNz");
        assert!(!format!("{request:?}").contains("dXNlcjpwYXNz"), "{request:?}");
        take_back(&mut request);
        assert!(!request.headers().contains_key("proxy-authorization"));
    }
}
