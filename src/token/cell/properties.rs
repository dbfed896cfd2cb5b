//! The pure state under random interleavings, beside a plain model of what it promises.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::script::version;
use super::state::{Asked, Policy, State, Steps};
use super::{AfterRefusal, Token};
use crate::model::Margin;
use crate::secret::Secret;
use crate::token::{Moment, Unavailable};
use crate::vendor::{FaultClass, FaultReason, Grant, LifetimeSource, TokenFault};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Arrive,
    /// The waiter with this index (modulo) gives up.
    GiveUp(usize),
    Use,
    /// The login under way ends.
    Land(End),
    /// A refusal of the current generation less this.
    Refuse(u64),
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
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..3_000_u64).prop_map(Op::Pass),
        1 => (0..200_000_u64).prop_map(Op::Pass),
        4 => Just(Op::Arrive),
        1 => any::<usize>().prop_map(Op::GiveUp),
        3 => Just(Op::Use),
        5 => end().prop_map(Op::Land),
        3 => (0..3_u64).prop_map(Op::Refuse),
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
        waiting: 4,
    }
}

/// What an onlooker knows, and checks after each event.
struct Model {
    state: State,
    now: Moment,
    /// The login under way and the secret it began with.
    flight: Option<(u64, usize)>,
    flights: u64,
    secret: usize,
    /// Whether there was a token of that secret since it came into force.
    proved: bool,
    last_token: String,
    /// Handed out at least once, by generation.
    newest: u64,
    dead: HashSet<u64>,
    waiters: Vec<u64>,
    exclusive: bool,
}

impl Model {
    fn new(exclusive: bool, seed: u64) -> Self {
        Self {
            state: State::new(policy(0, None, exclusive), seed),
            now: Moment::since_boot(Duration::from_secs(1000)),
            flight: None,
            flights: 0,
            secret: 0,
            proved: false,
            last_token: String::new(),
            newest: 0,
            dead: HashSet::new(),
            waiters: Vec::new(),
            exclusive,
        }
    }

    fn step<R>(&mut self, event: impl FnOnce(&mut State, Moment, &mut Steps) -> R) -> R {
        let mut steps = Steps::default();
        let result = event(&mut self.state, self.now, &mut steps);
        if let Some(flight) = steps.fetch {
            assert!(self.flight.is_none(), "two logins at once");
            assert_eq!(flight, self.flights + 1, "logins are numbered");
            self.flights = flight;
            self.flight = Some((flight, self.secret));
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

    fn check(&mut self, token: &Token) {
        assert!(token.expires.is_none_or(|end| self.now < end), "a token past its end");
        assert!(token.renew.is_none_or(|renew| token.expires.is_some_and(|end| renew <= end)));
        assert!(!self.dead.contains(&token.generation), "a dead token");
        assert!(token.generation >= self.newest, "an older token than before");
        self.newest = token.generation;
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Pass(millis) => self.now = self.now.after(Duration::from_millis(millis)),
            Op::Arrive => match self.step(|state, now, steps| state.ask(now, None, steps)) {
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
            },
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
            Op::Land(end) => self.land(&end),
            Op::Refuse(less) => self.refuse(less),
            Op::Configure { secret, idle } => {
                self.proved &= secret == self.secret;
                self.secret = secret;
                let policy = policy(secret, idle, self.exclusive);
                self.step(|state, now, steps| state.configure(now, policy, steps));
            }
        }
        self.look();
    }

    fn land(&mut self, end: &End) {
        let Some((flight, secret)) = self.flight.take() else { return };
        let before = self.state.status(self.now).generation;
        let outcome = match end {
            End::Token(life) => Ok((format!("token of {flight}"), *life)),
            End::Same(life) => Ok((self.last_token.clone(), Some(*life))),
            End::Fault(class, retry_after) => Err(fault(*class, *retry_after)),
        };
        let outcome = outcome.map(|(token, life)| {
            self.last_token.clone_from(&token);
            let lifetime = life.map(|life| (Duration::from_secs(life), LifetimeSource::Answer));
            Grant::new(Secret::new(token), lifetime)
        });
        let failed = outcome.is_err();
        self.step(|state, now, steps| state.landed(now, flight, outcome, steps));
        let after = self.state.status(self.now).generation;
        assert!(after == before || (after == before + 1 && !failed), "generations grow by one");
        if after > before {
            assert!(secret == self.secret || !self.proved, "a token got with the old secret after the new one's");
            self.proved |= secret == self.secret;
        }
        // An event of a flight that is over changes nothing.
        self.step(|state, now, steps| state.landed(now, flight, Err(fault(FaultClass::Refused, None)), steps));
        // A changed secret is tried when the login with the old one is over.
        let live = self.state.status(self.now).live;
        assert!(secret == self.secret || live || self.flight.is_some_and(|(_, with)| with == self.secret));
        assert!(secret == self.secret || after == before || self.flight.is_some());
    }

    fn refuse(&mut self, less: u64) {
        let generation = self.state.status(self.now).generation.saturating_sub(less);
        let (live, flights) = (self.state.status(self.now).live, self.flights);
        match self.step(|state, now, steps| state.refused(now, generation, false, steps)) {
            AfterRefusal::Pass => {
                assert!(live && less == 0, "only the live current token's refusal passes");
                assert_eq!(self.flights, flights, "and costs no login");
                assert!(self.state.status(self.now).live, "and it stays");
            }
            AfterRefusal::Again if less == 0 && live => {
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
        assert!(self.waiters.is_empty() || self.flight.is_some(), "a waiter waits for nothing");
        assert!(self.waiters.iter().all(|flight| self.flight.is_some_and(|(number, _)| number == *flight)));
        if let Some(served) = self.state.served() {
            assert_eq!(served.generation, status.generation);
        }
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
        // Whatever happened: once the vendor is well, a request gets a token.
        if let Some(end) = model.flight.map(|_| End::Token(Some(100))) {
            model.run(Op::Land(end));
        }
        if model.flight.is_some() {
            model.run(Op::Land(End::Token(Some(100))));
        }
        prop_assert!(model.waiters.is_empty());
        model.run(Op::Pass(66_001));
        model.run(Op::Arrive);
        model.run(Op::Land(End::Token(Some(100))));
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
