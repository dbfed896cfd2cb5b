//! The keys of an issuer: read from a file, or fetched in the background, again and again. Takes its
//! fetch as a closure, and knows no HTTP.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::jwks::{FetchError, FetchKeys};
use crate::model::KeySet;

/// Between fetches that went well.
const REFRESH: Duration = Duration::from_secs(600);
/// Between a fetch and one that a token with an unknown key asks for: made-up names of keys are no way
/// to have the issuer asked more often.
const HOLD: Duration = Duration::from_secs(30);
/// Half the time after the first fetch that failed; doubled with each further one, up to [`HOLD`].
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// For a request that waits for one.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for one.
const MOST_WAITING: usize = 256;

/// An issuer's keys, from one Snapshot to the next.
pub struct Keyring {
    ring: Arc<Ring>,
    /// Where they are asked for; `None` for keys that were read.
    source: Option<Source>,
    /// What fetches them; ends with the last Snapshot that uses them.
    task: Option<AbortHandle>,
}

/// Where keys are asked for.
#[derive(Clone)]
pub struct Source {
    /// How.
    pub fetch: FetchKeys,
    /// The URL, as it may be told.
    pub url: String,
}

/// How it stands with an issuer's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeysStatus {
    /// The URL that is asked for them, as it may be told.
    pub url: String,
    /// Since those at hand came; `None` before the first.
    pub age: Option<Duration>,
    /// Why the last fetch came to nothing; `None` where it did not.
    pub failure: Option<String>,
}

struct Ring {
    keys: ArcSwapOption<KeySet>,
    last: Mutex<Round>,
    wake: Notify,
    rounds: watch::Sender<()>,
    waiting: Semaphore,
}

/// The fetch under way, or the last one, and what came of those before it.
#[derive(Default)]
struct Round {
    began: Option<Instant>,
    is_over: bool,
    /// When keys came last.
    came: Option<Instant>,
    failure: Option<String>,
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

impl Keyring {
    /// Of keys that were read.
    pub fn of(keys: Arc<KeySet>) -> Arc<Self> {
        Arc::new(Self { ring: Ring::new(Some(keys)), source: None, task: None })
    }

    /// Of keys that are fetched where somebody says so, see [`Self::ask`]: for commands.
    pub fn idle(source: Option<Source>) -> Arc<Self> {
        Arc::new(Self { ring: Ring::new(None), source, task: None })
    }

    /// Of keys that are fetched from now on, on this runtime; `route` is the one that first named them, as
    /// it may be logged.
    pub fn fetching(source: Source, route: String, runtime: &Handle) -> Arc<Self> {
        let ring = Ring::new(None);
        let task = runtime.spawn(Arc::clone(&ring).keep(source.clone(), route)).abort_handle();
        Arc::new(Self { ring, source: Some(source), task: Some(task) })
    }

    /// How it stands with keys that are fetched; `None` for those that were read.
    pub fn status(&self) -> Option<KeysStatus> {
        let url = self.source.as_ref()?.url.clone();
        let last = self.ring.lock();
        Some(KeysStatus { url, age: last.came.map(|came| came.elapsed()), failure: last.failure.clone() })
    }

    /// Asks the issuer here and now, and tells how many keys there are; `None` for keys that were read.
    pub async fn ask(&self) -> Option<Result<usize, FetchError>> {
        let fetched = (self.source.as_ref()?.fetch)().await;
        Some(fetched.map(|keys| keys.len()))
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
            last: Mutex::new(Round::default()),
            wake: Notify::new(),
            rounds: watch::Sender::new(()),
            waiting: Semaphore::new(MOST_WAITING),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Round> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self: Arc<Self>, Source { fetch, url }: Source, route: String) {
        let mut failures = 0_u32;
        loop {
            self.lock().begin();
            let fetched = fetch().await.map(|keys| self.keys.store(Some(Arc::new(keys))));
            // Before the log tells of it: who reads it there finds it so.
            self.lock().end(fetched.as_ref().err().map(ToString::to_string));
            let wait = match fetched {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(route, url, "the keys of the tokens' issuer are fetched again");
                    }
                    failures = 0;
                    REFRESH
                }
                Err(error) => {
                    // Told once, not once a try; what is at hand serves on.
                    let (at_hand, mend) = (self.keys.load().is_some(), error.mend());
                    if failures == 0 {
                        tracing::warn!(route, url, %error, at_hand, mend, "the keys of the tokens' issuer did not come");
                    } else {
                        tracing::debug!(route, url, %error, at_hand, "the keys of the tokens' issuer did not come");
                    }
                    failures += 1;
                    FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(HOLD)
                }
            };
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
    fn begin(&mut self) {
        self.began = Some(Instant::now());
        self.is_over = false;
    }

    fn end(&mut self, failure: Option<String>) {
        self.is_over = true;
        if failure.is_none() {
            self.came = Some(Instant::now());
        }
        self.failure = failure;
    }

    /// Whether it began long enough ago for another one to be asked for.
    fn is_old(&self) -> bool {
        self.began.is_none_or(|began| began.elapsed() >= HOLD)
    }
}

#[cfg(test)]
mod tests;
