//! One credential's share in the store.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Core;
use super::event::{Event, Kind};
use super::inbox::Inbox;
use super::script::{Asked, Fresh, Numbered, Place, Stored};
use super::sealed::{self, LeftFault};
use crate::token::{Away, Carried, Laid, Lease, Pending, SecretVersion, Share, Shelf, TokenKey, Told, Turn, Wanted};
use crate::vendor::{FaultClass, FaultReason, TokenFault};

/// A message may be lost: whoever waits looks for itself this often.
const LOOK: Duration = Duration::from_millis(250);
/// How long a lease lives of which nothing is heard: what a replica that dies with it costs.
const SILENCE: Duration = Duration::from_secs(3);
/// How often its holder says that it is at work still: twice may be lost.
const BEAT: Duration = Duration::from_millis(900);

/// A share that lives in Redis.
pub(super) struct RedisShare {
    core: Arc<Core>,
    place: Place,
    /// How long a lease may be held, in milliseconds.
    lease: AtomicU64,
    inbox: Inbox,
    /// A token was laid, or a lease given back.
    changed: Notify,
    state: Mutex<State>,
    /// Somebody has confirmed.
    confirmed: Notify,
}

/// A lease that is kept alive until this is dropped.
struct Held {
    fence: u64,
    /// The secret that the login is made with.
    secret: SecretVersion,
    beat: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

#[derive(Default)]
struct State {
    /// The lease that this process holds, as far as it knows, and what keeps it alive.
    held: Option<Held>,
    /// The fence that is announced, and the processes that hold their requests for it.
    quiet: Option<(u64, HashSet<String>)>,
    /// The last fence of which was told that its token does not open.
    shut: Option<u64>,
}

impl RedisShare {
    pub(super) fn new(core: Arc<Core>, key: &TokenKey, lease: Duration) -> Self {
        let place = Place::new(&core.prefix, key);
        let share = Self {
            core,
            place,
            lease: AtomicU64::new(0),
            inbox: Inbox::default(),
            changed: Notify::new(),
            state: Mutex::default(),
            confirmed: Notify::new(),
        };
        share.lease_for(lease);
        share
    }

    /// How long leases may be held from now on.
    pub(super) fn lease_for(&self, life: Duration) {
        self.lease.store(u64::try_from(life.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Takes what a process told: this one too.
    pub(super) fn hear(&self, event: &Event) {
        let is_own = event.from == self.core.process;
        match event.kind {
            Kind::Token | Kind::Release => {
                self.changed.notify_waiters();
                if !is_own {
                    let token = event.kind == Kind::Token;
                    self.inbox.push(if token { Told::Token(event.fence) } else { Told::Release(event.fence) });
                }
            }
            // One's own announcement comes back where the store has counted this process among its hearers.
            Kind::Hold if is_own => self.count(event),
            Kind::Hold => self.inbox.push(Told::Hold(event.fence, Duration::from_millis(event.ms))),
            Kind::Confirm => self.count(event),
        }
    }

    /// The store is reached again.
    pub(super) fn back(&self) {
        self.changed.notify_waiters();
        self.inbox.push(Told::Back);
    }

    fn count(&self, event: &Event) {
        if let Some((fence, hearers)) = &mut self.state().quiet
            && *fence == event.fence
        {
            hearers.insert(event.from.clone());
            self.confirmed.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, kind: Kind, fence: u64, ms: u64) -> Event {
        Event { key: self.place.hex.clone(), kind, fence, from: self.core.process.clone(), ms }
    }

    /// The token that is stored, with what is left of it now; `None` for one that does not open or is over.
    fn opened(&self, stored: &Stored, asked: Instant) -> Option<Carried> {
        match sealed::open(&self.core.keys, &self.place.hex, stored) {
            // The store counted from some moment after it was asked.
            Ok(token) => {
                let left = token.left.saturating_sub(asked.elapsed());
                (!left.is_zero()).then_some(Carried { left, ..token })
            }
            Err(why) => {
                if self.state().shut.replace(stored.fence) != Some(stored.fence) {
                    let credential = self.place.hex.get(..8);
                    tracing::warn!(target: "tokenferry::store", credential, fence = stored.fence, %why, "a stored token does not open, and counts as absent");
                }
                None
            }
        }
    }

    async fn turn(&self, wanted: Wanted) -> Result<Turn, Away> {
        let (mut beyond, mut over_fault) = (wanted.beyond, wanted.proves);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let asked = Instant::now();
            let longest = Duration::from_millis(self.lease.load(Ordering::Relaxed));
            let life = longest.min(SILENCE);
            // A lease that is this process's, and of which it does not know, is one whose grant got lost.
            let ways = (over_fault, self.state().held.is_none());
            match self.place.turn(&self.core.link, beyond, &self.core.process, life, ways).await? {
                Asked::Stored(stored) => {
                    let fence = stored.fence;
                    let will_do = |token: &Carried| !wanted.proves || token.secret == wanted.secret;
                    match self.opened(&stored, asked).filter(will_do) {
                        Some(token) => return Ok(Turn::Take(token)),
                        None => beyond = beyond.max(fence),
                    }
                }
                Asked::Fault(fault, pause) => {
                    match sealed::open_fault(&self.core.keys, &self.place.hex, &fault) {
                        Some(left) if left.secret == wanted.secret.hex() => {
                            return Ok(Turn::Leave(left_fault(left, pause)));
                        }
                        // What failed with another secret may go well with this one.
                        _ => over_fault = true,
                    }
                }
                Asked::Lease(fence) => {
                    let beat = self.keep_alive(fence, asked + longest);
                    self.state().held = Some(Held { fence, secret: wanted.secret, beat });
                    return Ok(Turn::Login(Lease { fence }));
                }
                Asked::Busy(left) => {
                    // Also a lease without an end, which no store of ours has given, is looked at again.
                    let wait = left.clamp(Duration::from_millis(1), LOOK);
                    drop(timeout(wait, changed).await);
                }
            }
        }
    }

    async fn quiet(&self, lease: Lease, within: Duration) {
        let end = Instant::now() + within;
        self.state().quiet = Some((lease.fence, HashSet::new()));
        let ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let hearers = self.core.publish(&self.event(Kind::Hold, lease.fence, ms)).await;
        if let Ok(hearers) = hearers {
            loop {
                let mut confirmed = std::pin::pin!(self.confirmed.notified());
                confirmed.as_mut().enable();
                let heard = self.state().quiet.as_ref().map_or(0, |(_, hearers)| hearers.len());
                if heard >= hearers || timeout_at(end, confirmed).await.is_err() {
                    break;
                }
            }
        }
        self.state().quiet = None;
    }

    async fn lay(&self, lease: Lease, token: Carried) -> Result<Laid, Away> {
        let Some(sealed) = sealed::seal(&self.core.keys, &self.place.hex, lease.fence, &token) else {
            return Err(Away);
        };
        let laid = self.place.lay(&self.core.link, lease.fence, &self.core.process, &fresh(&token, &sealed)).await;
        self.let_go(lease);
        Ok(if laid? { Laid::Kept } else { Laid::Lost })
    }

    async fn give_back(&self, lease: Lease, fault: TokenFault, pause: Duration) {
        let heard = fault.heard;
        let secret = self.state().held.as_ref().filter(|held| held.fence == lease.fence).map(|held| held.secret);
        let secret = secret.map(|secret| secret.hex()).unwrap_or_default();
        let left = LeftFault { refused: fault.class == FaultClass::Refused, heard, code: fault.code, secret };
        let left = sealed::seal_fault(&self.core.keys, &self.place.hex, &left);
        // Where the store is away the lease runs out by itself.
        let given = self.place.give_back(&self.core.link, lease.fence, &self.core.process, (&left, pause), heard).await;
        let _ = given;
        self.let_go(lease);
    }

    /// Keeps a lease alive until it is given back, and no longer than until `end`.
    fn keep_alive(&self, fence: u64, end: Instant) -> AbortHandle {
        let (core, place) = (Arc::clone(&self.core), self.place.clone());
        let beating = self.core.spawner.spawn(async move {
            loop {
                sleep(BEAT).await;
                let life = end.saturating_duration_since(Instant::now()).min(SILENCE);
                // A store that is away may be back before the lease is over; one that was lost stays lost.
                if life.is_zero() || place.extend(&core.link, fence, &core.process, life).await == Ok(false) {
                    return;
                }
            }
        });
        beating.abort_handle()
    }

    /// From now on a lease of this process that is found in the store is an old one.
    fn let_go(&self, lease: Lease) {
        let mut state = self.state();
        state.held.take_if(|held| held.fence == lease.fence);
    }

    async fn read(&self) -> Result<Shelf, Away> {
        let asked = Instant::now();
        let Some(stored) = self.place.read(&self.core.link).await? else { return Ok(Shelf::Empty) };
        Ok(self.opened(&stored, asked).map_or(Shelf::Shut, Shelf::Token))
    }

    async fn holds(&self, lease: Lease) -> bool {
        let life = Duration::from_millis(self.lease.load(Ordering::Relaxed)).min(SILENCE);
        let held = self.place.extend(&self.core.link, lease.fence, &self.core.process, life).await;
        held.unwrap_or(true)
    }

    async fn offer(&self, token: Carried) -> Result<Carried, Away> {
        // What does not open, or is over, is outbid.
        let mut own = token.fence;
        loop {
            let asked = Instant::now();
            let mut numbered = self.place.reserve(&self.core.link, own).await?;
            if let Numbered::Fence(fence) = numbered {
                let Some(sealed) = sealed::seal(&self.core.keys, &self.place.hex, fence, &token) else {
                    return Err(Away);
                };
                let left = token.left.saturating_sub(asked.elapsed());
                let fresh = Fresh { left, ..fresh(&token, &sealed) };
                numbered = self.place.place(&self.core.link, (fence, own), &self.core.process, &fresh).await?;
            }
            match numbered {
                Numbered::Fence(fence) => {
                    return Ok(Carried { fence, left: token.left.saturating_sub(asked.elapsed()), ..token });
                }
                Numbered::Stored(stored) => {
                    own = own.max(stored.fence.saturating_add(1));
                    if let Some(better) = self.opened(&stored, asked) {
                        return Ok(better);
                    }
                }
            }
        }
    }
}

fn fresh<'a>(token: &Carried, sealed: &'a [u8]) -> Fresh<'a> {
    let Carried { suspect, of_refusal, life, left, .. } = *token;
    Fresh { suspect, of_refusal, life, left, sealed }
}

fn left_fault(left: LeftFault, pause: Duration) -> TokenFault {
    let LeftFault { refused, heard, code, .. } = left;
    let class = if refused { FaultClass::Refused } else { FaultClass::Transient };
    TokenFault { class, reason: FaultReason::Elsewhere, code, retry_after: Some(pause), heard }
}

/// The credential's place alone.
impl fmt::Debug for RedisShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisShare").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Share for RedisShare {
    fn turn(&self, wanted: Wanted) -> Pending<'_, Result<Turn, Away>> {
        Box::pin(self.turn(wanted))
    }

    fn quiet(&self, lease: Lease, within: Duration) -> Pending<'_, ()> {
        Box::pin(self.quiet(lease, within))
    }

    fn lay(&self, lease: Lease, token: Carried) -> Pending<'_, Result<Laid, Away>> {
        Box::pin(self.lay(lease, token))
    }

    fn give_back(&self, lease: Lease, fault: TokenFault, pause: Duration) -> Pending<'_, ()> {
        Box::pin(self.give_back(lease, fault, pause))
    }

    fn holds(&self, lease: Lease) -> Pending<'_, bool> {
        Box::pin(self.holds(lease))
    }

    fn read(&self) -> Pending<'_, Result<Shelf, Away>> {
        Box::pin(self.read())
    }

    fn offer(&self, token: Carried) -> Pending<'_, Result<Carried, Away>> {
        Box::pin(self.offer(token))
    }

    fn confirm(&self, fence: u64) -> Pending<'_, ()> {
        Box::pin(async move { _ = self.core.publish(&self.event(Kind::Confirm, fence, 0)).await })
    }

    fn told(&self) -> Pending<'_, Told> {
        Box::pin(self.inbox.next())
    }
}
