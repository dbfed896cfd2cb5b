//! Clients that hold connections and do next to nothing with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::frames::{PREFACE, get, initial_window};

/// A crowd of slow clients, as many of each kind; whoever is closed connects again.
pub struct Crowd {
    counts: Arc<Counts>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    stop: AtomicBool,
}

#[derive(Clone, Copy)]
enum Kind {
    Head,
    Body,
    Read,
    Idle,
    Handshake,
    Window,
}

/// An upstream on a thread of its own, to the end of the tests: the crowd's clients must not hold it
/// up. Answers `/big` without end, and everything else with `ok` once its body has come.
pub fn upstream() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    address
}

/// Requests on one connection, whose clients may take any time.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        read.drain(..end);
        if head.starts_with("get /big ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            }
        }
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        while read.len() < length.unwrap_or(0) {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        read.clear();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
    }
}

impl Crowd {
    /// So many at a time, the first of them over the time of the ramp.
    pub fn start(size: usize, plain: SocketAddr, tls: SocketAddr, ramp: Duration) -> Self {
        let counts = Arc::new(Counts::default());
        let mut clients = JoinSet::new();
        for number in 0..size {
            let kind = [Kind::Head, Kind::Body, Kind::Read, Kind::Idle, Kind::Handshake, Kind::Window][number % 6];
            let address = if matches!(kind, Kind::Handshake) { tls } else { plain };
            let begin = ramp.mul_f64(number as f64 / size as f64);
            let counts = Arc::clone(&counts);
            clients.spawn(async move {
                tokio::time::sleep(begin).await;
                while !counts.stop.load(Ordering::Relaxed) {
                    if let Ok(stream) = connect(kind, address).await {
                        counts.opened.fetch_add(1, Ordering::Relaxed);
                        drop(linger(kind, stream).await);
                        counts.closed.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        Self { counts, clients }
    }

    /// Sends them away; how many connections there were, and how many of them were closed on them.
    pub async fn stop(mut self) -> (u64, u64) {
        self.counts.stop.store(true, Ordering::Relaxed);
        let counted = (self.counts.opened.load(Ordering::Relaxed), self.counts.closed.load(Ordering::Relaxed));
        self.clients.shutdown().await;
        counted
    }
}

async fn connect(kind: Kind, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if matches!(kind, Kind::Read) {
        // Else the kernel would take megabytes of each answer off the proxy's hands.
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(address).await
}

/// Until the other side closes.
async fn linger(kind: Kind, mut stream: TcpStream) -> std::io::Result<()> {
    match kind {
        Kind::Head => drip(stream, b"GET /ok HTTP/1.1\r\nHost: x\r\nX-Slow: ").await,
        Kind::Body => drip(stream, b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await,
        Kind::Read => {
            stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await?;
            // A byte now and then: whoever reads nothing at all is not told that it was closed.
            let mut byte = [0];
            while stream.read(&mut byte).await? > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        }
        Kind::Idle => {
            stream.write_all(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n").await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
        Kind::Window => {
            stream.write_all(&[PREFACE, &initial_window(0), &get(1, "/big")].concat()).await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
        Kind::Handshake => {
            // The beginning of a record with a ClientHello.
            stream.write_all(&[22, 3, 1, 0, 200, 1, 0, 0]).await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
    }
}

/// A beginning, and then a byte a second.
async fn drip(stream: TcpStream, beginning: &[u8]) -> std::io::Result<()> {
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(beginning).await?;
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writing.write_all(b"x").await?;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        over = dripping => over,
        read = reading.read_to_end(&mut answer) => read.map(drop),
    }
}
