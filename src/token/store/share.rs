//! One credential's share in the store.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::Core;
use super::event::{Event, Kind};
use super::inbox::Inbox;
use super::script::{Asked, Fresh, Numbered, Place, Stored};
use super::sealed::{self, LeftFault};
use crate::token::{Away, Carried, Laid, Lease, Pending, Share, TokenKey, Told, Turn, Wanted};
use crate::vendor::{FaultClass, FaultReason, TokenFault};

/// A message may be lost: whoever waits looks for itself this often.
const LOOK: Duration = Duration::from_millis(250);

/// A share that lives in Redis.
pub(super) struct RedisShare {
    core: Arc<Core>,
    place: Place,
    /// How long a lease lives, in milliseconds.
    lease: AtomicU64,
    inbox: Inbox,
    /// A token was laid, or a lease given back.
    changed: Notify,
    state: Mutex<State>,
    /// Somebody has confirmed.
    confirmed: Notify,
}

#[derive(Default)]
struct State {
    /// The lease that this process holds, as far as it knows.
    held: Option<u64>,
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

    /// How long leases live from now on.
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
        let mut beyond = wanted.beyond;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let asked = Instant::now();
            let life = Duration::from_millis(self.lease.load(Ordering::Relaxed));
            // A lease that is this process's, and of which it does not know, is one whose grant got lost.
            let ways = (wanted.secret.is_some(), self.state().held.is_none());
            match self.place.turn(&self.core.link, beyond, &self.core.process, life, ways).await? {
                Asked::Stored(stored) => {
                    let fence = stored.fence;
                    let will_do = |token: &Carried| wanted.secret.is_none_or(|secret| token.secret == secret);
                    match self.opened(&stored, asked).filter(will_do) {
                        Some(token) => return Ok(Turn::Take(token)),
                        None => beyond = beyond.max(fence),
                    }
                }
                Asked::Fault(fault, pause) => return Ok(Turn::Leave(left_fault(&fault, pause))),
                Asked::Lease(fence) => {
                    self.state().held = Some(fence);
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
        let left = LeftFault { refused: fault.class == FaultClass::Refused, heard, code: fault.code };
        let left = serde_json::to_vec(&left).unwrap_or_default();
        // Where the store is away the lease runs out by itself.
        let given = self.place.give_back(&self.core.link, lease.fence, &self.core.process, (&left, pause), heard).await;
        let _ = given;
        self.let_go(lease);
    }

    /// From now on a lease of this process that is found in the store is an old one.
    fn let_go(&self, lease: Lease) {
        let mut state = self.state();
        if state.held == Some(lease.fence) {
            state.held = None;
        }
    }

    async fn read(&self) -> Result<Option<Carried>, Away> {
        let asked = Instant::now();
        let stored = self.place.read(&self.core.link).await?;
        Ok(stored.and_then(|stored| self.opened(&stored, asked)))
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

fn left_fault(text: &[u8], pause: Duration) -> TokenFault {
    let left: Option<LeftFault> = serde_json::from_slice(text).ok();
    let refused = left.as_ref().is_some_and(|left| left.refused);
    let class = if refused { FaultClass::Refused } else { FaultClass::Transient };
    let heard = left.as_ref().is_some_and(|left| left.heard);
    let code = left.and_then(|left| left.code);
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

    fn read(&self) -> Pending<'_, Result<Option<Carried>, Away>> {
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
