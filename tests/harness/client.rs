//! Clients: a plain one for whole exchanges, a raw one for bytes as they are.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A kept-alive HTTP/1.1 connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("a connection")
    }

    /// Connects, if somebody listens.
    pub async fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, address })
    }

    /// Sends, and reads the whole answer.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, hyper::Error> {
        let host = self.address.to_string().parse().unwrap();
        request.headers_mut().entry("host").or_insert(host);
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}

/// One request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    Connection::open(address).await.send(request).await.expect("an answer")
}

/// GET.
pub async fn get(address: SocketAddr, target: &str) -> Response<Bytes> {
    send(address, Request::get(target).body(Full::default()).unwrap()).await
}

/// POST with a content type.
pub async fn post(address: SocketAddr, target: &str, content_type: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    let request = Request::post(target).header("content-type", content_type).body(Full::from(body.into())).unwrap();
    send(address, request).await
}

/// The number of the token that a simulator took the request with.
pub fn token_number(response: &Response<Bytes>) -> Option<u64> {
    response.headers().get("x-token-number")?.to_str().ok()?.parse().ok()
}

/// A body as text.
pub fn text(response: &Response<Bytes>) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}

/// A body as JSON.
pub fn json(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("no JSON: {}", text(response)))
}

/// Sends bytes as they are and reads until the connection closes or is silent for half a second.
pub async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a raw answer.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status line: {answer:?}"))
}

/// Asserts that the proxy itself says that there is no token now, and when to come again.
pub fn assert_unavailable(response: &Response<Bytes>, code: &str) {
    assert_eq!(response.status(), 503, "{}", text(response));
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "Retry-After: {after}");
    assert!(response.headers().contains_key("proxy-status"));
    assert_eq!((json(response)["code"].as_str(), json(response)["status"].as_u64()), (Some(code), Some(503)));
}

/// Reads until this has come; what has come until then.
pub async fn read_until(stream: &mut TcpStream, what: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(what) {
        let more = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut read)).await;
        assert_ne!(more.unwrap_or_else(|_| panic!("no {what}")).unwrap(), 0, "closed before {what}");
    }
    String::from_utf8_lossy(&read).into_owned()
}
