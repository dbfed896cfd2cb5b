//! One end of a connection, down to its bytes: a client that sends what no library would, and an
//! upstream that sees requests as they came.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits, but not for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection's end.
pub struct End {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
}

/// A message with its framing taken off.
#[derive(Clone)]
pub struct Message {
    /// From the first line to the empty one, that excluded.
    pub head: String,
    pub body: Vec<u8>,
    /// What came behind a chunked body.
    pub trailers: String,
    /// Whether it ended as its head had promised.
    pub whole: bool,
    /// At an upstream: the connection's number, from 0.
    pub connection: usize,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n\r\n{}{}", self.head, self.text(), if self.whole { "" } else { " [BROKEN OFF]" })
    }
}

impl Message {
    pub fn first_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    /// The request target as it was written.
    pub fn target(&self) -> &str {
        self.first_line().split(' ').nth(1).unwrap()
    }

    pub fn status(&self) -> u16 {
        super::client::status(&self.head)
    }

    /// Every value of a header, any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// A header's only value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came more than once: {self:?}");
        all.first().copied()
    }

    /// Whether a line stands there letter for letter.
    pub fn has_line(&self, line: &str) -> bool {
        self.head.split("\r\n").any(|found| found == line)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl End {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// Over any stream.
    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// What was read and not taken yet, and the stream.
    pub fn into_parts(self) -> (Vec<u8>, Box<dyn Duplex>) {
        (self.buffer, self.stream)
    }

    /// Writes; that the other side has closed shows when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Writes until it is all written or the other side has closed; says which.
    pub async fn send_all(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Writes what it takes at once.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// Closes the writing half.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match soon("bytes", self.stream.read(&mut buffer)).await {
            Ok(read @ 1..) => {
                self.buffer.extend_from_slice(&buffer[..read]);
                true
            }
            _ => false,
        }
    }

    /// Waits until there is something to read, and leaves it there.
    pub async fn peek(&mut self) {
        if self.buffer.is_empty() {
            self.fill().await;
        }
    }

    /// Whether the other side has closed, and sent nothing before.
    pub async fn is_over(&mut self) -> bool {
        if self.buffer.is_empty() { !self.fill().await } else { false }
    }

    /// Reads through these bytes, and gives all up to their end; `None` where the connection ended first.
    pub async fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// This many bytes, or fewer where the connection ended.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill().await {}
        let length = length.min(self.buffer.len());
        self.buffer.drain(..length).collect()
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Everything up to the end, or until nothing has come for a tenth of a second: for what may not happen.
    pub async fn rest_until_quiet(&mut self) -> Vec<u8> {
        while tokio::time::timeout(Duration::from_millis(100), self.fill()).await == Ok(true) {}
        std::mem::take(&mut self.buffer)
    }

    /// A head; `None` where the connection ended.
    pub async fn head(&mut self) -> Option<Message> {
        let head = self.through(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head[..head.len() - 4]).into_owned();
        Some(Message { head, body: Vec::new(), trailers: String::new(), whole: true, connection: 0 })
    }

    /// A whole request, as an upstream reads it.
    pub async fn request(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        self.body(&mut message, false).await;
        Some(message)
    }

    /// A whole answer; interim ones are skipped.
    pub async fn answer(&mut self) -> Message {
        self.answer_to("GET").await
    }

    /// A whole answer to a request with this method.
    pub async fn answer_to(&mut self, method: &str) -> Message {
        self.answer_if_any(method).await.expect("an answer")
    }

    /// The same; `None` where the connection ended before its head.
    pub async fn answer_if_any(&mut self, method: &str) -> Option<Message> {
        loop {
            let mut message = self.head().await?;
            let status = message.status();
            if status / 100 == 1 && status != 101 {
                continue;
            }
            if method != "HEAD" && ![101, 204, 304].contains(&status) {
                self.body(&mut message, true).await;
            }
            return Some(message);
        }
    }

    async fn body(&mut self, message: &mut Message, may_end_with_connection: bool) {
        if message.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            message.whole = self.chunks(message).await.is_some();
        } else if let Some(length) = message.header("content-length") {
            let length = length.parse().unwrap();
            message.body = self.exactly(length).await;
            message.whole = message.body.len() == length;
        } else if may_end_with_connection {
            message.body = self.rest().await;
        }
    }

    async fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let Some(chunk) = self.chunk().await? else { break };
            message.body.extend_from_slice(&chunk);
        }
        loop {
            let line = self.through(b"\r\n").await?;
            if line == b"\r\n" {
                return Some(());
            }
            message.trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// The next chunk of a chunked body: `None` where the connection ended, `Some(None)` for the last.
    pub async fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let line = self.through(b"\r\n").await?;
        let line = String::from_utf8(line).unwrap();
        let size = usize::from_str_radix(line.trim().split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            return Some(None);
        }
        let mut chunk = self.exactly(size + 2).await;
        if chunk.len() != size + 2 {
            return None;
        }
        chunk.truncate(size);
        Some(Some(chunk))
    }
}

/// One request on a raw connection of its own, and its answer.
pub async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Message {
    let mut end = End::connect(address).await;
    end.send(request.as_ref()).await;
    let method = request.as_ref().split(|b| *b == b' ').next().unwrap().to_vec();
    end.answer_to(&String::from_utf8_lossy(&method)).await
}

/// An upstream that does with each connection what it is told, on raw bytes; ends when dropped.
pub struct Wire {
    pub address: SocketAddr,
    log: Log,
    accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

/// Requests in the order in which they came.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Message>>>);

impl Log {
    pub fn push(&self, message: &Message) {
        self.0.lock().unwrap().push(message.clone());
    }

    pub fn all(&self) -> Vec<Message> {
        self.0.lock().unwrap().clone()
    }
}

/// A connection at an upstream.
pub struct Caller {
    pub end: End,
    pub connection: usize,
    log: Log,
}

impl Caller {
    /// The next request, which is noted; `None` where the connection ended.
    pub async fn request(&mut self) -> Option<Message> {
        let mut message = self.end.request().await?;
        message.connection = self.connection;
        self.log.push(&message);
        Some(message)
    }

    /// The next request's head, which is noted.
    pub async fn head(&mut self) -> Option<Message> {
        let mut message = self.end.head().await?;
        message.connection = self.connection;
        self.log.push(&message);
        Some(message)
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.end.send(bytes).await;
    }
}

impl Wire {
    /// Gives each connection to this function.
    pub async fn start<F>(serve: impl Fn(Caller) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, accepted) = (Log::default(), Arc::new(AtomicUsize::new(0)));
        let (its_log, count) = (log.clone(), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let connection = count.fetch_add(1, Ordering::SeqCst);
                let caller = Caller { end: End::over(stream), connection, log: its_log.clone() };
                tokio::spawn(serve(caller));
            }
        });
        Self { address, log, accepted, task }
    }

    /// Answers every request with these bytes, on connections that stay open.
    pub async fn always(answer: impl Into<String>) -> Self {
        let answer: Arc<str> = answer.into().into();
        Self::start(move |mut caller| {
            let answer = Arc::clone(&answer);
            async move {
                while caller.request().await.is_some() {
                    caller.say(&*answer).await;
                }
            }
        })
        .await
    }

    /// Answers every request with 200 and `ok`.
    pub async fn ok() -> Self {
        Self::always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
    }

    /// Answers the first request of each connection with these bytes and closes.
    pub async fn once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut caller| {
            let answer = Arc::clone(&answer);
            async move {
                if caller.request().await.is_some() {
                    caller.say(&*answer).await;
                }
            }
        })
        .await
    }

    /// `http://ADDRESS` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that arrived.
    pub fn seen(&self) -> Vec<Message> {
        self.log.all()
    }

    /// The only request that arrived.
    pub fn only(&self) -> Message {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    /// The last that arrived.
    pub fn last(&self) -> Message {
        self.seen().pop().expect("a request reached the upstream")
    }

    /// Connections that it was asked for.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}
