//! One credential's token: states, one flight, renewal ahead, refusals, back-off.
//!
//! `state` decides, and is pure; `backoff` and `life` are its arithmetic, `event` what it tells the
//! log. `gate` counts requests under way; `flight` is the task that a login runs in, `listen` the one
//! that hears other replicas, `order` makes logins that no request asks for, `succession` what goes from one process to the next. `settings` is what
//! a cell is given, `status` what it tells. What is left here is the shell: the lock around the state,
//! the token that is read without it, and the requests that wait.

mod backoff;
mod event;
mod flight;
mod gate;
mod life;
mod listen;
mod order;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(super) mod script;
mod settings;
mod state;
mod status;
mod succession;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use self::flight::{Landing, fly};
use self::gate::Gate;
pub use self::gate::Slot;
pub(super) use self::gate::Tally;
use self::listen::listen;
pub use self::settings::{CellSettings, Fetch, Release};
pub(super) use self::state::COME_AGAIN;
use self::state::{Asked, Policy, Refused, State, Steps};
pub use self::status::{AfterRefusal, CellState, CellStatus, Token, TokenCounts};
use super::{Clock, Moment, Share, Unavailable, Wanted};

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
    /// Whether the token in force was refused since the vendor last took it; kept only for exclusive credentials.
    struck: AtomicBool,
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
            struck: AtomicBool::new(false),
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
            if inner.handed_over {
                // Whoever has the token goes by its own file.
                return;
            }
            let share = inner.settings.share.take();
            let settings = CellSettings { share, ..settings };
            inner.state.configure(now, Policy::from(&settings), steps);
            self.idle.store(idle_nanos(&settings), Ordering::Relaxed);
            inner.settings = settings;
        });
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
        if self.struck.load(Ordering::Relaxed) && self.is_current(generation) {
            self.struck.store(false, Ordering::Relaxed);
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
        if self.is_current(generation) {
            self.struck.store(true, Ordering::Relaxed);
        }
        self.refuse(generation, false, None)
    }

    /// The same, once it was waited for what other requests show after [`AfterRefusal::Unsure`].
    pub fn refused_at_last(self: &Arc<Self>, generation: u64) -> AfterRefusal {
        self.refuse(generation, false, Some(!self.struck.load(Ordering::Relaxed)))
    }

    /// The same, to a request for which the token was replaced already: another login would not
    /// help it, however long the vendor takes to refuse.
    pub fn refused_again(self: &Arc<Self>, generation: u64) -> AfterRefusal {
        self.refuse(generation, true, None)
    }

    fn refuse(self: &Arc<Self>, generation: u64, again: bool, taken_since: Option<bool>) -> AfterRefusal {
        let worked = self.worked.load(Ordering::Relaxed) >= generation;
        let refused = Refused { generation, again, worked, taken_since };
        self.step(|inner, now, steps| inner.state.refused(now, refused, steps))
    }

    /// Whether this is the generation in force.
    pub fn is_current(&self, generation: u64) -> bool {
        self.served.load().as_ref().is_some_and(|token| token.generation == generation)
    }

    /// What there is to tell.
    pub fn status(&self) -> CellStatus {
        let inner = self.lock_noting();
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
        let mut inner = self.lock_noting();
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
        let served = state.served();
        if !state.is_closed() {
            self.gate.close(false);
        }
        let generation = |token: Option<&Arc<Token>>| token.map(|token| token.generation);
        if generation(served) != generation(self.served.load().as_ref()) {
            self.served.store(served.cloned());
            self.struck.store(false, Ordering::Relaxed);
        }
        if state.is_closed() {
            // Behind the token, so that nobody who finds the gate closed finds a token still.
            self.gate.close(true);
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

    /// The lock, with what the path without it noted.
    fn lock_noting(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.state.note_use(Moment::from_nanos(self.last_used.load(Ordering::Relaxed)));
        inner
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
    settings.idle_lifetime.filter(|_| settings.share.is_none()).map_or(NEVER, |idle| Moment::since_boot(idle).nanos())
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
