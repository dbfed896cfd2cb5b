//! One credential's token: states, one flight, renewal ahead, refusals, back-off.
//!
//! `state` decides, and is pure; `backoff` and `life` are its arithmetic, `event` what it tells the
//! log. What is left here is the shell: the lock around the state, the token that is read without
//! it, the task that a login runs in, and the requests that wait.

mod backoff;
mod event;
mod life;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(super) mod script;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use self::state::{Asked, COME_AGAIN, Policy, State, Steps};
use super::{Clock, Moment, SecretVersion, Unavailable};
use crate::model::Margin;
use crate::secret::Secret;
use crate::vendor::{FaultClass, FaultReason, Grant, LifetimeSource, TokenFault};

/// Asks the vendor for a token, once. Owned by the cell; knows the network, which the cell does not.
pub type Fetch = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Grant, TokenFault>> + Send>> + Send + Sync>;

/// What a configuration says of a cell; changes with a reload while the cell lives on.
#[derive(Clone)]
pub struct CellSettings {
    /// The credential's name, for logs.
    pub name: String,
    /// How the token is come by.
    pub fetch: Fetch,
    /// The version of the secret that `fetch` uses.
    pub secret: SecretVersion,
    /// How long before its end the token is renewed.
    pub refresh_before: Margin,
    /// The life of a token that says nothing of it; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// A token unused that long is dead.
    pub idle_lifetime: Option<Duration>,
    /// Whether a new token invalidates the earlier ones.
    pub exclusive: bool,
    /// Requests that may wait at once.
    pub waiting: u32,
}

/// A token in force.
#[derive(Debug)]
pub struct Token {
    /// Grows by one with every token of its cell; named in logs.
    pub generation: u64,
    /// The token itself.
    pub secret: Secret,
    /// Its end; `None` is never.
    pub expires: Option<Moment>,
    /// When its renewal begins, if it is used then.
    pub renew: Option<Moment>,
    /// Where its lifetime came from.
    pub source: LifetimeSource,
}

/// What a cell is at, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellState {
    /// No token, and nobody asks for one.
    Asleep,
    /// No live token; a login is under way.
    Fetching,
    /// A live token.
    Live,
    /// A live token, and a login that is to replace it.
    Renewing,
    /// The last login failed. Where there is a live token, it serves to its end.
    Failing,
}

impl CellState {
    /// The word, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Fetching => "fetching",
            Self::Live => "live",
            Self::Renewing => "renewing",
            Self::Failing => "failing",
        }
    }
}

impl fmt::Display for CellState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a cell tells of itself; never a secret.
#[derive(Clone, Debug)]
pub struct CellStatus {
    /// All of the following in a word.
    pub state: CellState,
    /// The current token's generation; 0 before the first.
    pub generation: u64,
    /// Left to live; `None` without a token or for one that lives for ever.
    pub expires_in: Option<Duration>,
    /// Where the latest token's lifetime came from.
    pub lifetime_source: Option<LifetimeSource>,
    /// Whether there is a live token.
    pub live: bool,
    /// The last login's fault, until one succeeds.
    pub fault: Option<TokenFault>,
    /// When another login may be tried, while one that failed keeps it waiting.
    pub retry_after: Option<Duration>,
    /// Requests that wait for a token now.
    pub waiting: u32,
    /// Logins that were begun since the cell was made.
    pub fetches: u64,
}

/// What to do after a vendor refused a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterRefusal {
    /// A newer token is or will be there: acquire again and send again.
    Again,
    /// The token was born of a refusal a moment ago, or for this very request: the vendor's answer
    /// passes.
    Pass,
}

/// No moment ever: nothing to attend to, no idle lifetime.
const NEVER: u64 = u64::MAX;

/// One credential's token, shared by all threads, outliving reloads.
pub struct Cell {
    /// The token in force, read without the lock. `None` where it is dead for another reason than
    /// its end.
    served: ArcSwapOption<Token>,
    /// From then on a use of the token has something to begin: [`State::attention`].
    attention: AtomicU64,
    /// The idle lifetime in nanoseconds.
    idle: AtomicU64,
    /// When the token was last used; kept only with an idle lifetime.
    last_used: AtomicU64,
    inner: Mutex<Inner>,
    landed: Notify,
    clock: Arc<dyn Clock>,
    spawner: tokio::runtime::Handle,
}

struct Inner {
    settings: CellSettings,
    state: State,
}

impl Cell {
    /// A cell asleep: nothing is fetched until it is used. Fetches run on `spawner`.
    pub fn new(settings: CellSettings, clock: Arc<dyn Clock>, spawner: tokio::runtime::Handle) -> Arc<Self> {
        let state = State::new(Policy::from(&settings), fastrand::u64(..));
        Arc::new(Self {
            served: ArcSwapOption::empty(),
            attention: AtomicU64::new(NEVER),
            idle: AtomicU64::new(idle_nanos(&settings)),
            last_used: AtomicU64::new(0),
            inner: Mutex::new(Inner { settings, state }),
            landed: Notify::new(),
            clock,
            spawner,
        })
    }

    /// Takes over what a reload says. A new secret is tried at once if the cell is awake.
    pub fn configure(self: &Arc<Self>, settings: CellSettings) {
        self.step(|inner, now, steps| {
            inner.state.configure(now, Policy::from(&settings), steps);
            self.idle.store(idle_nanos(&settings), Ordering::Relaxed);
            inner.settings = settings;
        });
    }

    /// The current token if it may be used now: no lock, no wait. In its last stretch it also
    /// starts the renewal.
    pub fn warm(self: &Arc<Self>) -> Option<Arc<Token>> {
        self.with_warm(Arc::clone)
    }

    /// As [`Cell::warm`], lending the token instead of counting one more reference to it, which
    /// would be a write to memory that all cores share. `look` should be quick and not wait.
    pub fn with_warm<R>(self: &Arc<Self>, look: impl FnOnce(&Arc<Token>) -> R) -> Option<R> {
        let served = self.served.load();
        let token = served.as_ref()?;
        let now = self.clock.now();
        if token.expires.is_some_and(|end| now >= end) || !self.touch(now) {
            return None;
        }
        if now.nanos() >= self.attention.load(Ordering::Relaxed) {
            self.step(|inner, now, steps| inner.state.take(now, steps));
        }
        Some(look(token))
    }

    /// The current token, waiting for one if need be. Dropping the future leaves the fetch running.
    pub async fn acquire(self: &Arc<Self>, patience: Duration) -> Result<Arc<Token>, Unavailable> {
        if let Some(token) = self.warm() {
            return Ok(token);
        }
        tokio::time::timeout(patience, self.wait())
            .await
            .unwrap_or(Err(Unavailable::Timeout { retry_after: COME_AGAIN }))
    }

    /// The vendor refused the token of this generation.
    pub fn refused(self: &Arc<Self>, generation: u64) -> AfterRefusal {
        self.step(|inner, now, steps| inner.state.refused(now, generation, false, steps))
    }

    /// The same, to a request for which the token was replaced already: another login would not
    /// help it, however long the vendor takes to refuse.
    pub fn refused_again(self: &Arc<Self>, generation: u64) -> AfterRefusal {
        self.step(|inner, now, steps| inner.state.refused(now, generation, true, steps))
    }

    /// Whether this is the generation in force.
    pub fn is_current(&self, generation: u64) -> bool {
        self.served.load().as_ref().is_some_and(|token| token.generation == generation)
    }

    /// What there is to tell.
    pub fn status(&self) -> CellStatus {
        let mut inner = self.lock();
        inner.state.note_use(Moment::from_nanos(self.last_used.load(Ordering::Relaxed)));
        inner.state.status(self.clock.now())
    }

    async fn wait(self: &Arc<Self>) -> Result<Arc<Token>, Unavailable> {
        let mut seat: Option<Seat<'_>> = None;
        loop {
            // Made before the state is looked at: a login that ends in between is not missed.
            let landed = self.landed.notified();
            let waited = seat.as_ref().map(|seat| seat.flight);
            match self.step(|inner, now, steps| inner.state.ask(now, waited, steps)) {
                Asked::Token(token) => return Ok(token),
                Asked::Unavailable(reason) => return Err(reason),
                Asked::Wait(flight) => match &mut seat {
                    Some(seat) => seat.flight = flight,
                    None => seat = Some(Seat { cell: self, flight }),
                },
            }
            landed.await;
        }
    }

    /// Tells the state of an event, and does what follows from it.
    fn step<R>(self: &Arc<Self>, event: impl FnOnce(&mut Inner, Moment, &mut Steps) -> R) -> R {
        let mut steps = Steps::default();
        let mut inner = self.lock();
        inner.state.note_use(Moment::from_nanos(self.last_used.load(Ordering::Relaxed)));
        let result = event(&mut inner, self.clock.now(), &mut steps);
        self.publish(&inner.state);
        let fetch = steps.fetch.map(|flight| (flight, Arc::clone(&inner.settings.fetch)));
        let name = (!steps.events.is_empty()).then(|| inner.settings.name.clone());
        drop(inner);

        // Outside the lock: a log may be slow, and a runtime that is shutting down drops the task
        // at once, which lands the flight in here again.
        for event in &steps.events {
            event.log(name.as_deref().unwrap_or_default());
        }
        if let Some((flight, fetch)) = fetch {
            self.launch(flight, fetch);
        }
        if steps.wake {
            self.landed.notify_waiters();
        }
        result
    }

    /// Makes what the state says readable without the lock. Called under it, so that the order of
    /// events is kept.
    fn publish(&self, state: &State) {
        self.last_used.fetch_max(state.last_used().nanos(), Ordering::Relaxed);
        let served = state.served();
        let generation = |token: Option<&Arc<Token>>| token.map(|token| token.generation);
        if generation(served) != generation(self.served.load().as_ref()) {
            self.served.store(served.cloned());
        }
        let attention = state.attention().map_or(NEVER, Moment::nanos);
        if attention != self.attention.load(Ordering::Relaxed) {
            self.attention.store(attention, Ordering::Relaxed);
        }
    }

    /// Notes a use where that matters; false where the token was unused for too long.
    fn touch(&self, now: Moment) -> bool {
        let idle = self.idle.load(Ordering::Relaxed);
        if idle == NEVER {
            return true;
        }
        let unused = now.nanos().saturating_sub(self.last_used.load(Ordering::Relaxed));
        if unused >= idle {
            return false;
        }
        // To a thousandth, lest every request writes what all cores read.
        if unused > idle / 1000 {
            self.last_used.fetch_max(now.nanos(), Ordering::Relaxed);
        }
        true
    }

    fn launch(self: &Arc<Self>, flight: u64, fetch: Fetch) {
        let landing = Landing { cell: Arc::clone(self), flight, outcome: None };
        // The call is inside, so that a panic in it ends the task, not the request that began it.
        self.spawner.spawn(async move { landing.with(fetch().await) });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The state is whole between events, also when one of them panicked.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("name", &self.lock().settings.name).finish_non_exhaustive()
    }
}

fn idle_nanos(settings: &CellSettings) -> u64 {
    settings.idle_lifetime.map_or(NEVER, |idle| Moment::since_boot(idle).nanos())
}

/// A place among those that wait; left when the request goes, whichever way.
struct Seat<'a> {
    cell: &'a Cell,
    /// The login that is waited for.
    flight: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.cell.lock().state.leave();
    }
}

/// Tells the cell how a login ended, also when its task panicked or its runtime went away: no
/// request must wait for a login that nobody makes.
struct Landing {
    cell: Arc<Cell>,
    flight: u64,
    outcome: Option<Result<Grant, TokenFault>>,
}

impl Landing {
    fn with(mut self, outcome: Result<Grant, TokenFault>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let interrupted = || Err(TokenFault::new(FaultClass::Transient, FaultReason::Interrupted));
        let outcome = self.outcome.take().unwrap_or_else(interrupted);
        let flight = self.flight;
        self.cell.step(|inner, now, steps| inner.state.landed(now, flight, outcome, steps));
    }
}
