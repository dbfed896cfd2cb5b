//! A mix of clients as production has it: quick reads, uploads, answers that take long, clients that
//! send slowly. Each sends one request after the other; what came of them is counted and timed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::client::{Connection, text};

/// Who takes part.
#[derive(Clone, Copy)]
pub struct Mix {
    /// Clients that GET without a pause.
    pub reads: usize,
    /// Clients that POST 20 KB without a pause.
    pub uploads: usize,
    /// Clients whose answers' heads take `late`.
    pub late_answers: usize,
    pub late: Duration,
    /// Clients that take two seconds to send 8 KB.
    pub slow_uploads: usize,
}

/// Clients at work. They stop when this is dropped.
pub struct Clients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Sum>>,
}

/// What came of their requests.
#[derive(Default)]
pub struct Sum {
    /// By status; 0 for those without an answer.
    pub statuses: BTreeMap<u16, u64>,
    /// The first failure in words.
    pub first_failure: Option<String>,
    /// When each quick request began and how long it took.
    pub quick: Vec<(Instant, Duration)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Upload,
    Late(Duration),
    Slow,
}

impl Mix {
    /// Starts them. Each sends to the address that `address` gives for its number and round.
    pub fn start(
        self,
        target: &'static str,
        address: impl Fn(usize, u64) -> SocketAddr + Send + Sync + 'static,
    ) -> Clients {
        let kinds = std::iter::repeat_n(Kind::Read, self.reads)
            .chain(std::iter::repeat_n(Kind::Upload, self.uploads))
            .chain(std::iter::repeat_n(Kind::Late(self.late), self.late_answers))
            .chain(std::iter::repeat_n(Kind::Slow, self.slow_uploads));
        let (stop, address) = (Arc::new(AtomicBool::new(false)), Arc::new(address));
        let clients = kinds.enumerate().map(|(number, kind)| {
            let (stop, address) = (Arc::clone(&stop), Arc::clone(&address));
            tokio::spawn(async move { client(kind, target, &stop, |round| address(number, round)).await })
        });
        Clients { clients: clients.collect(), stop }
    }
}

async fn client(kind: Kind, target: &str, stop: &AtomicBool, address: impl Fn(u64) -> SocketAddr) -> Sum {
    let mut sum = Sum::default();
    let mut open: Option<(SocketAddr, Connection)> = None;
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let to = address(round);
        round += 1;
        let begun = Instant::now();
        let answer = match kind {
            Kind::Slow => slow_upload(to, target).await,
            _ => over(&mut open, to, request(kind, target)).await,
        };
        if matches!(kind, Kind::Read | Kind::Upload) {
            sum.quick.push((begun, begun.elapsed()));
        }
        sum.note(answer);
        // Lets the others of this thread have their turn also where all answers are there at once.
        tokio::task::yield_now().await;
    }
    sum
}

fn request(kind: Kind, target: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().uri(target);
    match kind {
        Kind::Upload => request.method("POST").body(Full::from(vec![b'x'; 20_000])),
        Kind::Late(late) => request.header("x-answer-after-ms", late.as_millis().to_string()).body(Full::default()),
        Kind::Read | Kind::Slow => request.body(Full::default()),
    }
    .unwrap()
}

async fn over(
    open: &mut Option<(SocketAddr, Connection)>,
    to: SocketAddr,
    request: Request<Full<Bytes>>,
) -> std::io::Result<(u16, String)> {
    let mut connection = match open.take() {
        Some((address, connection)) if address == to => connection,
        _ => Connection::try_open(to).await?,
    };
    let answer: Response<Bytes> = connection.send(request).await.map_err(std::io::Error::other)?;
    *open = Some((to, connection));
    Ok((answer.status().as_u16(), text(&answer)))
}

/// Eight pieces of a kilobyte, a quarter of a second apart.
async fn slow_upload(to: SocketAddr, target: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(to).await?;
    let head = format!("POST {target} HTTP/1.1\r\nhost: {to}\r\ncontent-length: 8192\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        // An answer that came already is read below.
        if stream.write_all(&[b'x'; 1024]).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, answer)).ok_or_else(|| std::io::Error::other("no status line"))
}

impl Sum {
    fn note(&mut self, answer: std::io::Result<(u16, String)>) {
        let (status, failure) = match answer {
            Ok((200, _)) => (200, None),
            Ok((status, text)) => (status, Some(text)),
            Err(error) => (0, Some(error.to_string())),
        };
        *self.statuses.entry(status).or_default() += 1;
        self.first_failure = self.first_failure.take().or(failure);
    }

    /// Counts others' requests in.
    pub fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.quick.extend(other.quick);
    }

    /// All requests.
    pub fn all(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Those that were not answered with 200.
    pub fn failed(&self) -> u64 {
        self.all() - self.statuses.get(&200).copied().unwrap_or_default()
    }

    /// Asserts that there were at least so many requests, and that all were answered with 200.
    pub fn assert_all_served(&self, at_least: u64) {
        assert_eq!(self.failed(), 0, "{:?}, first: {:?}", self.statuses, self.first_failure);
        assert!(self.all() >= at_least, "only {} requests", self.all());
    }

    /// The durations of quick requests of which `wanted` holds, by when they began.
    pub fn latency(&self, wanted: impl Fn(Instant) -> bool) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        for (_, took) in self.quick.iter().filter(|(begun, _)| wanted(*begun)) {
            histogram.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).unwrap();
        }
        histogram
    }
}

impl Clients {
    /// Lets the requests that are under way finish.
    pub async fn stop(mut self) -> Sum {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Sum::default();
        for client in std::mem::take(&mut self.clients) {
            all.add(client.await.unwrap());
        }
        all
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
