//! Every interleaving of replicas that share one exclusive credential, walked through on the model of
//! the store: leases that run out at any time, replicas that stand still at any step, messages that
//! are lost, holders that crash, an evicted counter, logins past the store.
//!
//! The vendor is as unkind as one may be: the last login that it handles is the only valid token, and
//! it knows no fences. A message is told or not, as late as one likes: a lost one is one that is told
//! never. Time is no part of the state; whatever it may do is a step of its own.

use std::collections::{HashSet, VecDeque};

use super::board::{Asked, Board, Numbered, Tell};

/// A token as a replica has it. The vendor's are numbered from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Token {
    fence: u64,
    number: u8,
    suspect: bool,
}

/// Where a replica's login is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Idle,
    /// It has the lease, and has announced nothing yet.
    Leased(u64),
    /// It waits until the others hold their requests.
    Announced(u64),
    /// Its request is on its way. Without a fence: the store was away.
    Sent(Option<u64>),
    /// The vendor has handled it; the answer is on its way.
    Handled(Option<u64>, u8),
    /// The answer is here.
    Got(Option<u64>, u8),
    /// It offers what it got past the store under a number of its own.
    Offering(u64, u8),
}

/// One replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Replica {
    token: Option<Token>,
    phase: Phase,
    /// A request is under way with its token.
    request: bool,
    /// It holds new requests for this fence.
    holds: Option<u64>,
    /// Told and not heard yet: a token, a hold, a release.
    token_told: Option<u64>,
    hold_told: Option<u64>,
    release_told: Option<u64>,
    /// Others that have confirmed its announcement, as bits.
    confirmed: u8,
}

/// What may still go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Budget {
    logins: u8,
    expiries: u8,
    crashes: u8,
    failures: u8,
    evictions: u8,
    aways: u8,
    /// Whether requests are looked at: twice the states a replica.
    requests: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    board: Board<u8, ()>,
    /// The token that the vendor holds valid; 0 for none.
    valid: u8,
    issued: u8,
    replicas: Vec<Replica>,
    budget: Budget,
    /// The greatest fence that was ever given.
    greatest: u64,
    /// A holder crashed, or a login went past the store: the store may hold a dead token in good faith.
    in_good_faith: bool,
    evicted: bool,
}

const FRESH: Replica = Replica {
    token: None,
    phase: Phase::Idle,
    request: false,
    holds: None,
    token_told: None,
    hold_told: None,
    release_told: None,
    confirmed: 0,
};

impl World {
    fn new(replicas: usize, budget: Budget) -> Self {
        Self {
            board: Board::default(),
            valid: 0,
            issued: 0,
            replicas: vec![FRESH; replicas],
            budget,
            greatest: 0,
            in_good_faith: false,
            evicted: false,
        }
    }

    fn tell(&mut self, from: usize, told: &[Tell]) {
        for (_, replica) in self.replicas.iter_mut().enumerate().filter(|(at, _)| *at != from) {
            for tell in told {
                match *tell {
                    Tell::Token(fence) => replica.token_told = replica.token_told.max(Some(fence)),
                    Tell::Release(fence) => replica.release_told = Some(fence),
                }
            }
        }
    }

    /// Asks for a turn, as a replica does whose token will not do.
    fn ask(&mut self, at: usize) {
        let beyond = self.replicas[at].token.map_or(0, |token| token.fence);
        let (counter, lease) = (self.board.counter, self.board.lease);
        // A replica that is idle knows of no lease of its own.
        match self.board.turn(beyond, at, false, true) {
            Asked::Stored(stored) => {
                assert!(stored.fence > beyond, "a token that was not wanted");
                self.take(at, Token { fence: stored.fence, number: stored.body, suspect: stored.suspect });
            }
            Asked::Lease(fence) => {
                assert!(lease.is_none_or(|(_, holder)| holder == at), "a lease while another holds one");
                if !self.evicted {
                    assert!(fence > self.greatest && fence > counter, "fence {fence} was given before");
                }
                self.greatest = self.greatest.max(fence);
                self.replicas[at].phase = Phase::Leased(fence);
            }
            Asked::Busy | Asked::Fault(()) => {}
        }
    }

    fn take(&mut self, at: usize, token: Token) {
        let replica = &mut self.replicas[at];
        match &mut replica.token {
            Some(own) if own.fence > token.fence => {}
            // What others doubt stays doubted.
            Some(own) if own.fence == token.fence && own.number == token.number => own.suspect |= token.suspect,
            Some(own) if own.fence == token.fence => {}
            own => *own = Some(token),
        }
        if replica.holds.is_some_and(|fence| fence <= token.fence) {
            replica.holds = None;
        }
    }

    fn read(&mut self, at: usize) {
        if let Some(stored) = self.board.token {
            self.take(at, Token { fence: stored.fence, number: stored.body, suspect: stored.suspect });
        }
    }

    /// The answer of a login is laid into the store, whatever has become of its lease.
    fn lay(&mut self, at: usize, fence: u64, number: u8) {
        let before = self.board.token;
        let (kept, told) = self.board.lay(fence, at, false, number);
        self.replicas[at].phase = Phase::Idle;
        self.replicas[at].confirmed = 0;
        self.take(at, Token { fence, number, suspect: !kept });
        if kept {
            assert!(before.is_none_or(|before| before.fence < fence), "a stored token's fence fell");
        } else {
            assert!(self.board.token.is_none_or(|stored| stored.suspect), "a lost lease left a token above doubt");
            if self.replicas[at].token.is_some_and(|own| own.number == number) {
                assert!(self.replicas[at].token.unwrap().suspect, "a holder that lost its lease trusts its token");
            }
        }
        self.tell(at, &told);
    }

    fn give_back(&mut self, at: usize, fence: u64, heard: bool) {
        let (_, told) = self.board.give_back(fence, at, Some(()), heard);
        let replica = &mut self.replicas[at];
        (replica.phase, replica.confirmed) = (Phase::Idle, 0);
        if let Some(token) = &mut replica.token {
            token.suspect |= heard;
        }
        self.tell(at, &told);
    }

    /// The vendor handles a login: every earlier token is dead.
    fn handle(&mut self, at: usize, fence: Option<u64>) {
        let all = (1u8 << self.replicas.len()) - 1;
        let replica = self.replicas[at];
        if let Some(fence) = fence
            && replica.confirmed | (1 << at) == all
        {
            for (other, replica) in self.replicas.iter().enumerate().filter(|(other, _)| *other != at) {
                let kept_its_word = replica.holds == Some(fence);
                assert!(
                    !kept_its_word || !replica.request,
                    "replica {other} has a request under way with a token that dies"
                );
            }
        }
        self.issued += 1;
        self.valid = self.issued;
        self.replicas[at].phase = Phase::Handled(fence, self.issued);
    }

    fn place(&mut self, at: usize, fence: u64, number: u8) {
        let (numbered, told) = self.board.place(fence, 0, false, number);
        self.replicas[at].phase = Phase::Idle;
        match numbered {
            Numbered::Fence(fence) => self.take(at, Token { fence, number, suspect: false }),
            Numbered::Stored(stored) => {
                let better = Token { fence: stored.fence, number: stored.body, suspect: stored.suspect };
                self.replicas[at].token = Some(better);
            }
        }
        self.tell(at, &told);
    }

    /// Every state that may come next.
    fn next(&self, out: &mut Vec<Self>) {
        for at in 0..self.replicas.len() {
            self.next_of(at, out);
        }
        let mut then = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            out.push(next);
        };
        if self.budget.expiries > 0 && self.board.lease.is_some() {
            then(&|next| {
                next.budget.expiries -= 1;
                next.board.expire_lease();
            });
        }
        if self.board.fault.is_some() {
            then(&|next| next.board.fault = None);
        }
        if self.budget.evictions > 0 && self.board.counter > 0 {
            then(&|next| {
                (next.board.counter, next.evicted) = (0, true);
                next.budget.evictions -= 1;
            });
        }
    }

    fn next_of(&self, at: usize, out: &mut Vec<Self>) {
        let replica = self.replicas[at];
        let mut then = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            out.push(next);
        };
        match replica.phase {
            Phase::Idle => {
                // Its token was refused, or it has none: also where the refusal was of an older one.
                if replica.token.is_none_or(|token| token.number != self.valid) && self.budget.logins > 0 {
                    then(&|next| next.ask(at));
                    if self.budget.aways > 0 {
                        then(&|next| {
                            next.budget.aways -= 1;
                            next.in_good_faith = true;
                            next.budget.logins -= 1;
                            next.replicas[at].phase = Phase::Sent(None);
                        });
                    }
                }
            }
            Phase::Leased(fence) => then(&|next| {
                next.replicas[at].phase = Phase::Announced(fence);
                for other in (0..next.replicas.len()).filter(|other| *other != at) {
                    next.replicas[other].hold_told = Some(fence);
                }
            }),
            // All have confirmed, or it has waited long enough.
            Phase::Announced(fence) => {
                if self.budget.logins > 0 {
                    then(&|next| {
                        next.budget.logins -= 1;
                        next.replicas[at].phase = Phase::Sent(Some(fence));
                    });
                }
                if self.budget.failures > 0 {
                    then(&|next| {
                        next.budget.failures -= 1;
                        next.give_back(at, fence, false);
                    });
                }
            }
            Phase::Sent(fence) => {
                then(&|next| next.handle(at, fence));
                if self.budget.failures > 0 {
                    then(&|next| {
                        next.budget.failures -= 1;
                        next.fail(at, fence, false);
                    });
                }
            }
            Phase::Handled(fence, number) => {
                then(&|next| next.replicas[at].phase = Phase::Got(fence, number));
                if self.budget.failures > 0 {
                    then(&|next| {
                        next.budget.failures -= 1;
                        next.fail(at, fence, true);
                    });
                }
            }
            Phase::Got(Some(fence), number) => then(&|next| next.lay(at, fence, number)),
            Phase::Got(None, number) => then(&|next| next.reserve(at, number)),
            Phase::Offering(fence, number) => then(&|next| next.place(at, fence, number)),
        }
        if let Some(fence) = replica.token_told {
            then(&|next| {
                next.replicas[at].token_told = None;
                if next.replicas[at].token.is_none_or(|token| token.fence <= fence) {
                    next.read(at);
                }
            });
        }
        if let Some(fence) = replica.hold_told {
            then(&|next| {
                next.replicas[at].hold_told = None;
                next.replicas[at].holds = Some(fence);
            });
        }
        if let Some(fence) = replica.release_told {
            then(&|next| {
                next.replicas[at].release_told = None;
                if next.replicas[at].holds == Some(fence) {
                    next.replicas[at].holds = None;
                }
            });
        }
        if let Some(fence) = replica.holds {
            // It holds for a bounded time.
            then(&|next| next.replicas[at].holds = None);
            if !replica.request {
                for holder in (0..self.replicas.len()).filter(|holder| *holder != at) {
                    if self.replicas[holder].phase == Phase::Announced(fence)
                        && self.replicas[holder].confirmed & (1 << at) == 0
                    {
                        then(&|next| next.replicas[holder].confirmed |= 1 << at);
                    }
                }
            }
        }
        if replica.request {
            then(&|next| next.replicas[at].request = false);
        } else if self.budget.requests
            && replica.token.is_some()
            && replica.holds.is_none()
            && replica.phase == Phase::Idle
        {
            then(&|next| next.replicas[at].request = true);
        }
        if self.budget.crashes > 0 && replica != FRESH {
            then(&|next| {
                next.budget.crashes -= 1;
                next.in_good_faith = true;
                next.replicas[at] = FRESH;
            });
        }
    }

    fn fail(&mut self, at: usize, fence: Option<u64>, heard: bool) {
        match fence {
            Some(fence) => self.give_back(at, fence, heard),
            None => self.replicas[at].phase = Phase::Idle,
        }
    }

    fn reserve(&mut self, at: usize, number: u8) {
        match self.board.reserve(0) {
            Numbered::Fence(fence) => self.replicas[at].phase = Phase::Offering(fence, number),
            Numbered::Stored(stored) => {
                self.replicas[at].phase = Phase::Idle;
                let better = Token { fence: stored.fence, number: stored.body, suspect: stored.suspect };
                self.replicas[at].token = Some(better);
            }
        }
    }

    /// What holds in every state.
    fn check(&self) {
        let live = |replica: &Replica| match replica.phase {
            Phase::Leased(fence) | Phase::Announced(fence) => Some(fence),
            Phase::Sent(fence) | Phase::Handled(fence, _) | Phase::Got(fence, _) => fence,
            Phase::Idle | Phase::Offering(..) => None,
        };
        let fences: Vec<u64> = self.replicas.iter().filter_map(live).collect();
        let distinct: HashSet<u64> = fences.iter().copied().collect();
        if !self.evicted {
            assert_eq!(fences.len(), distinct.len(), "two logins under one fence");
        }
        let busy = self.replicas.iter().any(|replica| replica.phase != Phase::Idle);
        if !busy
            && !self.in_good_faith
            && let Some(stored) = self.board.token
        {
            assert!(stored.suspect || stored.body == self.valid, "a dead token is stored, and nobody doubts it");
        }
    }

    /// Nothing goes wrong any more: messages that are not heard yet are lost, holders that crashed run
    /// out, and each replica in its turn finishes what it does and uses its token. Returns how many
    /// logins it took beyond those under way.
    fn settle(&self, first: usize) -> u8 {
        let mut world = self.clone();
        let begun = world.issued;
        let under_way = |phase: Phase| matches!(phase, Phase::Sent(_));
        let allowed = world.replicas.iter().filter(|replica| under_way(replica.phase)).count();
        for replica in &mut world.replicas {
            (replica.token_told, replica.hold_told, replica.release_told, replica.holds) = (None, None, None, None);
        }
        for _ in 0..20 {
            let count = world.replicas.len();
            for at in (0..count).map(|at| (at + first) % count) {
                world.settle_one(at);
            }
            let is_good = |replica: &Replica| {
                replica.phase == Phase::Idle && replica.token.is_some_and(|token| token.number == world.valid)
            };
            if world.valid > 0 && world.replicas.iter().all(is_good) {
                return world.issued - begun - u8::try_from(allowed).unwrap().min(world.issued - begun);
            }
            // A round is longer than a lease of one who is no more, and than a pause.
            let holder = world.board.lease.map(|(_, holder)| holder);
            if holder.is_some_and(|holder| world.replicas[holder].phase == Phase::Idle) {
                world.board.expire_lease();
            }
            world.board.fault = None;
        }
        panic!("the replicas do not come together from {self:#?}\nthey came to {world:#?}");
    }

    fn settle_one(&mut self, at: usize) {
        match self.replicas[at].phase {
            Phase::Idle if self.replicas[at].token.is_none_or(|token| token.number != self.valid) => self.ask(at),
            Phase::Idle => {}
            Phase::Leased(fence) | Phase::Announced(fence) => self.replicas[at].phase = Phase::Sent(Some(fence)),
            Phase::Sent(fence) => self.handle(at, fence),
            Phase::Handled(fence, number) => self.replicas[at].phase = Phase::Got(fence, number),
            Phase::Got(Some(fence), number) => self.lay(at, fence, number),
            Phase::Got(None, number) => self.reserve(at, number),
            Phase::Offering(fence, number) => self.place(at, fence, number),
        }
    }
}

/// Walks through everything that can be reached: how many states, and the most logins that any of
/// them needs to come to rest, beyond those under way.
fn explore(replicas: usize, budget: Budget) -> (usize, u8) {
    let first = World::new(replicas, budget);
    let (mut seen, mut queue) = (HashSet::from([first.clone()]), VecDeque::from([first]));
    let (mut worst, mut next) = (0, Vec::new());
    while let Some(world) = queue.pop_front() {
        world.check();
        for first in 0..replicas {
            worst = worst.max(world.settle(first));
        }
        world.next(&mut next);
        for next in next.drain(..) {
            if !seen.contains(&next) {
                seen.insert(next.clone());
                queue.push_back(next);
            }
        }
    }
    (seen.len(), worst)
}

fn walk(what: &str, replicas: usize, budget: Budget, most: u8) {
    let begun = std::time::Instant::now();
    let (states, worst) = explore(replicas, budget);
    println!("{what}: {states} states in {:?}, at most {worst} further logins", begun.elapsed());
    assert!(worst <= most, "{worst} logins to come to rest");
}

const NOTHING: Budget =
    Budget { logins: 0, expiries: 0, crashes: 0, failures: 0, evictions: 0, aways: 0, requests: true };

#[test]
fn two_replicas_come_together_whatever_leases_and_messages_do() {
    walk("two, leases running out", 2, Budget { logins: 2, expiries: 2, ..NOTHING }, 3);
}

#[test]
fn two_replicas_come_together_whoever_crashes() {
    walk("two, with crashes", 2, Budget { logins: 2, expiries: 1, crashes: 1, ..NOTHING }, 3);
}

#[test]
fn two_replicas_come_together_however_logins_fail() {
    walk("two, with failures", 2, Budget { logins: 2, expiries: 1, failures: 1, ..NOTHING }, 3);
}

#[test]
fn two_replicas_come_together_after_logins_past_the_store() {
    walk("two, with the store away", 2, Budget { logins: 2, expiries: 1, aways: 1, ..NOTHING }, 3);
}

#[test]
fn two_replicas_come_together_when_the_counter_is_evicted() {
    walk("two, with an eviction", 2, Budget { logins: 2, expiries: 1, evictions: 1, ..NOTHING }, 3);
}

#[test]
fn three_replicas_come_together() {
    walk("three", 3, Budget { logins: 2, expiries: 1, requests: false, ..NOTHING }, 3);
}
