//! The server that every simulator is.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::knobs::{Fault, Options};
use super::ledger::{Desk, Ledger};
use super::message::{Reply, echo};

/// The largest body that is read whole: a login, or a data call whose token stands in the body.
const LARGEST_BODY: usize = 4 << 20;

/// The header of every data answer that says which token was used, so that also a HEAD says it.
const TOKEN_NUMBER: HeaderName = HeaderName::from_static("x-token-number");

/// The header by which a data call asks for a late answer: so many milliseconds after its token was
/// looked at, a minute at most.
const ANSWER_AFTER: HeaderName = HeaderName::from_static("x-answer-after-ms");

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Call {
    /// A login.
    Login,
    /// Giving a token up.
    Release,
    /// Data, for a token.
    Data,
    /// Data, for everyone.
    Open,
    /// Nothing that the vendor has.
    Other(Reply),
}

/// Why a data call is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no token where the vendor looks for it, or more than one.
    Missing,
    /// The token is unknown, expired or killed.
    Dead,
}

/// What one vendor documents.
pub trait Rules: Send + Sync + 'static {
    /// As `provider:` has it.
    fn name(&self) -> &'static str;

    /// How long a token lives.
    fn lifetime(&self) -> Duration;

    /// What a request is for.
    fn call(&self, method: &Method, path: &str) -> Call;

    /// A login.
    fn login(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply;

    /// Giving a token up.
    fn release(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply {
        let _ = (head, body, desk);
        Reply::not_found()
    }

    /// Whether a data call's token may stand in its body.
    fn token_in_body(&self, head: &Parts) -> bool {
        let _ = head;
        false
    }

    /// The token of a data call. `body` is empty unless [`Rules::token_in_body`].
    fn token(&self, head: &Parts, body: &[u8]) -> Option<String>;

    /// The answer to a data call without a token that lives.
    fn refuse(&self, refusal: Refusal) -> Reply;

    /// The answer to a data call, in the vendor's form.
    fn data(&self, echo: Value) -> Value {
        echo
    }
}

/// A vendor on loopback. It stops, with all its connections, when this is dropped.
pub struct Simulator {
    origin: String,
    login_origin: String,
    shared: Arc<Shared>,
    down: watch::Sender<bool>,
    listening: watch::Receiver<bool>,
    doors: [JoinHandle<()>; 2],
}

struct Shared {
    rules: Box<dyn Rules>,
    options: Mutex<Options>,
    ledger: Mutex<Ledger>,
    token_requests: AtomicU64,
    data_requests: AtomicU64,
    refused: AtomicU64,
    released: AtomicU64,
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulator closes the connection")]
struct Closed;

impl Simulator {
    /// Starts on two free ports of 127.0.0.1, on the runtime that this is called in.
    pub async fn start(rules: impl Rules, options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            rules: Box::new(rules),
            options: Mutex::new(options),
            ledger: Mutex::default(),
            token_requests: AtomicU64::new(0),
            data_requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            released: AtomicU64::new(0),
        });
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (main, login) = (TcpListener::bind(any).await?, TcpListener::bind(any).await?);
        let origin = format!("http://{}", main.local_addr()?);
        let login_origin = format!("http://{}", login.local_addr()?);
        let (down, is_down) = watch::channel(false);
        let (is_listening, listening) = watch::channel(true);
        let doors = [
            tokio::spawn(open(main, Arc::clone(&shared))),
            tokio::spawn(open_and_close(login, Arc::clone(&shared), is_down, is_listening)),
        ];
        Ok(Self { origin, login_origin, shared, down, listening, doors })
    }

    /// Where everything is: `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The same on another port, which [`Simulator::set_login_down`] closes: for a credential's
    /// `token_url`, where a test takes the token endpoint away and leaves the data.
    pub fn login_origin(&self) -> &str {
        &self.login_origin
    }

    /// Changes how the simulator behaves, from the next request on.
    pub fn adjust(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.shared.options));
    }

    /// Closes the port of [`Simulator::login_origin`] with its connections, or opens it again;
    /// returns when that is done. While it is closed, logins on the other port are cut off too.
    pub async fn set_login_down(&self, down: bool) {
        self.down.send_replace(down);
        self.adjust(|options| options.token_fault = down.then_some(Fault::Close));
        // The door's task ends only with this simulator.
        let _ = self.listening.clone().wait_for(|listening| *listening != down).await;
    }

    /// Kills every token that was given out.
    pub fn revoke_all(&self) {
        lock(&self.shared.ledger).revoke_all();
    }

    /// How many logins arrived, those that failed included.
    pub fn token_requests(&self) -> u64 {
        self.shared.token_requests.load(Ordering::Relaxed)
    }

    /// How many tokens were given out: the number of the last one.
    pub fn tokens_issued(&self) -> u64 {
        lock(&self.shared.ledger).issued()
    }

    /// How many data calls arrived, those that were refused included.
    pub fn data_requests(&self) -> u64 {
        self.shared.data_requests.load(Ordering::Relaxed)
    }

    /// How many tokens were to be given up.
    pub fn released(&self) -> u64 {
        self.shared.released.load(Ordering::Relaxed)
    }

    /// How many data calls were refused for their token.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        for door in &self.doors {
            door.abort();
        }
    }
}

/// Accepts for ever. The connections end with this future.
async fn open(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                // Out of descriptors, most likely: let some be given back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Accepts while it is not down.
async fn open_and_close(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut down: watch::Receiver<bool>,
    listening: watch::Sender<bool>,
) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = listener;
    loop {
        listening.send_replace(true);
        tokio::select! {
            () = open(listener, Arc::clone(&shared)) => {}
            gone = down.wait_for(|down| *down) => if gone.is_err() { return },
        }
        listening.send_replace(false);
        if down.wait_for(|down| !*down).await.is_err() {
            return;
        }
        listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // The port was lent to somebody for a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    // A client that breaks off, and a simulator that closes on purpose, are both nothing to report.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
        let (head, body) = request.into_parts();
        let reply = match self.rules.call(&head.method, head.uri.path()) {
            Call::Login => self.login(&head, body).await?,
            Call::Release => {
                let body = whole(body).await?;
                self.released.fetch_add(1, Ordering::Relaxed);
                self.at_desk(|desk| self.rules.release(&head, &body, desk))
            }
            Call::Data => self.data(&head, body).await?,
            Call::Open => {
                let length = length(body).await?;
                Reply::json(http::StatusCode::OK, &self.rules.data(echo(self.rules.name(), &head, length, None)))
            }
            Call::Other(reply) => reply,
        };
        let mut response = Response::new(Full::new(reply.body));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        let skew = lock(&self.options).clock_skew;
        if skew != 0
            && let Some(date) = date(now(skew))
        {
            response.headers_mut().insert(DATE, date);
        }
        Ok(response)
    }

    async fn login(&self, head: &Parts, body: Incoming) -> Result<Reply, Closed> {
        let number = self.token_requests.fetch_add(1, Ordering::Relaxed) + 1;
        let Options { token_delay, token_fault, token_fault_every, .. } = lock(&self.options).clone();
        let token_fault = token_fault.filter(|_| number.is_multiple_of(token_fault_every.max(1)));
        let body = whole(body).await?;
        pause(token_delay).await;
        match token_fault {
            None => Ok(self.at_desk(|desk| self.rules.login(head, &body, desk))),
            Some(Fault::Answer { status, headers, body }) => {
                Ok(Reply { status, headers: headers.into_iter().collect(), body })
            }
            Some(Fault::Close) => Err(Closed),
            Some(Fault::LoseAnswer) => {
                self.at_desk(|desk| self.rules.login(head, &body, desk));
                Err(Closed)
            }
            Some(Fault::Hang) => match pending::<Infallible>().await {},
        }
    }

    async fn data(&self, head: &Parts, body: Incoming) -> Result<Reply, Closed> {
        self.data_requests.fetch_add(1, Ordering::Relaxed);
        let (bytes, length) = if self.rules.token_in_body(head) {
            let bytes = whole(body).await?;
            let length = bytes.len() as u64;
            (bytes, length)
        } else {
            (Bytes::new(), length(body).await?)
        };
        let Options { data_delay, refuse_every_token, .. } = *lock(&self.options);
        pause(data_delay).await;
        let token = self.rules.token(head, &bytes);
        let number =
            token.as_deref().filter(|_| !refuse_every_token).and_then(|token| lock(&self.ledger).number(token));
        match (token, number) {
            (Some(token), Some(number)) => {
                pause(answer_after(head)).await;
                let echo = echo(self.rules.name(), head, length, Some((&token, number)));
                let mut reply = Reply::json(http::StatusCode::OK, &self.rules.data(echo));
                reply.headers.insert(TOKEN_NUMBER, number.into());
                Ok(reply)
            }
            (token, _) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Ok(self.rules.refuse(if token.is_some() { Refusal::Dead } else { Refusal::Missing }))
            }
        }
    }

    fn at_desk(&self, serve: impl FnOnce(&mut Desk<'_>) -> Reply) -> Reply {
        let Options { lifetime, clock_skew, .. } = *lock(&self.options);
        let lifetime = lifetime.unwrap_or_else(|| self.rules.lifetime());
        serve(&mut Desk { ledger: &mut lock(&self.ledger), lifetime, now: now(clock_skew) })
    }
}

/// A test that failed while it held a lock has been reported; the value is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer_after(head: &Parts) -> Duration {
    let asked = head.headers.get(ANSWER_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_millis(asked.unwrap_or(0)).min(Duration::from_secs(60))
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

async fn whole(body: Incoming) -> Result<Bytes, Closed> {
    Ok(Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| Closed)?.to_bytes())
}

/// The length of a body that is not kept.
async fn length(mut body: Incoming) -> Result<u64, Closed> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.map_err(|_| Closed)?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(length)
}

/// The vendor's time, in seconds since 1970.
fn now(skew: i64) -> i64 {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(ours).unwrap_or(i64::MAX).saturating_add(skew)
}

fn date(now: i64) -> Option<HeaderValue> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(now).ok()?))?;
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}
