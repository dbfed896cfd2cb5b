//! The admin port as a whole, and its connections.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::{ACCEPT, CONNECTION};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::answer::{Answer, Refusal, with};
use super::exposition::{Facts, Form, Reloads, exposition};
use super::gate::Gate;
use super::history::{History, STEP};
use crate::limit::{Guesses, Strain};
use crate::live::{Live, Outcome, Reload};
use crate::model::ReadyWhen;
use crate::telemetry::dropped_log_lines;
use crate::telemetry::metrics::Metrics;

/// For a whole request head, and between two requests: longer than scrapers wait, whose next request would
/// else meet the closing.
const HEAD: Duration = Duration::from_secs(75);
/// The largest head. A browser with many cookies of `localhost` sends a long one.
const HEAD_SIZE: usize = 32 << 10;
/// How old a connection may grow, and how long what is under way may take then: a client that does
/// not read its answer holds it no longer.
const AGE: Duration = Duration::from_secs(300);
const LAST: Duration = Duration::from_secs(150);
/// How often the log is told of wrong tokens.
const TELL_DENIED: Duration = Duration::from_secs(10);

/// A wish for a reload, and whom to tell what came of it.
pub type Wish = oneshot::Sender<Arc<Reload>>;

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct About {
    /// When it started, by the wall clock.
    pub started: SystemTime,
    /// The same, by a clock that nobody sets.
    pub begun: Instant,
    /// The configuration file, as it was named.
    pub config: String,
    /// The listeners' addresses.
    pub listeners: Vec<String>,
    /// Where tokens are kept, in a word.
    pub store: &'static str,
}

/// The admin port.
#[derive(Debug)]
pub struct Admin {
    pub(super) gate: Gate,
    pub(super) live: Arc<Live>,
    pub(super) about: About,
    pub(super) wishes: mpsc::Sender<Wish>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) history: Mutex<History>,
    /// Wrong tokens, by where they came from.
    pub(super) guesses: Guesses,
    draining: AtomicBool,
    told_denied: Mutex<Option<Instant>>,
}

impl Admin {
    /// Wishes for a reload go to whoever receives `wishes`.
    pub fn new(
        gate: Gate,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        about: About,
        wishes: mpsc::Sender<Wish>,
    ) -> Arc<Self> {
        Arc::new(Self {
            gate,
            live,
            about,
            wishes,
            metrics,
            history: Mutex::default(),
            guesses: Guesses::new(Instant::now()),
            draining: AtomicBool::new(false),
            told_denied: Mutex::default(),
        })
    }

    /// From now on the proxy is not ready, and every answer is its connection's last.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// To be called every second: samples the traffic every so often, and where readiness depends on
    /// tokens, keeps them at hand.
    pub fn tick(&self) {
        let now = Instant::now();
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.latest().is_none_or(|latest| now.saturating_duration_since(latest) >= STEP) {
            history.sample(now, self.metrics.routes());
        }
        drop(history);
        let snapshot = self.live.load();
        if self.is_draining() || snapshot.directory.ready_when == ReadyWhen::Serving {
            return;
        }
        for listed in snapshot.directory.credentials.iter().filter(|listed| listed.logs_in) {
            listed.cell.rouse();
        }
    }

    /// Serves a connection until it closes: HTTP/1, as probes, browsers and collectors speak it.
    pub async fn connection(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<IpAddr>,
    ) {
        let service = service_fn(move |request: Request<Incoming>| {
            let admin = Arc::clone(&self);
            async move {
                let (head, body) = request.into_parts();
                let mut answer = admin.answer(peer, head, body).await;
                if admin.is_draining() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_SIZE);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = tokio::time::sleep(AGE) => None,
        };
        let ended = if let Some(ended) = ended {
            ended
        } else {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST, connection).await.unwrap_or(Ok(()))
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the admin port broke off");
        }
    }

    /// Counts a request with a wrong token, or from a foreign page.
    pub(super) fn note_denied(&self) {
        self.metrics.admin_denied();
        let mut told = self.told_denied.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_DENIED) {
            *told = Some(Instant::now());
            let denied = self.metrics.times_denied();
            tracing::warn!(denied, "requests to the admin port were refused: a wrong token, or from a foreign page");
        }
    }

    /// Everything that is counted, in the form that is asked for.
    pub(super) async fn exposition(&self, headers: &HeaderMap) -> Answer {
        let form = Form::of(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
        let snapshot = self.live.load();
        let credentials = &snapshot.directory.credentials;
        let reloads = self.live.reloads();
        let facts = Facts {
            metrics: Arc::clone(&self.metrics),
            credentials: credentials.iter().map(|listed| (listed.name.clone(), listed.cell.status())).collect(),
            issuers: snapshot.issuers().map(|(route, status)| (route.to_owned(), status)).collect(),
            reloads: Reloads { taken: reloads.taken, unchanged: reloads.unchanged, refused: reloads.refused },
            last_reload_successful: self.live.last_reload().is_none_or(|last| last.outcome != Outcome::Refused),
            generation: snapshot.generation,
            started: self.about.started,
            short_of: Strain::SIGNS.map(|sign| (sign.as_str(), self.live.strain().shows(sign))),
            log_lines_dropped: dropped_log_lines(),
            certificates: snapshot.directory.certificates.clone(),
            insecure: snapshot.directory.insecure.clone(),
            spans: snapshot.traces.as_ref().map(|traces| traces.exporter().counts()).unwrap_or_default(),
        };
        drop(snapshot);
        // Thousands of routes make megabytes: tokens are renewed on this thread, and must not wait for it.
        match tokio::task::spawn_blocking(move || exposition(facts, form)).await {
            Ok(page) => with(StatusCode::OK, form.content_type(), page),
            Err(_) => Refusal::Internal.answer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::runtime::Handle;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::assemble::Assembly;
    use crate::config::load_bytes;

    /// A connection to an admin port.
    fn connected(room: usize) -> (DuplexStream, JoinHandle<()>) {
        let yaml = b"listeners: [{address: '127.0.0.1:80'}]\nroutes: [{name: a, respond: 204}]\n";
        let settings = load_bytes(Path::new("proxy.yaml"), yaml, &|_| None).unwrap().settings;
        let live = Live::new(Assembly::new(Handle::current()).build(&settings).unwrap().snapshot);
        let about = About {
            started: SystemTime::now(),
            begun: Instant::now(),
            config: "proxy.yaml".to_owned(),
            listeners: Vec::new(),
            store: "memory",
        };
        let admin = Admin::new(Gate::new(None, Vec::new(), false), live, Metrics::new(), about, mpsc::channel(1).0);
        let (ours, its) = duplex(room);
        (ours, tokio::spawn(admin.connection(its, None)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_to_its_end_closes_the_connection() {
        for begun in ["", "GET /healthz HTTP/1.1\r\nHo", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
            let (mut stream, served) = connected(1 << 16);
            stream.write_all(begun.as_bytes()).await.unwrap();
            let began = tokio::time::Instant::now();
            served.await.unwrap();
            assert!(began.elapsed() <= HEAD + Duration::from_secs(1), "{begun:?}: {:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_let_go() {
        let (mut stream, served) = connected(64);
        stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let began = tokio::time::Instant::now();
        served.await.unwrap();
        assert!(began.elapsed() <= AGE + LAST + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let (mut stream, served) = connected(1 << 16);
        stream
            .write_all(b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
            .await
            .unwrap();
        let began = tokio::time::Instant::now();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 408");
        assert!(began.elapsed() < HEAD, "{:?}", began.elapsed());
        drop(stream);
        served.await.unwrap();
    }
}
