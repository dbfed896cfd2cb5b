//! Shares of one credential in one process, on the model of the store: for cells with a paused clock.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::board::{Asked, Board, Numbered, Stored, Tell};
use super::inbox::Inbox;
use crate::token::{Away, Carried, Laid, Lease, Pending, SecretVersion, Share, Shelf, Told, Turn, Wanted};
use crate::vendor::{FaultReason, TokenFault};

/// As the real one looks for itself.
const LOOK: Duration = Duration::from_millis(250);

/// A store in memory, and the switches to spoil it.
#[derive(Clone)]
pub(in crate::token) struct MemoryShares {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
    lease: Duration,
}

#[derive(Default)]
struct World {
    board: Board<Carried, (TokenFault, SecretVersion)>,
    token_end: Option<Instant>,
    lease_end: Option<Instant>,
    fault_end: Option<Instant>,
    replicas: Vec<Arc<Inbox>>,
    confirmed: HashSet<(u64, usize)>,
    away: HashSet<usize>,
    is_losing: bool,
    leases: u64,
}

impl MemoryShares {
    /// An empty store whose leases live so long.
    pub(in crate::token) fn new(lease: Duration) -> Self {
        Self { world: Arc::default(), changed: Arc::default(), lease }
    }

    /// One more replica's share; replicas count from 0.
    pub(in crate::token) fn share(&self) -> Arc<dyn Share> {
        let mut world = self.world();
        let inbox = Arc::new(Inbox::default());
        world.replicas.push(Arc::clone(&inbox));
        let replica = world.replicas.len() - 1;
        Arc::new(MemoryShare { shares: self.clone(), replica, inbox, held: Mutex::default() })
    }

    /// Cuts a replica off from the store, or lets it back, which it is told.
    pub(in crate::token) fn set_away(&self, replica: usize, away: bool) {
        let mut world = self.world();
        if away {
            world.away.insert(replica);
        } else if world.away.remove(&replica)
            && let Some(inbox) = world.replicas.get(replica)
        {
            inbox.push(Told::Back);
        }
        self.changed.notify_waiters();
    }

    /// From now on what is told is lost, or is not.
    pub(in crate::token) fn set_losing(&self, losing: bool) {
        self.world().is_losing = losing;
    }

    /// The lease runs out now.
    pub(in crate::token) fn expire_lease(&self) {
        self.world().board.expire_lease();
        self.changed.notify_waiters();
    }

    /// All that is stored is gone, the counter too.
    pub(in crate::token) fn flush(&self) {
        self.world().board = Board::default();
        self.changed.notify_waiters();
    }

    /// What is stored: its fence, and whether it is suspect.
    pub(in crate::token) fn stored(&self) -> Option<(u64, bool)> {
        let mut world = self.world();
        world.pass();
        world.board.token.as_ref().map(|token| (token.fence, token.suspect))
    }

    /// Who holds the lease, and under which fence.
    pub(in crate::token) fn lease(&self) -> Option<(u64, usize)> {
        let mut world = self.world();
        world.pass();
        world.board.lease
    }

    /// How many leases were given.
    pub(in crate::token) fn leases(&self) -> u64 {
        self.world().leases
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// What time has ended is gone.
    fn pass(&mut self) {
        let now = Instant::now();
        let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        if is_over(self.token_end) {
            (self.board.token, self.token_end) = (None, None);
        }
        if is_over(self.lease_end) {
            self.board.expire_lease();
            self.lease_end = None;
        }
        if is_over(self.fault_end) {
            (self.board.fault, self.fault_end) = (None, None);
        }
    }

    fn tell(&self, from: usize, told: Told) {
        if !self.is_losing {
            let others = self.replicas.iter().enumerate().filter(|(at, _)| *at != from && !self.away.contains(at));
            others.for_each(|(_, inbox)| inbox.push(told));
        }
    }

    fn tell_all(&self, from: usize, told: Vec<Tell>) {
        for tell in told {
            match tell {
                Tell::Token(fence) => self.tell(from, Told::Token(fence)),
                Tell::Release(fence) => self.tell(from, Told::Release(fence)),
            }
        }
    }

    fn carried(&self, stored: Stored<Carried>) -> Carried {
        let left = self.token_end.map_or(stored.body.left, |end| end.saturating_duration_since(Instant::now()));
        Carried { fence: stored.fence, suspect: stored.suspect, left, ..stored.body }
    }
}

struct MemoryShare {
    shares: MemoryShares,
    replica: usize,
    inbox: Arc<Inbox>,
    /// The lease's number, and the secret that its login is made with.
    held: Mutex<Option<(u64, SecretVersion)>>,
}

impl MemoryShare {
    /// The store, where it can be reached.
    fn reach(&self) -> Result<MutexGuard<'_, World>, Away> {
        let mut world = self.shares.world();
        world.pass();
        if world.away.contains(&self.replica) { Err(Away) } else { Ok(world) }
    }

    fn held(&self) -> MutexGuard<'_, Option<(u64, SecretVersion)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self, wanted: Wanted) -> Result<Turn, Away> {
        let (mut beyond, mut over_fault) = (wanted.beyond, wanted.proves);
        loop {
            let mut changed = std::pin::pin!(self.shares.changed.notified());
            changed.as_mut().enable();
            {
                let again = self.held().is_none();
                let mut world = self.reach()?;
                match world.board.turn(beyond, self.replica, over_fault, again) {
                    Asked::Stored(stored) if !wanted.proves || stored.body.secret == wanted.secret => {
                        return Ok(Turn::Take(world.carried(stored)));
                    }
                    Asked::Stored(stored) => {
                        beyond = stored.fence;
                        continue;
                    }
                    Asked::Fault((_, secret)) if secret != wanted.secret => {
                        over_fault = true;
                        continue;
                    }
                    Asked::Fault((fault, _)) => {
                        let pause = world.fault_end.map(|end| end.saturating_duration_since(Instant::now()));
                        return Ok(Turn::Leave(TokenFault {
                            reason: FaultReason::Elsewhere,
                            retry_after: pause,
                            ..fault
                        }));
                    }
                    Asked::Lease(fence) => {
                        world.lease_end = Some(Instant::now() + self.shares.lease);
                        world.leases += 1;
                        *self.held() = Some((fence, wanted.secret));
                        return Ok(Turn::Login(Lease { fence }));
                    }
                    Asked::Busy => {}
                }
            }
            drop(timeout(LOOK, changed).await);
        }
    }

    async fn quiet(&self, lease: Lease, within: Duration) {
        let end = Instant::now() + within;
        let wanted = {
            let Ok(world) = self.reach() else { return };
            world.tell(self.replica, Told::Hold(lease.fence, within));
            // Who is cut off from the store is not counted by it.
            world.replicas.len() - 1 - world.away.len()
        };
        loop {
            let mut changed = std::pin::pin!(self.shares.changed.notified());
            changed.as_mut().enable();
            let confirmed = self.shares.world().confirmed.iter().filter(|(fence, _)| *fence == lease.fence).count();
            if confirmed >= wanted || timeout_at(end, changed).await.is_err() {
                return;
            }
        }
    }

    fn lay(&self, lease: Lease, token: Carried) -> Result<Laid, Away> {
        *self.held() = None;
        let mut world = self.reach()?;
        let left = token.left;
        let (kept, told) = world.board.lay(lease.fence, self.replica, token.suspect, token);
        if kept {
            world.token_end = Some(Instant::now() + left);
        }
        world.tell_all(self.replica, told);
        self.shares.changed.notify_waiters();
        Ok(if kept { Laid::Kept } else { Laid::Lost })
    }

    fn give_back(&self, lease: Lease, fault: TokenFault, pause: Duration) {
        let Some((_, secret)) = self.held().take() else { return };
        let Ok(mut world) = self.reach() else { return };
        let heard = fault.heard;
        let left = (!pause.is_zero()).then_some((fault, secret));
        let (kept, told) = world.board.give_back(lease.fence, self.replica, left, heard);
        if kept && !pause.is_zero() {
            world.fault_end = Some(Instant::now() + pause);
        }
        world.tell_all(self.replica, told);
        self.shares.changed.notify_waiters();
    }

    fn read(&self) -> Result<Shelf, Away> {
        let world = self.reach()?;
        Ok(world.board.token.clone().map_or(Shelf::Empty, |stored| Shelf::Token(world.carried(stored))))
    }

    fn holds(&self, lease: Lease) -> bool {
        self.reach().map_or(true, |world| world.board.lease == Some((lease.fence, self.replica)))
    }

    fn offer(&self, token: Carried) -> Result<Carried, Away> {
        let mut world = self.reach()?;
        let fence = match world.board.reserve(token.fence) {
            Numbered::Stored(stored) => return Ok(world.carried(stored)),
            Numbered::Fence(fence) => fence,
        };
        let (numbered, told) = world.board.place(fence, token.fence, token.suspect, token.clone());
        world.tell_all(self.replica, told);
        self.shares.changed.notify_waiters();
        match numbered {
            Numbered::Stored(stored) => Ok(world.carried(stored)),
            Numbered::Fence(fence) => {
                world.token_end = Some(Instant::now() + token.left);
                Ok(Carried { fence, ..token })
            }
        }
    }

    fn confirm(&self, fence: u64) {
        if let Ok(mut world) = self.reach()
            && !world.is_losing
        {
            world.confirmed.insert((fence, self.replica));
            self.shares.changed.notify_waiters();
        }
    }
}

impl fmt::Debug for MemoryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryShare").field("replica", &self.replica).finish_non_exhaustive()
    }
}

impl Share for MemoryShare {
    fn turn(&self, wanted: Wanted) -> Pending<'_, Result<Turn, Away>> {
        Box::pin(self.turn(wanted))
    }

    fn quiet(&self, lease: Lease, within: Duration) -> Pending<'_, ()> {
        Box::pin(self.quiet(lease, within))
    }

    fn lay(&self, lease: Lease, token: Carried) -> Pending<'_, Result<Laid, Away>> {
        Box::pin(async move { self.lay(lease, token) })
    }

    fn give_back(&self, lease: Lease, fault: TokenFault, pause: Duration) -> Pending<'_, ()> {
        Box::pin(async move { self.give_back(lease, fault, pause) })
    }

    fn holds(&self, lease: Lease) -> Pending<'_, bool> {
        Box::pin(async move { self.holds(lease) })
    }

    fn read(&self) -> Pending<'_, Result<Shelf, Away>> {
        Box::pin(async move { self.read() })
    }

    fn offer(&self, token: Carried) -> Pending<'_, Result<Carried, Away>> {
        Box::pin(async move { self.offer(token) })
    }

    fn confirm(&self, fence: u64) -> Pending<'_, ()> {
        Box::pin(async move { self.confirm(fence) })
    }

    fn told(&self) -> Pending<'_, Told> {
        Box::pin(self.inbox.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::vendor::{FaultClass, Identity, LifetimeSource};

    const LEASE: Duration = Duration::from_secs(14);

    fn token(text: &str, left: Duration) -> Carried {
        let secret = SecretVersion::of(&Identity { parts: Vec::new(), secrets: Vec::new() });
        let (token, source) = (Secret::new(text), LifetimeSource::Answer);
        Carried { fence: 0, token, left, life: left, source, secret, of_refusal: false, suspect: false }
    }

    fn beyond_fence(beyond: u64) -> Wanted {
        let secret = SecretVersion::of(&Identity { parts: Vec::new(), secrets: Vec::new() });
        Wanted { beyond, secret, proves: false }
    }

    async fn login(share: &Arc<dyn Share>, beyond: u64) -> Lease {
        match share.turn(beyond_fence(beyond)).await.unwrap() {
            Turn::Login(lease) => lease,
            turn => panic!("{turn:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_share_a_token_until_its_life_is_over() {
        let shares = MemoryShares::new(LEASE);
        let (one, other) = (shares.share(), shares.share());
        let lease = login(&one, 0).await;
        assert_eq!(shares.lease(), Some((lease.fence, 0)));
        assert_eq!(one.lay(lease, token("first", Duration::from_secs(60))).await, Ok(Laid::Kept));
        assert_eq!(other.told().await, Told::Token(lease.fence));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(
            matches!(other.read().await, Ok(Shelf::Token(Carried { left, .. })) if left == Duration::from_secs(40))
        );
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!((other.read().await, shares.stored()), (Ok(Shelf::Empty), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_by_time_or_by_the_switch() {
        let shares = MemoryShares::new(LEASE);
        let (one, other) = (shares.share(), shares.share());
        let lost = login(&one, 0).await;
        let begun = Instant::now();
        let won = login(&other, 0).await;
        assert!(won.fence > lost.fence && begun.elapsed() >= LEASE);
        assert_eq!(other.lay(won, token("won", LEASE)).await, Ok(Laid::Kept));
        assert_eq!(one.lay(lost, token("lost", LEASE)).await, Ok(Laid::Lost));
        assert_eq!(shares.stored(), Some((won.fence, true)));
        let next = login(&one, won.fence).await;
        shares.expire_lease();
        assert!(login(&other, won.fence).await.fence > next.fence);
        assert_eq!(shares.leases(), 4);
        shares.flush();
        assert_eq!((shares.stored(), shares.lease()), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_away_is_told_when_it_is_back_and_offers_what_it_got() {
        let shares = MemoryShares::new(LEASE);
        let (one, other) = (shares.share(), shares.share());
        shares.set_away(0, true);
        assert_eq!(one.read().await, Err(Away));
        shares.set_away(0, false);
        assert_eq!(one.told().await, Told::Back);
        let offered = one.offer(token("one", LEASE)).await.unwrap();
        assert_eq!(other.offer(token("other", LEASE)).await.unwrap(), offered);
        shares.set_losing(true);
        let lease = login(&one, offered.fence).await;
        one.give_back(lease, TokenFault::new(FaultClass::Transient, FaultReason::Timeout), LEASE).await;
        assert_eq!(other.told().await, Told::Token(offered.fence));
        assert!(timeout(LEASE / 2, other.told()).await.is_err(), "what is told is lost");
        let left = other.turn(beyond_fence(offered.fence)).await;
        assert!(matches!(left, Ok(Turn::Leave(TokenFault { reason: FaultReason::Elsewhere, .. }))), "{left:?}");
        assert_eq!(shares.stored(), Some((offered.fence, true)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_ends_when_all_have_confirmed_or_its_time_is_over() {
        let shares = MemoryShares::new(LEASE);
        let (one, other) = (shares.share(), shares.share());
        let lease = login(&one, 0).await;
        let begun = Instant::now();
        let within = Duration::from_secs(2);
        tokio::join!(one.quiet(lease, within), async {
            assert_eq!(other.told().await, Told::Hold(lease.fence, within));
            other.confirm(lease.fence).await;
        });
        assert_eq!(begun.elapsed(), Duration::ZERO);
        shares.set_losing(true);
        let next = Lease { fence: lease.fence + 1 };
        one.quiet(next, within).await;
        assert_eq!(begun.elapsed(), within);
    }
}
