//! Upstreams for this module's tests: raw ones that say what they are told, and hyper's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Target;
use crate::model::{BaseUrl, HeaderCase, Protocol, ServerIdentity, UpstreamTls};

/// Long enough that only a hang reaches it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn target(url: &str) -> Target {
    Target {
        origin: BaseUrl::parse(url).unwrap().origin().clone(),
        protocol: Protocol::Auto,
        tls: UpstreamTls::default(),
        egress: None,
        header_case: HeaderCase::Title,
        preserve_answers: false,
        idle: Duration::from_secs(30),
        age: Duration::from_secs(300),
        connections: None,
        credential: None,
    }
}

thread_local! {
    static NAMES: RefCell<HashMap<String, Vec<SocketAddr>>> = RefCell::default();
}

/// From now on this name stands for these addresses, on this thread.
pub(super) fn resolve_to(host: &str, addresses: &[SocketAddr]) {
    NAMES.with_borrow_mut(|names| names.insert(host.to_owned(), addresses.to_vec()));
}

/// What a test said of this name.
pub(super) fn resolved(host: &str) -> Option<Vec<SocketAddr>> {
    NAMES.with_borrow(|names| names.get(host).cloned())
}

/// Waits for a condition that other tasks bring about.
pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the condition never held");
}

/// What a raw upstream does with one request.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// Says this, and waits for the next request.
    Answer(&'static str),
    /// Says this and closes.
    AnswerAndClose(&'static str),
    /// Says this as soon as it has the head, reads the body after.
    AnswerEarly(&'static str),
    /// Says this and no more.
    AnswerAndHang(&'static str),
    /// Closes without a word.
    Close,
    /// Does nothing for ever.
    Hang,
}

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The connection's number, from 0.
    pub(super) connection: usize,
    /// Head and body.
    pub(super) text: String,
}

/// An upstream that follows a script, one step a request; the last step is for all that follow.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
}

impl Raw {
    pub(super) async fn start(script: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, accepted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let script: Arc<[Step]> = script.into();
        let (log, count) = (Arc::clone(&seen), Arc::clone(&accepted));
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let connection = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(follow(tcp, connection, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, seen, accepted }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests, in the order in which they were read.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn follow(mut tcp: TcpStream, connection: usize, script: Arc<[Step]>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_until(&mut tcp, &mut buffer, b"\r\n\r\n").await else { return };
        let step = {
            let mut log = log.lock().unwrap();
            log.push(Seen { connection, text: head.clone() });
            script[(log.len() - 1).min(script.len() - 1)]
        };
        let number = log.lock().unwrap().len() - 1;
        if let Step::AnswerEarly(text) = step {
            tcp.write_all(text.as_bytes()).await.unwrap();
        }
        let lower = head.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            read_until(&mut tcp, &mut buffer, b"0\r\n\r\n").await
        } else {
            let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            read_exactly(&mut tcp, &mut buffer, length.map_or(0, |n| n.parse().unwrap())).await
        };
        let Some(body) = body else { return };
        log.lock().unwrap()[number].text.push_str(&body);
        match step {
            Step::Answer(text) => tcp.write_all(text.as_bytes()).await.unwrap(),
            Step::AnswerEarly(_) => {}
            Step::AnswerAndClose(text) => {
                tcp.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Step::AnswerAndHang(text) => {
                tcp.write_all(text.as_bytes()).await.unwrap();
                pending::<()>().await;
            }
            Step::Close => return,
            Step::Hang => pending::<()>().await,
        }
    }
}

async fn read_until(tcp: &mut TcpStream, buffer: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|window| window == end) {
            return Some(String::from_utf8(buffer.drain(..at + end.len()).collect()).unwrap());
        }
        if tcp.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn read_exactly(tcp: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<String> {
    while buffer.len() < length {
        if tcp.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8(buffer.drain(..length).collect()).unwrap())
}

/// An upstream made of hyper: HTTP/1.1 or HTTP/2, by preface or by ALPN.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Served {
    pub(super) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(super) async fn tls(config: rustls::ServerConfig) -> Self {
        Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (connections, served) = (Arc::clone(&accepted), Arc::clone(&requests));
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, served, mut stopped) = (tls.clone(), Arc::clone(&served), stopped.clone());
                stopped.mark_unchanged();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        served.fetch_add(1, Ordering::SeqCst);
                        echo(request)
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    if let Some(tls) = tls {
                        let Ok(stream) = tls.accept(tcp).await else { return };
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        return;
                    }
                    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(tcp), service));
                    tokio::select! {
                        _ = &mut connection => {}
                        _ = stopped.changed() => {
                            connection.as_mut().graceful_shutdown();
                            let _ = connection.await;
                        }
                    }
                });
            }
        });
        Self { address, accepted, requests, stop }
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Takes no more requests on the plain connections there are.
    pub(super) fn close_gracefully(&self) {
        self.stop.send_replace(true);
    }
}

/// Answers when the request's body has come: with what was asked for.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let asked = format!(
        "{} {} {:?} host={:?} ",
        request.method(),
        request.uri(),
        request.version(),
        request.headers().get("host").map(|host| host.to_str().unwrap().to_owned()),
    );
    let mut text = asked.into_bytes();
    if let Ok(body) = request.into_body().collect().await {
        text.extend_from_slice(&body.to_bytes());
    }
    Ok(Response::new(Full::new(text.into())))
}

/// A certificate authority of a test's own.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(super) fn roots(&self) -> Arc<Vec<CertificateDer<'static>>> {
        Arc::new(vec![self.issuer.der().clone()])
    }

    /// A certificate for these names, changed as the test wants it.
    pub(super) fn identity(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerIdentity {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        pair(certificate.der().clone(), &key)
    }
}

/// What `openssl req -x509` makes: signed by itself, and marked as an authority if so wished.
pub(super) fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerIdentity {
    let key = KeyPair::generate().unwrap();
    let mut params = params(names);
    change(&mut params);
    pair(params.self_signed(&key).unwrap().der().clone(), &key)
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn pair(certificate: CertificateDer<'static>, key: &KeyPair) -> ServerIdentity {
    ServerIdentity { chain: vec![certificate], key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()) }
}

pub(super) fn server_config(identity: &ServerIdentity, alpn: &[&str]) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}
