//! An upstream that records what reached it and answers as it is told.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::client::Connection;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub version: http::Version,
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl Seen {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The token of its only `Authorization: Bearer`.
    pub fn bearer(&self) -> &str {
        self.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).expect("a Bearer token")
    }

    /// A header's only value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let first = all.next()?.to_str().ok();
        assert!(all.next().is_none(), "{name} came more than once: {:?}", self.headers);
        first
    }
}

type Answers = Arc<dyn Fn(Seen) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>> + Send + Sync>;

/// An HTTP/1 and HTTP/2 server on loopback; ends when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    /// Answers 200 with `ok`.
    pub async fn start() -> Self {
        Self::answering(|_| Response::new(Full::from("ok"))).await
    }

    /// Answers by this function.
    pub async fn answering(answer: impl Fn(Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        Self::answering_later(move |seen| {
            let response = answer(seen);
            async move { response }
        })
        .await
    }

    /// Answers by this asynchronous function.
    pub async fn answering_later<F>(answer: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Self::listening(Arc::new(move |seen| Box::pin(answer(seen))), None).await
    }

    /// Answers 200 with `ok` over TLS.
    pub async fn tls(config: Arc<rustls::ServerConfig>) -> Self {
        let answers: Answers = Arc::new(|_| Box::pin(std::future::ready(Response::new(Full::from("ok")))));
        Self::listening(answers, Some(TlsAcceptor::from(config))).await
    }

    /// Answers by this function over TLS.
    pub async fn tls_answering(
        config: Arc<rustls::ServerConfig>,
        answer: impl Fn(Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let answers: Answers = Arc::new(move |seen| Box::pin(std::future::ready(answer(seen))));
        Self::listening(answers, Some(TlsAcceptor::from(config))).await
    }

    /// Passes everything on to the plain server at this address, over TLS.
    pub async fn tls_before(config: Arc<rustls::ServerConfig>, address: SocketAddr) -> Self {
        let answers: Answers = Arc::new(move |seen| Box::pin(relay(address, seen)));
        Self::listening(answers, Some(TlsAcceptor::from(config))).await
    }

    async fn listening(answers: Answers, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, record, tls) = (Arc::clone(&answers), Arc::clone(&record), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        serve(request, connection, Arc::clone(&answers), Arc::clone(&record))
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let Some(tls) = tls else {
                        drop(builder.serve_connection(TokioIo::new(stream), service).await);
                        return;
                    };
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(builder.serve_connection(TokioIo::new(stream), service).await);
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    /// Passes everything on to the server at this origin (`http://ADDRESS`), once it is recorded.
    pub async fn before(origin: &str) -> Self {
        let address: SocketAddr = origin.trim_start_matches("http://").parse().unwrap();
        Self::answering_later(move |seen| relay(address, seen)).await
    }

    /// `http://ADDRESS` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that arrived.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last that arrived.
    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request reached the upstream")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes a request on to a server.
pub async fn relay(address: SocketAddr, seen: Seen) -> Response<Full<Bytes>> {
    let mut request = Request::builder().method(seen.method).uri(&seen.target).body(Full::from(seen.body)).unwrap();
    *request.headers_mut() = seen.headers;
    Connection::open(address).await.send(request).await.expect("an answer of the server behind").map(Full::from)
}

async fn serve(
    request: Request<Incoming>,
    connection: usize,
    answers: Answers,
    record: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let seen = Seen { version: parts.version, method: parts.method, target, headers: parts.headers, body, connection };
    for name in ["authorization", "token", "x-api-key"] {
        if let Some(Ok(value)) = seen.headers.get(name).map(|value| value.to_str()) {
            super::secrets::keep_token(value);
        }
    }
    record.lock().unwrap().push(seen.clone());
    Ok(answers(seen).await)
}
