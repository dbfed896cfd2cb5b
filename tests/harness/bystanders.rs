//! Clients that have nothing to do with the trouble beside them, and must not notice it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::client::Connection;
use super::soak::long_or;

/// How long each waits between an answer and its next request.
const PAUSE: Duration = Duration::from_millis(10);
/// Whoever waits longer for an answer counts it as lost. In `make test` other tests run on the same
/// cores.
fn patience() -> Duration {
    long_or(Duration::from_secs(5), Duration::from_secs(10))
}

/// A thread of their own, since the test's may be busy with making trouble: a client that keeps its
/// HTTP/1 connection, one that makes a new one for each request, and one that speaks HTTP/2.
pub struct Bystanders {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What they saw.
pub struct Seen {
    /// Those who got 200.
    pub served: u64,
    /// Why others did not.
    pub failed: Vec<String>,
    /// In microseconds.
    pub latency: Histogram<u64>,
}

enum Client {
    Kept(Option<Connection>),
    New,
    Http2(Option<http2::SendRequest<Empty<Bytes>>>),
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

impl Bystanders {
    /// They ask for this path until they are stopped.
    pub fn start(address: SocketAddr, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let clients = [Client::Kept(None), Client::New, Client::Http2(None)];
                let clients = clients.map(|client| ask(client, address, path, Arc::clone(&its)));
                let mut all = Seen { served: 0, failed: Vec::new(), latency: Histogram::new(3).unwrap() };
                for seen in futures_util::future::join_all(clients).await {
                    all.served += seen.served;
                    all.failed.extend(seen.failed);
                    all.latency.add(seen.latency).unwrap();
                }
                all
            })
        });
        Self { stop, thread: Some(thread) }
    }

    /// Lets the requests that are under way finish, without holding up the test's own servers.
    pub async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn ask(mut client: Client, address: SocketAddr, path: &str, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen { served: 0, failed: Vec::new(), latency: Histogram::new(3).unwrap() };
    // Once in any case: the trouble may be over before this thread has begun.
    loop {
        let begun = Instant::now();
        match tokio::time::timeout(patience(), client.get(address, path)).await {
            Ok(Ok(StatusCode::OK)) => seen.served += 1,
            Ok(Ok(status)) => seen.failed.push(status.to_string()),
            Ok(Err(error)) => seen.failed.push(format!("{error:?}")),
            Err(_) => seen.failed.push("no answer in time".to_owned()),
        }
        seen.latency.record(u64::try_from(begun.elapsed().as_micros()).unwrap()).unwrap();
        if stop.load(Ordering::Relaxed) {
            return seen;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Client {
    async fn get(&mut self, address: SocketAddr, path: &str) -> Result<StatusCode, Anything> {
        let request = || Request::get(path).body(Full::default()).unwrap();
        let status = |response: Response<Bytes>| response.status();
        match self {
            Self::New => Ok(status(Connection::try_open(address).await?.send(request()).await?)),
            Self::Kept(kept) => {
                let mut open = match kept.take() {
                    Some(open) => open,
                    None => Connection::try_open(address).await?,
                };
                let answer = open.send(request()).await?;
                *kept = Some(open);
                Ok(status(answer))
            }
            Self::Http2(kept) => {
                let mut open = if let Some(open) = kept.take() {
                    open
                } else {
                    let stream = TcpStream::connect(address).await?;
                    let (open, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                    tokio::spawn(driver);
                    open
                };
                let uri = format!("http://{address}{path}");
                let answer = open.send_request(Request::get(uri).body(Empty::new()).unwrap()).await?;
                let status = answer.status();
                answer.into_body().collect().await?;
                *kept = Some(open);
                Ok(status)
            }
        }
    }
}

impl Seen {
    /// In milliseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.latency.value_at_quantile(quantile)).as_secs_f64() * 1000.0
    }

    /// Asserts that there were at least so many requests, and that all were answered with 200.
    pub fn assert_all_served(&self, at_least: u64, beside: &str) {
        assert!(self.failed.is_empty(), "{beside}: {} failed, first: {}", self.failed.len(), self.failed[0]);
        assert!(self.served >= at_least, "{beside}: only {} requests", self.served);
    }
}

impl Seen {
    /// Asserts, in a long run, that 99 of 100 waited for half a second at most.
    pub fn assert_quick(&self, beside: &str) {
        let slow = self.quantile(0.99);
        assert!(slow < long_or(500.0, f64::INFINITY), "{beside}: p99 is {slow:.1} ms");
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "bystanders {} requests, {} failed, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            self.served + self.failed.len() as u64,
            self.failed.len(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
        )
    }
}
