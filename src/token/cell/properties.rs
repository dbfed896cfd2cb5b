//! The pure state under random interleavings, beside a plain model of what it promises.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::script::version;
use super::state::{Asked, Landed, Policy, Refused, State, Steps};
use super::{AfterRefusal, Token};
use crate::model::Margin;
use crate::secret::Secret;
use crate::token::{Carried, Moment, Unavailable};
use crate::vendor::{FaultClass, FaultReason, Grant, LifetimeSource, TokenFault};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Arrive,
    /// The waiter with this index (modulo) gives up.
    GiveUp(usize),
    Use,
    /// A request that has a token is answered, by its place (modulo).
    Answered(usize),
    /// The login under way goes on to its next stage, if it may.
    Advance,
    /// The login under way takes too long.
    Overdue,
    /// The login under way ends.
    Land(End),
    /// A refusal of the current generation less this. `worked`: the vendor took it before.
    Refuse {
        less: u64,
        worked: bool,
    },
    /// A request that has a token is told that it was refused, by its place (modulo).
    Bounced(usize),
    /// Another replica is about to log in, and says so for this long.
    Hold(u64),
    /// It does not, after all.
    Release,
    /// It has: a token of this life.
    Adopt {
        life: u64,
        suspect: bool,
    },
    Pause(bool),
    Configure {
        secret: usize,
        idle: Option<u64>,
    },
}

#[derive(Clone, Debug)]
enum End {
    Token(Option<u64>),
    /// The very token that came last.
    Same(u64),
    Fault(FaultClass, Option<u64>),
    /// The store was away: nobody was asked.
    Away,
    /// Another replica had logged in.
    Other(u64),
}

fn fault(class: FaultClass, retry_after: Option<u64>) -> TokenFault {
    let retry_after = retry_after.map(Duration::from_secs);
    TokenFault { retry_after, ..TokenFault::new(class, FaultReason::Status(500)) }
}

fn class() -> impl Strategy<Value = FaultClass> {
    prop_oneof![Just(FaultClass::Transient), Just(FaultClass::Refused)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => proptest::option::of(0..200_u64).prop_map(End::Token),
        1 => (1..200_u64).prop_map(End::Same),
        3 => (class(), proptest::option::of(0..100_u64)).prop_map(|(class, wait)| End::Fault(class, wait)),
        1 => Just(End::Away),
        1 => (0..200_u64).prop_map(End::Other),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..3_000_u64).prop_map(Op::Pass),
        1 => (0..200_000_u64).prop_map(Op::Pass),
        4 => Just(Op::Arrive),
        1 => any::<usize>().prop_map(Op::GiveUp),
        3 => Just(Op::Use),
        4 => any::<usize>().prop_map(Op::Answered),
        8 => Just(Op::Advance),
        1 => Just(Op::Overdue),
        5 => end().prop_map(Op::Land),
        3 => (0..3_u64, any::<bool>()).prop_map(|(less, worked)| Op::Refuse { less, worked }),
        3 => any::<usize>().prop_map(Op::Bounced),
        1 => (1..20_000_u64).prop_map(Op::Hold),
        1 => Just(Op::Release),
        1 => (0..200_u64, any::<bool>()).prop_map(|(life, suspect)| Op::Adopt { life, suspect }),
        1 => any::<bool>().prop_map(Op::Pause),
        1 => (0..3_usize, proptest::option::of(1..100_u64)).prop_map(|(secret, idle)| Op::Configure { secret, idle }),
    ]
}

fn policy(secret: usize, idle: Option<u64>, exclusive: bool) -> Policy {
    Policy {
        secret: version(["a", "b", "c"][secret]),
        refresh_before: Margin::default(),
        lifetime: Some(Duration::from_secs(60)),
        idle_lifetime: idle.map(Duration::from_secs),
        exclusive,
        drain: Duration::from_secs(2),
        waiting: 4,
    }
}

/// How far a login is, as an onlooker sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    Begun,
    Turning,
    Closed,
    Sent,
    Overdue,
}

/// What an onlooker knows, and checks after each event.
struct Model {
    state: State,
    now: Moment,
    /// The flight under way.
    flight: Option<(u64, Stage)>,
    flights: u64,
    /// The secret with which the flight was sent.
    sent_with: usize,
    secret: usize,
    /// Whether there was a token of that secret since it came into force.
    proved: bool,
    last_token: String,
    /// Handed out at least once, by generation.
    newest: u64,
    dead: HashSet<u64>,
    waiters: Vec<u64>,
    /// Requests under way, by the generation of their token.
    guards: Vec<u64>,
    fence: u64,
    exclusive: bool,
}

impl Model {
    fn new(exclusive: bool, seed: u64) -> Self {
        Self {
            state: State::new(policy(0, None, exclusive), seed),
            now: Moment::since_boot(Duration::from_secs(1000)),
            flight: None,
            flights: 0,
            sent_with: 0,
            secret: 0,
            proved: false,
            last_token: String::new(),
            newest: 0,
            dead: HashSet::new(),
            waiters: Vec::new(),
            guards: Vec::new(),
            fence: 0,
            exclusive,
        }
    }

    fn step<R>(&mut self, event: impl FnOnce(&mut State, Moment, &mut Steps) -> R) -> R {
        let mut steps = Steps::default();
        let before = self.state.status(self.now).generation;
        self.state.settle(self.now, &mut steps);
        let result = event(&mut self.state, self.now, &mut steps);
        assert!(self.state.status(self.now).generation >= before, "generations only grow");
        if let Some(flight) = steps.fetch {
            assert!(self.flight.is_none(), "two logins at once");
            assert_eq!(flight, self.flights + 1, "logins are numbered");
            self.flights = flight;
            self.flight = Some((flight, Stage::Begun));
        }
        if let Some(served) = self.state.served()
            && served.expires.is_none_or(|end| self.now < end)
            && !self.state.status(self.now).live
        {
            panic!("a dead token is served");
        }
        if steps.wake {
            self.wake();
        }
        result
    }

    fn wake(&mut self) {
        for waited in std::mem::take(&mut self.waiters) {
            match self.step(|state, now, steps| state.ask(now, Some(waited), steps)) {
                Asked::Wait(flight) => self.waiters.push(flight),
                Asked::Token(token) => {
                    self.check(&token);
                    self.state.leave();
                }
                Asked::Unavailable(reason) => {
                    assert!(matches!(reason, Unavailable::Fault { .. }), "only a fault ends a wait: {reason}");
                    self.state.leave();
                }
            }
        }
    }

    /// A token is handed out.
    fn check(&mut self, token: &Token) {
        assert!(token.expires.is_none_or(|end| self.now < end), "a token past its end");
        assert!(token.renew.is_none_or(|renew| token.expires.is_some_and(|end| renew <= end)));
        assert!(!self.dead.contains(&token.generation), "a dead token");
        assert!(token.generation >= self.newest, "an older token than before");
        let closed = self.flight.is_some_and(|(_, stage)| matches!(stage, Stage::Closed | Stage::Sent));
        assert!(!(self.exclusive && closed), "a token that dies by the login under way");
        assert!(!self.exclusive || !self.state.is_held(), "a token that dies by another replica's login");
        self.newest = token.generation;
        self.guards.push(token.generation);
    }

    fn arrive(&mut self) {
        match self.step(|state, now, steps| state.ask(now, None, steps)) {
            Asked::Token(token) => self.check(&token),
            Asked::Wait(flight) => {
                assert!(self.waiters.len() < 4, "more wait than may");
                self.waiters.push(flight);
            }
            Asked::Unavailable(Unavailable::Crowded { .. }) => assert_eq!(self.waiters.len(), 4),
            Asked::Unavailable(Unavailable::Fault { retry_after, .. }) => {
                assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(66));
            }
            Asked::Unavailable(reason) => panic!("{reason}"),
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Pass(millis) => {
                self.now = self.now.after(Duration::from_millis(millis));
                // What the shell's timer does.
                self.step(|_, _, _| ());
            }
            Op::Arrive => self.arrive(),
            Op::GiveUp(index) => {
                if !self.waiters.is_empty() {
                    self.waiters.swap_remove(index % self.waiters.len());
                    self.state.leave();
                }
            }
            Op::Use => {
                if let Some(token) = self.step(State::take_at) {
                    self.check(&token);
                }
            }
            Op::Answered(place) => {
                if !self.guards.is_empty() {
                    self.guards.swap_remove(place % self.guards.len());
                }
            }
            Op::Advance => {
                self.advance();
            }
            Op::Overdue => {
                if let Some((number, Stage::Sent)) = self.flight {
                    self.flight = Some((number, Stage::Overdue));
                    self.step(|state, _, steps| state.overdue(number, steps));
                }
            }
            Op::Land(end) => self.land(&end),
            Op::Refuse { less, worked } => {
                let generation = self.state.status(self.now).generation.saturating_sub(less);
                self.refuse(generation, worked);
            }
            Op::Bounced(place) => {
                if !self.guards.is_empty() {
                    // Its guard goes before it asks for another token: else a closing gate would wait for it.
                    let generation = self.guards.swap_remove(place % self.guards.len());
                    self.refuse(generation, true);
                    self.arrive();
                }
            }
            Op::Hold(millis) => {
                self.fence += 1;
                let (fence, within) = (self.fence, Duration::from_millis(millis));
                self.step(|state, now, _| state.hold(now, fence, within));
            }
            Op::Release => {
                let fence = self.fence;
                self.step(|state, _, steps| state.release(fence, steps));
            }
            Op::Adopt { life, suspect } => {
                let carried = self.carried(life, suspect);
                self.step(|state, now, steps| state.adopt(now, carried, steps));
            }
            Op::Pause(paused) => self.step(|state, _, steps| state.pause(paused, steps)),
            Op::Configure { secret, idle } => {
                self.proved &= secret == self.secret;
                self.secret = secret;
                let policy = policy(secret, idle, self.exclusive);
                self.step(|state, now, steps| state.configure(now, policy, steps));
            }
        }
        self.look();
    }

    fn carried(&mut self, life: u64, suspect: bool) -> Carried {
        self.fence += 1;
        Carried {
            fence: self.fence,
            token: Secret::new(format!("token of replica's login {}", self.fence)),
            left: Duration::from_secs(life),
            life: Duration::from_secs(life),
            source: LifetimeSource::Answer,
            secret: version(["a", "b", "c"][self.secret]),
            of_refusal: false,
            suspect,
        }
    }

    /// The flight goes one stage further, as its task would take it. False where it may not yet.
    fn advance(&mut self) -> bool {
        let Some((number, stage)) = self.flight else { return false };
        let quiet = self.guards.is_empty();
        let next = match stage {
            Stage::Begun => {
                let wait = self.step(|state, now, _| state.look(now, number, quiet));
                wait.is_none().then_some(Stage::Turning)
            }
            Stage::Turning => {
                let bound = self.step(|state, now, _| state.close(now, number));
                assert!(bound.is_none_or(|bound| bound <= Duration::from_secs(2)), "longer than `drain`");
                assert!(bound.is_none() || self.exclusive, "others pay for the barrier");
                Some(Stage::Closed)
            }
            Stage::Closed => {
                let wait = self.step(|state, now, _| state.draining(now, number, quiet));
                assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(2) && !quiet));
                if wait.is_none() {
                    self.step(|state, now, _| state.sent(now, number));
                    self.sent_with = self.secret;
                }
                wait.is_none().then_some(Stage::Sent)
            }
            Stage::Sent | Stage::Overdue => None,
        };
        // A waiter that was woken may have had its say meanwhile, but never ended this flight.
        assert_eq!(self.flight, Some((number, stage)));
        if let Some(next) = next {
            self.flight = Some((number, next));
        }
        next.is_some()
    }

    fn land(&mut self, end: &End) {
        let Some((flight, stage)) = self.flight else { return };
        // A login ends when it was sent; another replica's word comes before that.
        let other = matches!(end, End::Away | End::Other(_));
        if if other { stage != Stage::Turning } else { stage < Stage::Sent } {
            return;
        }
        if matches!(end, End::Away) && !self.state.status(self.now).live {
            return; // then the replica logs in for itself
        }
        self.flight = None;
        let before = self.state.status(self.now).generation;
        let granted = |token: String, life: Option<u64>| {
            let lifetime = life.map(|life| (Duration::from_secs(life), LifetimeSource::Answer));
            Ok(Landed::Granted { grant: Grant::new(Secret::new(token), lifetime), fence: 0, suspect: false })
        };
        let outcome = match end {
            End::Token(life) => {
                self.last_token = format!("token of {flight}");
                granted(self.last_token.clone(), *life)
            }
            End::Same(life) => granted(self.last_token.clone(), Some(*life)),
            End::Fault(class, retry_after) => Err(fault(*class, *retry_after)),
            End::Away => Err(TokenFault::new(FaultClass::Transient, FaultReason::StoreAway)),
            End::Other(life) => Ok(Landed::Carried(self.carried(*life, false))),
        };
        let failed = outcome.is_err();
        let secret = if other { self.secret } else { self.sent_with };
        self.step(|state, now, steps| state.landed(now, flight, outcome, steps));
        let after = self.state.status(self.now).generation;
        assert!(after == before || !failed, "a failed login makes no generation");
        if after > before {
            assert!(secret == self.secret || !self.proved, "a token got with the old secret after the new one's");
            self.proved |= secret == self.secret;
        }
        // An event of a flight that is over changes nothing.
        self.step(|state, now, steps| state.landed(now, flight, Err(fault(FaultClass::Refused, None)), steps));
        // A changed secret is tried when the login with the old one is over.
        let live = self.state.status(self.now).live;
        assert!(secret == self.secret || live || self.flight.is_some());
        assert!(secret == self.secret || after == before || self.flight.is_some());
    }

    fn refuse(&mut self, generation: u64, worked: bool) {
        let status = self.state.status(self.now);
        let (current, live, flights) = (generation == status.generation, status.live, self.flights);
        let refused = Refused { generation, again: false, worked, taken_since: Some(false) };
        match self.step(|state, now, steps| state.refused(now, refused, steps)) {
            AfterRefusal::Pass => {
                assert!(live && current, "only the live current token's refusal passes");
                assert_eq!(self.flights, flights, "and costs no login");
                assert!(self.state.status(self.now).live, "and it stays");
            }
            AfterRefusal::Unsure => panic!("it was waited for what others show"),
            AfterRefusal::Again if current && live => {
                self.dead.insert(generation);
            }
            AfterRefusal::Again => assert_eq!(self.flights, flights, "an old refusal costs no login"),
        }
    }

    /// What holds at any time.
    fn look(&mut self) {
        let status = self.state.status(self.now);
        if !status.live {
            self.dead.insert(status.generation); // whatever killed it, nothing raises it
        }
        assert_eq!(status.waiting as usize, self.waiters.len(), "a seat is lost");
        assert!(self.waiters.is_empty() || self.flight.is_some() || self.state.is_held(), "a waiter waits for nothing");
        if let Some(served) = self.state.served() {
            assert_eq!(served.generation, status.generation);
        }
        assert!(self.exclusive || !self.state.is_closed(), "a gate where none is needed");
        assert!(self.exclusive || status.disturbances == 0);
    }

    /// Nothing goes wrong any more: every login succeeds, but no request under way is ever answered.
    fn be_well(&mut self) {
        self.run(Op::Pause(false));
        for _ in 0..100 {
            if self.advance() {
                continue;
            }
            match self.flight {
                Some((_, Stage::Sent | Stage::Overdue)) => self.run(Op::Land(End::Token(Some(100)))),
                // Long lives are looked at for long; then there is a time for everything.
                _ => self.run(Op::Pass(1_000)),
            }
            if self.waiters.is_empty() && self.flight.is_none() {
                return;
            }
        }
        panic!("{} requests wait and wait; flight {:?}", self.waiters.len(), self.flight);
    }
}

impl State {
    /// [`State::take`] in the order that [`Model::step`] passes.
    fn take_at(&mut self, now: Moment, steps: &mut Steps) -> Option<std::sync::Arc<Token>> {
        self.take(now, steps)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_breaks_a_promise(
        ops in proptest::collection::vec(op(), 1..120),
        exclusive in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut model = Model::new(exclusive, seed);
        for op in ops {
            model.run(op);
        }
        // Whatever happened: once the vendor is well, a request gets a token, whoever hangs.
        model.be_well();
        model.run(Op::Pass(66_001));
        model.run(Op::Arrive);
        model.be_well();
        prop_assert!(model.waiters.is_empty() && model.state.status(model.now).live);
    }
}

/// Logins begun while one asks every 10 ms and each login fails after `took`, as `class` says.
fn logins(seed: u64, seconds: u64, took: u64, mut class: impl FnMut(u64) -> FaultClass) -> u64 {
    let mut state = State::new(policy(0, None, false), seed);
    let (mut flight, mut flights) = (None, 0);
    for tick in 0..seconds * 100 {
        let now = Moment::since_boot(Duration::from_millis(10 * tick));
        if let Some((number, begun)) = flight
            && tick * 10 >= begun + took
        {
            flight = None;
            state.sent(now, number);
            state.landed(now, number, Err(fault(class(number), None)), &mut Steps::default());
        }
        let mut steps = Steps::default();
        if let Asked::Wait(_) = state.ask(now, None, &mut steps) {
            state.leave();
        }
        if let Some(number) = steps.fetch {
            flight = Some((number, tick * 10));
            flights += 1;
        }
    }
    flights
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logins_are_bounded_in_any_pattern_of_failures(
        seed in any::<u64>(),
        took in 0..300_u64,
        classes in proptest::collection::vec(class(), 50),
    ) {
        let mixed = |number: u64| classes[usize::try_from(number).unwrap() % classes.len()];
        prop_assert!(logins(seed, 5, took, |_| FaultClass::Transient) <= 12);
        prop_assert!(logins(seed, 5, took, mixed) <= 12);
        prop_assert!(logins(seed, 5, took, |_| FaultClass::Refused) <= 2);
        prop_assert!(logins(seed, 600, took, |_| FaultClass::Refused) <= 15);
    }
}

#[test]
fn a_waiter_that_wakes_late_is_told_of_the_fault_that_it_waited_for() {
    let mut state = State::new(policy(0, None, false), 1);
    let (mut steps, mut now) = (Steps::default(), Moment::BOOT);
    let Asked::Wait(flight) = state.ask(now, None, &mut steps) else { panic!("a cold cell") };
    state.landed(now, flight, Err(fault(FaultClass::Transient, None)), &mut steps);
    now = now.after(Duration::from_secs(10)); // the back-off is over
    let mut steps = Steps::default();
    let told = state.ask(now, Some(flight), &mut steps);
    assert!(matches!(told, Asked::Unavailable(Unavailable::Fault { .. })), "{told:?}");
    assert_eq!(steps.fetch, None);
}
