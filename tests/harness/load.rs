//! Clients that send one request after the other for as long as a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::task::JoinHandle;

use super::client::Connection;

/// Clients at work. They stop when this is dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What came of their requests.
#[derive(Default)]
pub struct Tally {
    pub answers: Vec<Answered>,
    /// Requests without an answer, and why.
    pub lost: Vec<String>,
}

/// A request that was answered.
pub struct Answered {
    pub begun: Instant,
    pub ended: Instant,
    pub response: Response<Bytes>,
}

impl Load {
    /// Starts so many clients, each on a connection of its own; each waits a while between one
    /// answer and its next request, which is made from the client's number.
    pub fn start(
        address: SocketAddr,
        clients: usize,
        pause: Duration,
        request: impl Fn(usize) -> Request<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let request = Arc::new(request);
        let clients = (0..clients)
            .map(|number| {
                let (stop, request) = (Arc::clone(&stop), Arc::clone(&request));
                tokio::spawn(async move {
                    let mut tally = Tally::default();
                    let mut connection = None;
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        match attempt(&mut connection, address, request(number)).await {
                            Ok(response) => tally.answers.push(Answered { begun, ended: Instant::now(), response }),
                            Err(error) => {
                                tally.lost.push(error.to_string());
                                connection = None;
                            }
                        }
                        tokio::time::sleep(pause).await;
                    }
                    tally
                })
            })
            .collect();
        Self { stop, clients }
    }

    /// GETs of this target.
    pub fn of_gets(address: SocketAddr, clients: usize, pause: Duration, target: &'static str) -> Self {
        Self::start(address, clients, pause, move |_| Request::get(target).body(Full::default()).unwrap())
    }

    /// Lets the requests that are under way finish.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in std::mem::take(&mut self.clients) {
            let tally = client.await.unwrap();
            all.answers.extend(tally.answers);
            all.lost.extend(tally.lost);
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn attempt(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> std::io::Result<Response<Bytes>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::try_open(address).await?,
    };
    let answer = open.send(request).await.map_err(std::io::Error::other)?;
    // Told that this answer is the last, a client asks on another connection.
    let last = answer.headers().get("connection").is_some_and(|value| value == "close");
    *connection = (!last).then_some(open);
    Ok(answer)
}

impl Tally {
    /// Asserts that there were at least so many requests, and that all were answered with 200.
    pub fn assert_all_served(&self, at_least: usize) {
        assert!(self.lost.is_empty(), "{} lost: {:?}", self.lost.len(), self.lost.first());
        for answer in &self.answers {
            let body = super::client::text(&answer.response);
            assert_eq!(answer.response.status(), 200, "{body}");
        }
        assert!(self.answers.len() >= at_least, "only {} requests", self.answers.len());
    }
}
