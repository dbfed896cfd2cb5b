//! One credential's token: states, one flight, renewal ahead, refusals, back-off.
//!
//! `state` decides, and is pure; `backoff` and `life` are its arithmetic, `event` what it tells the
//! log. `gate` counts requests under way; `flight` is the task that a login runs in, `listen` the one
//! that hears other replicas. What is left here is the shell: the lock around the state, the token
//! that is read without it, and the requests that wait.

mod backoff;
mod event;
mod flight;
mod gate;
mod life;
mod listen;
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

use self::flight::{Landing, fly};
use self::gate::Gate;
pub use self::gate::Slot;
pub(super) use self::gate::Tally;
use self::listen::listen;
pub(super) use self::state::COME_AGAIN;
use self::state::{Asked, Policy, Refused, State, Steps};
use super::{Away, Carried, Clock, Moment, SecretVersion, Share, Unavailable, Wanted};
use crate::model::Margin;
use crate::secret::Secret;
use crate::vendor::{Grant, LifetimeSource, TokenFault};

/// Asks the vendor for a token, once. Owned by the cell; knows the network, which the cell does not.
pub type Fetch = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Grant, TokenFault>> + Send>> + Send + Sync>;

/// Gives a token up at the vendor, as well as that can be done.
pub type Release = Arc<dyn Fn(Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

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
    /// How long the change of an exclusive token waits for requests under way.
    pub drain: Duration,
    /// Requests that may wait at once.
    pub waiting: u32,
    /// How a token is given up when nobody uses the cell any more; `None` where it is left to end.
    pub release: Option<Release>,
    /// What is agreed on with other replicas; `None` where there are none.
    pub share: Option<Arc<dyn Share>>,
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
    /// How far the vendor's clock is ahead of ours, in seconds, where its answer told.
    pub skew: Option<i64>,
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
    /// Whether the vendor may hold another one valid: it is used until it is refused.
    pub suspect: bool,
    /// Whether something else seems to log in with the same client: tokens that worked were refused
    /// before their end, several times in a row. Exclusive credentials only.
    pub disturbed: bool,
    /// How many tokens died that way since the cell was made.
    pub disturbances: u64,
    /// The number by which other replicas know the latest token; 0 where they do not.
    pub fence: u64,
    /// How far the vendor's clock is ahead of ours, in seconds, where the latest login's answer told.
    pub skew: Option<i64>,
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
    /// The latest generation that the vendor took; kept only for exclusive credentials.
    worked: AtomicU64,
    gate: Arc<Gate>,
    inner: Mutex<Inner>,
    landed: Notify,
    clock: Arc<dyn Clock>,
    spawner: tokio::runtime::Handle,
}

struct Inner {
    settings: CellSettings,
    state: State,
    /// Hears what other replicas tell.
    listener: Option<tokio::task::AbortHandle>,
    /// Another process goes on with the token.
    handed_over: bool,
    /// The other replicas are being told of a login.
    publishing: bool,
}

impl Cell {
    /// A cell asleep: nothing is fetched until it is used. Fetches run on `spawner`.
    pub fn new(settings: CellSettings, clock: Arc<dyn Clock>, spawner: tokio::runtime::Handle) -> Arc<Self> {
        let state = State::new(Policy::from(&settings), fastrand::u64(..));
        let cell = Arc::new(Self {
            served: ArcSwapOption::empty(),
            attention: AtomicU64::new(NEVER),
            idle: AtomicU64::new(idle_nanos(&settings)),
            last_used: AtomicU64::new(0),
            worked: AtomicU64::new(0),
            gate: Arc::default(),
            inner: Mutex::new(Inner { settings, state, listener: None, handed_over: false, publishing: false }),
            landed: Notify::new(),
            clock,
            spawner,
        });
        let mut inner = cell.lock();
        if let Some(share) = inner.settings.share.clone() {
            inner.listener = Some(cell.spawner.spawn(listen(Arc::downgrade(&cell), share)).abort_handle());
        }
        drop(inner);
        cell
    }

    /// Takes over what a reload says. A new secret is tried at once if the cell is awake. What is
    /// shared with other replicas stays as it was when the cell was made.
    pub fn configure(self: &Arc<Self>, settings: CellSettings) {
        self.step(|inner, now, steps| {
            inner.state.configure(now, Policy::from(&settings), steps);
            self.idle.store(idle_nanos(&settings), Ordering::Relaxed);
            let share = inner.settings.share.take();
            inner.settings = CellSettings { share, ..settings };
        });
    }

    /// The live token, for another process; `None` where there is none, or it lives for ever.
    pub fn carry(&self) -> Option<Carried> {
        let mut inner = self.lock();
        inner.state.note_use(Moment::from_nanos(self.last_used.load(Ordering::Relaxed)));
        inner.state.carry(self.clock.now())
    }

    /// The generation of the latest token; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.status().generation
    }

    /// Puts another process's or replica's token in force, unless the one in hand is as good.
    pub fn adopt(self: &Arc<Self>, token: Carried) {
        self.step(|inner, now, steps| inner.state.adopt(now, token, steps));
    }

    /// Begins no login from now on, or begins them again: whoever needs one waits meanwhile.
    pub fn pause(self: &Arc<Self>, paused: bool) {
        self.step(|inner, _, steps| inner.state.pause(paused, steps));
    }

    /// Returns when no login is under way that the vendor may still hear, or that other replicas are
    /// still to be told of.
    pub async fn settled(&self) {
        loop {
            let landed = self.landed.notified();
            if self.is_settled() {
                return;
            }
            landed.await;
        }
    }

    fn is_settled(&self) -> bool {
        let inner = self.lock();
        !inner.state.is_under_way() && !inner.publishing
    }

    /// The token that replicas share now, without a login; `None` where nothing is shared.
    pub async fn look_up(&self) -> Option<Result<Option<Carried>, Away>> {
        let share = self.share()?;
        Some(share.read().await)
    }

    /// From now on another process has the token: it is asked for one by this fetch, and this cell
    /// neither logs in, nor shares, nor gives the token up.
    pub fn follow(self: &Arc<Self>, fetch: Fetch) {
        let listener = self.step(|inner, now, steps| {
            let settings = &mut inner.settings;
            (settings.fetch, settings.exclusive, settings.share) = (fetch, false, None);
            let policy = Policy::from(&*settings);
            inner.state.configure(now, policy, steps);
            inner.state.pause(false, steps);
            inner.handed_over = true;
            inner.listener.take()
        });
        if let Some(listener) = listener {
            listener.abort();
        }
    }

    /// A count of one worker's requests under way, where the credential is exclusive.
    pub(super) fn tally(&self) -> Option<Arc<Tally>> {
        self.lock().settings.exclusive.then(|| self.gate.tally())
    }

    /// The vendor took the token of this generation. Of use for exclusive credentials only: a token
    /// that worked and is refused before its end was killed from outside.
    pub fn worked(&self, generation: u64) {
        if self.worked.load(Ordering::Relaxed) < generation {
            self.worked.fetch_max(generation, Ordering::Relaxed);
        }
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
        self.refuse(generation, false)
    }

    /// The same, to a request for which the token was replaced already: another login would not
    /// help it, however long the vendor takes to refuse.
    pub fn refused_again(self: &Arc<Self>, generation: u64) -> AfterRefusal {
        self.refuse(generation, true)
    }

    fn refuse(self: &Arc<Self>, generation: u64, again: bool) -> AfterRefusal {
        let worked = self.worked.load(Ordering::Relaxed) >= generation;
        self.step(|inner, now, steps| inner.state.refused(now, Refused { generation, again, worked }, steps))
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
        let now = self.clock.now();
        inner.state.settle(now, &mut steps);
        let result = event(&mut inner, now, &mut steps);
        self.publish(&inner.state);
        let name = (!steps.events.is_empty()).then(|| inner.settings.name.clone());
        drop(inner);

        // Outside the lock: a log may be slow, and a runtime that is shutting down drops the task
        // at once, which lands the flight in here again.
        for event in &steps.events {
            event.log(name.as_deref().unwrap_or_default());
        }
        if let Some(flight) = steps.fetch {
            // All is inside the task, so that a panic in it ends the task, not the request that began it.
            let landing = Landing::new(Arc::clone(self), flight);
            self.spawner.spawn(fly(landing));
        }
        if steps.wake {
            self.landed.notify_waiters();
        }
        if steps.nudge {
            self.gate.nudged.notify_waiters();
        }
        result
    }

    /// Makes what the state says readable without the lock. Called under it, so that the order of
    /// events is kept.
    fn publish(&self, state: &State) {
        self.last_used.fetch_max(state.last_used().nanos(), Ordering::Relaxed);
        self.gate.close(state.is_closed());
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

    fn share(&self) -> Option<Arc<dyn Share>> {
        self.lock().settings.share.clone()
    }

    fn wanted(&self) -> Wanted {
        self.lock().state.wanted(self.clock.now())
    }

    fn serves(&self) -> bool {
        self.lock().state.serves(self.clock.now())
    }

    fn is_awake(&self) -> bool {
        self.lock().state.is_awake()
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

/// Nobody refers to the cell any more, no request and no configuration: its token is given up, where
/// the vendor has a call for that and nobody else goes on with it.
impl Drop for Cell {
    fn drop(&mut self) {
        let now = self.clock.now();
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = inner.listener.take() {
            listener.abort();
        }
        let alone = inner.settings.share.is_none() && !inner.handed_over;
        if let Some(release) = inner.settings.release.take().filter(|_| alone)
            && let Some(carried) = inner.state.carry(now)
        {
            self.spawner.spawn(release(carried.token));
        }
    }
}
