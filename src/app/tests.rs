//! What only a build for tests can show: a request that panics in a running proxy.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;

/// A proxy with one worker, in a thread of its own; it ends with what is sent.
fn start(metrics: &Arc<Metrics>) -> (SocketAddr, oneshot::Sender<()>) {
    let folder = tempfile::TempDir::new().unwrap();
    let yaml = "listeners: [{address: '127.0.0.1:0'}]\nworkers: 1\nshutdown_timeout: 1s\n\
                routes: [{name: a, respond: 418}, {name: few, match: {path: /few}, credential: none, \
                upstream: 'http://127.0.0.1:1', limits: {concurrency: 3}}]\n";
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (announce, announced) = std::sync::mpsc::channel();
    let start = Start {
        config: folder.path().join("proxy.yaml"),
        environment: Arc::new(|_| None),
        watch: false,
        sockets: Vec::new(),
        metrics: Arc::clone(metrics),
    };
    std::thread::spawn(move || {
        let _folder = folder;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_hangups, inbox) = mpsc::channel(1);
        let told = move |accepting: Accepting<'_>| {
            if let Accepting::Listener(ListenOn::Tcp(address)) = accepting {
                announce.send(*address).unwrap();
            }
        };
        runtime.block_on(run(start, told, inbox, async move { drop(stopped.await) }))
    });
    (announced.recv_timeout(Duration::from_secs(10)).unwrap(), stop)
}

fn request(panics: bool, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post("http://proxy/").header("host", "proxy");
    let request = if panics { request.header("x-panic-on-purpose", "SECRET-of-the-client") } else { request };
    request.body(Full::from(body)).unwrap()
}

/// One that panics once it is under way on the route that takes few at once.
fn panics_under_way() -> Request<Full<Bytes>> {
    let request = Request::post("http://proxy/few").header("host", "proxy");
    request.header("x-panic-under-way", "SECRET-of-the-client").body(Full::default()).unwrap()
}

async fn read(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn is_500(answer: &(u16, String)) {
    assert_eq!(answer.0, 500);
    assert!(answer.1.contains("\"code\":\"panic\""), "{}", answer.1);
    assert!(!answer.1.contains("CANARY") && !answer.1.contains("SECRET"), "{}", answer.1);
}

#[tokio::test]
async fn a_panic_is_one_failed_request_and_its_connection_and_its_worker_go_on() {
    let metrics = Metrics::new();
    let (address, _stop) = start(&metrics);
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut http1, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    // More often than may be under way at once: whoever panicked is not.
    for _ in 0..5 {
        for panics in [request(true, ""), panics_under_way()] {
            is_500(&read(http1.send_request(panics).await.unwrap()).await);
            http1.ready().await.unwrap();
        }
        assert_eq!(read(http1.send_request(request(false, "")).await.unwrap()).await.0, 418);
        http1.ready().await.unwrap();
    }
    assert_eq!(metrics.panics(), 10);
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut other, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(read(other.send_request(request(false, "")).await.unwrap()).await.0, 418, "the worker lives");
}

#[tokio::test]
async fn a_panic_in_one_stream_of_http2_leaves_the_others_alone() {
    let metrics = Metrics::new();
    let (address, _stop) = start(&metrics);
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (http2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let asked = (0..3).map(|number| {
        let mut http2 = http2.clone();
        async move { read(http2.send_request(request(number == 1, "")).await.unwrap()).await }
    });
    let answers = futures_util::future::join_all(asked).await;
    is_500(&answers[1]);
    assert_eq!((answers[0].0, answers[2].0), (418, 418));
    let mut again = http2.clone();
    let empty = Request::get("http://proxy/").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(read(again.send_request(empty).await.unwrap()).await.0, 418);
    // More often than may be under way at once: whoever panicked is not.
    for _ in 0..5 {
        is_500(&read(again.send_request(panics_under_way()).await.unwrap()).await);
    }
    assert_eq!(metrics.panics(), 6);
}
