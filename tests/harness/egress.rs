//! An egress proxy that records what it is asked for. It resolves names by a list of its own, so that
//! what is reached by a name that no resolver knows was reached through it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::raw::{Duplex, End, Message};

/// One request that came to the proxy.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// `HOST:PORT` of a CONNECT, else the whole URL.
    pub target: String,
    /// `Proxy-Authorization`.
    pub authorization: Option<String>,
    pub head: Message,
    /// What went through the tunnel, in bytes: towards the origin, and back.
    pub carried: (usize, usize),
    /// The first bytes that went towards the origin.
    pub first: Vec<u8>,
}

/// What it does with whoever comes.
#[derive(Clone)]
pub enum Manner {
    /// Leads on whoever has this `Proxy-Authorization`, or everyone.
    Lead(Option<&'static str>),
    /// Says this, and closes.
    Say(&'static str),
    /// Says nothing, and keeps the connection.
    Hang,
}

/// An egress proxy on loopback; ends when dropped.
pub struct EgressProxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

/// `user:pass`.
pub const BASIC: &str = "Basic dXNlcjpwYXNz";

impl EgressProxy {
    /// Leads to these places, each `HOST:PORT` at its address.
    pub async fn leading_to(places: &[(&str, SocketAddr)]) -> Self {
        Self::start(Manner::Lead(None), places).await
    }

    pub async fn start(manner: Manner, places: &[(&str, SocketAddr)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places: Arc<HashMap<String, SocketAddr>> =
            Arc::new(places.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, manner.clone(), Arc::clone(&places), Arc::clone(&record)));
            }
        });
        Self { address, asked, task }
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same with `user:pass@`.
    pub fn url_with_password(&self) -> String {
        format!("http://user:pass@{}", self.address)
    }

    /// Everything that it was asked for.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Method and target of everything that it was asked for.
    pub fn targets(&self) -> Vec<String> {
        self.asked().iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect()
    }
}

impl Drop for EgressProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    manner: Manner,
    places: Arc<HashMap<String, SocketAddr>>,
    record: Arc<Mutex<Vec<Asked>>>,
) {
    stream.set_nodelay(true).unwrap();
    let mut end = End::over(stream);
    while let Some(head) = end.head().await {
        let method = head.first_line().split(' ').next().unwrap().to_owned();
        let (target, authorization) = (head.target().to_owned(), head.header("proxy-authorization").map(str::to_owned));
        let place = {
            let mut record = record.lock().unwrap();
            let (carried, first) = ((0, 0), Vec::new());
            let (method, target, authorization, head) =
                (method.clone(), target.clone(), authorization.clone(), head.clone());
            record.push(Asked { method, target, authorization, head, carried, first });
            record.len() - 1
        };
        match &manner {
            Manner::Hang => std::future::pending().await,
            Manner::Say(answer) => return end.send(answer).await,
            Manner::Lead(Some(wanted)) if authorization.as_deref() != Some(wanted) => {
                let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"out\"\r\n\
                              Content-Length: 6\r\n\r\nsecret";
                return end.send(answer).await;
            }
            Manner::Lead(_) => {}
        }
        if method == "CONNECT" {
            let Some(address) = places.get(&target) else {
                return end.send("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
            };
            let origin = TcpStream::connect(address).await.unwrap();
            end.send("HTTP/1.1 200 Connection established\r\nX-Odd: \r\n\r\n").await;
            return tunnel(end, origin, place, &record).await;
        }
        let (host, path) = target.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a whole URL");
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let Some(address) = places.get(&host) else {
            return end.send("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
        };
        let answer = forward(&mut end, &head, path, *address).await;
        end.send(answer).await;
    }
}

/// One exchange with the origin, over a connection of its own.
async fn forward(end: &mut End, head: &Message, path: &str, address: SocketAddr) -> Vec<u8> {
    let method = head.first_line().split(' ').next().unwrap();
    let host = head.target().split('/').nth(2).unwrap();
    let length: usize = head.header("content-length").map_or(0, |length| length.parse().unwrap());
    let body = end.exactly(length).await;
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n");
    for line in head.head.split("\r\n").skip(1) {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        if !matches!(name.as_str(), "host" | "proxy-authorization" | "connection") {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    request.push_str("\r\n");
    let mut origin = End::connect(address).await;
    origin.send(request).await;
    origin.send(body).await;
    let answer = origin.answer_to(method).await;
    let mut bytes = format!("{}\r\n\r\n", answer.head).into_bytes();
    bytes.extend_from_slice(&answer.body);
    bytes
}

async fn tunnel(end: End, origin: TcpStream, place: usize, record: &Arc<Mutex<Vec<Asked>>>) {
    let (early, stream): (Vec<u8>, Box<dyn Duplex>) = end.into_parts();
    assert!(early.is_empty(), "nothing goes before the tunnel is open");
    let (near_read, near_write) = tokio::io::split(stream);
    let (far_read, far_write) = origin.into_split();
    let up = carry(near_read, far_write, |bytes| {
        let asked = &mut record.lock().unwrap()[place];
        asked.carried.0 += bytes.len();
        if asked.first.len() < 64 {
            asked.first.extend_from_slice(&bytes[..bytes.len().min(64)]);
        }
    });
    let down = carry(far_read, near_write, |bytes| record.lock().unwrap()[place].carried.1 += bytes.len());
    tokio::join!(up, down);
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut note: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        note(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
