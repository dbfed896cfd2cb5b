//! The keys of an issuer: read from a file, or fetched from the URL that the configuration names, in
//! the background and again and again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::model::{EndpointUrl, KeySet, KeySetError};
use crate::upstream::{AGENT, ConnectError, OnceError, Upstream, once};

/// Between fetches that went well.
const REFRESH: Duration = Duration::from_secs(600);
/// Between a fetch and one that a token with an unknown key asks for: made-up names of keys are no way
/// to have the issuer asked more often.
const HOLD: Duration = Duration::from_secs(30);
/// After the first fetch that failed; doubled from time to time, up to [`HOLD`].
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// For one fetch.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a request that waits for one.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for one.
const MOST_WAITING: usize = 256;
/// The largest answer that is read.
const ANSWER_LIMIT: usize = 1 << 20;

/// An issuer's keys, from one Snapshot to the next.
pub struct Keyring {
    ring: Arc<Ring>,
    /// What fetches them; ends with the last Snapshot that uses them.
    task: Option<AbortHandle>,
}

struct Ring {
    keys: ArcSwapOption<KeySet>,
    last: Mutex<Round>,
    wake: Notify,
    rounds: watch::Sender<()>,
    waiting: Semaphore,
}

/// The fetch under way, or the last one.
struct Round {
    began: Option<Instant>,
    is_over: bool,
}

/// Where keys are fetched.
#[derive(Debug)]
pub struct KeyEndpoint {
    /// The way there.
    pub upstream: Arc<Upstream>,
    /// What is asked for.
    pub url: EndpointUrl,
    /// The route that first named it, as it may be logged.
    pub route: String,
}

/// What came of waiting for newer keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refreshed {
    /// A fetch is over that began after, or was under way.
    Asked,
    /// The issuer was asked a moment ago.
    TooSoon,
    /// Too many wait.
    Crowded,
}

/// Why there are no newer keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", told(.0))]
    Once(OnceError),
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    #[error("the answer {0}")]
    Keys(KeySetError),
}

impl Keyring {
    /// Of keys that were read.
    pub fn of(keys: Arc<KeySet>) -> Arc<Self> {
        Arc::new(Self { ring: Ring::new(Some(keys)), task: None })
    }

    /// Of keys that nobody fetches: for commands, which ask nobody.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self { ring: Ring::new(None), task: None })
    }

    /// Of keys that are fetched from now on, on this runtime.
    pub fn fetching(endpoint: KeyEndpoint, runtime: &Handle) -> Arc<Self> {
        let ring = Ring::new(None);
        let task = runtime.spawn(Arc::clone(&ring).keep(endpoint)).abort_handle();
        Arc::new(Self { ring, task: Some(task) })
    }

    /// Those at hand; `None` before the first fetch.
    pub(super) fn keys(&self) -> Guard<Option<Arc<KeySet>>> {
        self.ring.keys.load()
    }

    /// Waits for newer keys than those at hand, where the issuer may be asked for them.
    pub(super) async fn refreshed(&self) -> Refreshed {
        if self.task.is_none() {
            return Refreshed::TooSoon;
        }
        let Ok(_place) = self.ring.waiting.try_acquire() else { return Refreshed::Crowded };
        let mut rounds = self.ring.rounds.subscribe();
        let is_too_soon = {
            let last = self.ring.lock();
            last.is_over && !last.is_old()
        };
        if is_too_soon {
            return Refreshed::TooSoon;
        }
        self.ring.wake.notify_one();
        // What has not come by then is judged by what is at hand.
        let _ = timeout(REQUEST_PATIENCE, rounds.changed()).await;
        Refreshed::Asked
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&*self.keys()).finish()
    }
}

impl Ring {
    fn new(keys: Option<Arc<KeySet>>) -> Arc<Self> {
        Arc::new(Self {
            keys: ArcSwapOption::new(keys),
            last: Mutex::new(Round { began: None, is_over: false }),
            wake: Notify::new(),
            rounds: watch::Sender::new(()),
            waiting: Semaphore::new(MOST_WAITING),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Round> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self: Arc<Self>, endpoint: KeyEndpoint) {
        let mut retry = FIRST_RETRY;
        let mut is_told = false;
        loop {
            *self.lock() = Round { began: Some(Instant::now()), is_over: false };
            let fetched = endpoint.fetch().await;
            let wait = match fetched {
                Ok(keys) => {
                    self.keys.store(Some(Arc::new(keys)));
                    if is_told {
                        tracing::info!(route = endpoint.route, "the keys of the tokens' issuer are fetched again");
                    }
                    (retry, is_told) = (FIRST_RETRY, false);
                    REFRESH
                }
                Err(error) => {
                    let stale = self.keys.load().is_some();
                    if std::mem::replace(&mut is_told, true) {
                        tracing::debug!(route = endpoint.route, %error, stale, "the keys of the tokens' issuer did not come");
                    } else {
                        tracing::warn!(route = endpoint.route, %error, stale, "the keys of the tokens' issuer did not come");
                    }
                    let wait = retry;
                    retry = (retry * 2).min(HOLD);
                    wait
                }
            };
            self.lock().is_over = true;
            self.rounds.send_replace(());
            self.pause(wait).await;
        }
    }

    /// Until it is time for the next fetch, or one is asked for.
    async fn pause(&self, wait: Duration) {
        let asked = async {
            loop {
                self.wake.notified().await;
                // A call that came while a fetch was under way had that one.
                if self.lock().is_old() {
                    break;
                }
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = asked => {}
        }
    }
}

impl Round {
    /// Whether it began long enough ago for another one to be asked for.
    fn is_old(&self) -> bool {
        self.began.is_none_or(|began| began.elapsed() >= HOLD)
    }
}

impl KeyEndpoint {
    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut request = Request::new(Full::<Bytes>::default());
        // A URL that was taken has a target that is one.
        *request.uri_mut() = self.url.target().parse().unwrap_or(Uri::from_static("/"));
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = once(&self.upstream, request, PATIENCE, ANSWER_LIMIT).await.map_err(FetchError::Once)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        KeySet::parse(answer.body()).map_err(FetchError::Keys)
    }
}

/// As it may be told: a certificate's fault names the hosts that it is for, and the issuer's may have
/// come from a reference.
fn told(error: &OnceError) -> String {
    match error {
        OnceError::Connect(ConnectError::Tls(_)) => {
            "the TLS handshake failed, or the certificate was not accepted".to_owned()
        }
        other => match std::error::Error::source(other) {
            Some(cause) => format!("{other}: {cause}"),
            None => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
