//! What a cell knows and decides: a value that is told what happened and when, and answers with
//! what is to be done. It does no I/O, reads no clock and waits for nothing, so that every
//! interleaving can be tried.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::{Backoff, doubled};
use super::event::{Event, Outcome};
use super::life::{lifetime, renewal};
use super::{AfterRefusal, CellSettings, CellState, CellStatus, Token};
use crate::model::Margin;
use crate::token::{Moment, SecretVersion, Unavailable};
use crate::vendor::{FaultClass, FaultReason, Grant, TokenFault};

/// A token born of a refusal and refused again within this time is not replaced: another login
/// would not help, and a storm of refusals must not become a storm of logins.
const NEWBORN_FIRST: Duration = Duration::from_secs(5);
/// That time doubles up to this while tokens born of refusals keep being refused.
const NEWBORN_LONGEST: Duration = Duration::from_secs(60);
/// When to come again after a wait in vain: a login is under way and may be done by then.
pub(super) const COME_AGAIN: Duration = Duration::from_secs(1);

/// What a cell goes by; changes with a reload.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) secret: SecretVersion,
    pub(super) refresh_before: Margin,
    pub(super) lifetime: Option<Duration>,
    pub(super) idle_lifetime: Option<Duration>,
    pub(super) exclusive: bool,
    pub(super) waiting: u32,
}

impl From<&CellSettings> for Policy {
    fn from(settings: &CellSettings) -> Self {
        Self {
            secret: settings.secret,
            refresh_before: settings.refresh_before,
            lifetime: settings.lifetime,
            idle_lifetime: settings.idle_lifetime,
            exclusive: settings.exclusive,
            waiting: settings.waiting,
        }
    }
}

/// What is to be done after an event.
#[derive(Default, Debug)]
pub(super) struct Steps {
    /// Send this flight off, with the secret in force.
    pub(super) fetch: Option<u64>,
    /// Let those that wait ask again.
    pub(super) wake: bool,
    /// Write these to the log.
    pub(super) events: Vec<Event>,
}

/// The answer to a request that asks for a token.
#[derive(Debug)]
pub(super) enum Asked {
    /// Here it is.
    Token(Arc<Token>),
    /// Ask again when woken; this flight is waited for. A seat is taken.
    Wait(u64),
    /// None is to be had. A seat that was taken is still to be left.
    Unavailable(Unavailable),
}

/// The latest token and what is known of it beyond itself.
#[derive(Debug)]
struct Held {
    token: Arc<Token>,
    /// The secret it was got with.
    secret: SecretVersion,
    /// When it arrived.
    born: Moment,
    /// Dead before its end, and nothing raises it.
    dead: Option<Death>,
    /// It came in place of a refused one, or of one that was refused and stayed.
    of_refusal: bool,
    /// It was refused and stayed.
    doubted: bool,
    /// A login whose answer was lost may have killed it (exclusive credentials only).
    suspect: bool,
}

/// What a token died of before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    /// The vendor refused it.
    Refused,
    /// It was not used for the idle lifetime.
    Idle,
}

/// A login under way.
#[derive(Debug)]
struct Flight {
    number: u64,
    /// Before its request was sent: what its token's life counts from.
    begun: Moment,
    secret: SecretVersion,
    of_refusal: bool,
}

/// The state of one credential's token.
#[derive(Debug)]
pub(super) struct State {
    policy: Policy,
    rng: fastrand::Rng,
    held: Option<Held>,
    /// Of the latest token; 0 before the first.
    generation: u64,
    /// At most one login is under way, ever: also when the secret changes, since of two logins to
    /// an exclusive credential the one that the vendor hears last kills the other's token.
    flight: Option<Flight>,
    /// Logins begun; the number of the latest.
    flights: u64,
    /// The latest login that failed with the secret that was in force.
    failed: u64,
    fault: Option<TokenFault>,
    /// The class of fault that the log was told of, until a success.
    told: Option<FaultClass>,
    backoff: Backoff,
    /// How often the newborn time was doubled.
    newborn: u32,
    /// The time that the slowest recent login took.
    slowest: Duration,
    waiting: u32,
    /// When a token was last handed out; kept only with an idle lifetime.
    last_used: Moment,
}

impl State {
    pub(super) fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            rng: fastrand::Rng::with_seed(seed),
            held: None,
            generation: 0,
            flight: None,
            flights: 0,
            failed: 0,
            fault: None,
            told: None,
            backoff: Backoff::new(),
            newborn: 0,
            slowest: Duration::ZERO,
            waiting: 0,
            last_used: Moment::BOOT,
        }
    }

    /// A request wants a token. `waited` is the flight that it has waited for, if it has a seat.
    pub(super) fn ask(&mut self, now: Moment, waited: Option<u64>, steps: &mut Steps) -> Asked {
        if let Some(token) = self.take(now, steps) {
            return Asked::Token(token);
        }
        // It waited for a login, and that failed: it is told so, rather than left to try its luck with
        // one login after the other.
        if let Some(fault) = &self.fault
            && waited.is_some_and(|flight| flight <= self.failed)
        {
            return self.backing_off(now, fault);
        }
        if waited.is_none() && self.waiting >= self.policy.waiting.max(1) {
            return Asked::Unavailable(Unavailable::Crowded { retry_after: COME_AGAIN });
        }
        let flight = match (&self.flight, &self.fault) {
            (Some(flight), _) => flight.number,
            (None, Some(fault)) if now < self.backoff.until() => return self.backing_off(now, fault),
            (None, _) => self.begin(now, steps),
        };
        if waited.is_none() {
            self.waiting += 1;
        }
        Asked::Wait(flight)
    }

    /// A request that had a seat goes, however it ended.
    pub(super) fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The token if it may be used now. A use in its last stretch begins the renewal.
    pub(super) fn take(&mut self, now: Moment, steps: &mut Steps) -> Option<Arc<Token>> {
        self.settle(now);
        let token = self.live(now).map(|held| Arc::clone(&held.token))?;
        self.last_used = now;
        if self.attention().is_some_and(|due| now >= due) {
            self.begin(now, steps);
        }
        Some(token)
    }

    /// When a use of the token in force must come by [`State::take`], since there is something to
    /// begin; `None` while there is not.
    pub(super) fn attention(&self) -> Option<Moment> {
        if self.flight.is_some() {
            return None;
        }
        let held = self.held.as_ref().filter(|held| held.dead.is_none())?;
        // A secret that has not proved itself is tried again and again, as the back-off allows.
        let due = if held.secret == self.policy.secret { held.token.renew? } else { Moment::BOOT };
        Some(due.max(self.backoff.until()))
    }

    /// The token that may be handed out without asking, until its end.
    pub(super) fn served(&self) -> Option<&Arc<Token>> {
        self.held.as_ref().filter(|held| held.dead.is_none()).map(|held| &held.token)
    }

    /// A login ended.
    pub(super) fn landed(&mut self, now: Moment, number: u64, outcome: Result<Grant, TokenFault>, steps: &mut Steps) {
        let Some(flight) = self.flight.take_if(|flight| flight.number == number) else { return };
        self.settle(now);
        steps.wake = true;
        let current = flight.secret == self.policy.secret;
        match outcome.and_then(|grant| self.accept(now, &flight, grant, steps)) {
            Ok(()) => {}
            Err(fault) => {
                self.suspect(&fault);
                if current {
                    self.fail(now, &flight, fault, steps);
                } else {
                    steps.events.push(Event::Superseded { generation: self.generation, fault });
                }
            }
        }
        // The secret changed while this login was under way; those that wait now wait for the new
        // one's. What the old one brought serves until then: it may have killed what was there.
        if !current && !self.is_proved(now) {
            self.begin(now, steps);
        }
    }

    /// The vendor refused the token of this generation. `again`: to a request for which it was
    /// replaced already.
    pub(super) fn refused(&mut self, now: Moment, generation: u64, again: bool, steps: &mut Steps) -> AfterRefusal {
        self.settle(now);
        let newborn = doubled(NEWBORN_FIRST, self.newborn, NEWBORN_LONGEST);
        // An older one, or one that is dead already: whoever asks next gets another.
        if generation != self.generation || self.live(now).is_none() {
            return AfterRefusal::Again;
        }
        let Some(held) = &mut self.held else { return AfterRefusal::Again };
        // Only a token that is written in the configuration lives for ever; a login would bring
        // the same one again, unless another secret is waiting to be tried.
        let fixed = held.token.expires.is_none() && held.secret == self.policy.secret;
        let young = !held.suspect && (again || held.of_refusal && now < held.born.after(newborn));
        if fixed || young {
            if !std::mem::replace(&mut held.doubted, true) {
                steps.events.push(Event::Refused { generation, passes: true });
            }
            return AfterRefusal::Pass;
        }
        self.newborn = if held.of_refusal && held.doubted { self.newborn.saturating_add(1).min(8) } else { 0 };
        held.dead = Some(Death::Refused);
        steps.events.push(Event::Refused { generation, passes: false });
        if self.flight.is_none() && now >= self.backoff.until() {
            self.begin(now, steps);
        }
        AfterRefusal::Again
    }

    /// A reload brought these settings. What they say of a token's life and margin holds for the
    /// next one.
    pub(super) fn configure(&mut self, now: Moment, policy: Policy, steps: &mut Steps) {
        self.settle(now);
        if self.policy.idle_lifetime.is_none() {
            self.last_used = now;
        }
        let changed = policy.secret != self.policy.secret;
        self.policy = policy;
        self.settle(now);
        if !changed {
            return;
        }
        self.backoff.reset();
        self.told = None;
        self.newborn = 0;
        steps.events.push(Event::SecretChanged { generation: self.generation });
        // Asleep: the first use will try it. A login under way: when it ends, the new one begins.
        if self.flights == 0 || self.flight.is_some() {
            return;
        }
        // Back to the secret that the token in hand was got with, before the other proved itself.
        if self.is_proved(now) {
            self.fault = None;
            return;
        }
        self.begin(now, steps);
    }

    /// A token was last handed out then, as the warm path saw it.
    pub(super) fn note_use(&mut self, at: Moment) {
        self.last_used = self.last_used.max(at);
    }

    /// When a token was last handed out.
    pub(super) fn last_used(&self) -> Moment {
        self.last_used
    }

    /// What there is to tell.
    pub(super) fn status(&self, now: Moment) -> CellStatus {
        let live = self.live(now).filter(|held| !self.is_idle(held, now));
        let state = match (live, &self.flight, &self.fault) {
            (Some(_), Some(_), _) => CellState::Renewing,
            (None, Some(_), _) => CellState::Fetching,
            (_, None, Some(_)) => CellState::Failing,
            (Some(_), None, None) => CellState::Live,
            (None, None, None) => CellState::Asleep,
        };
        CellStatus {
            state,
            generation: self.generation,
            expires_in: live.and_then(|held| held.token.expires).map(|end| now.until(end)),
            lifetime_source: self.held.as_ref().map(|held| held.token.source),
            live: live.is_some(),
            fault: self.fault.clone(),
            retry_after: Some(now.until(self.backoff.until())).filter(|wait| !wait.is_zero()),
            waiting: self.waiting,
            fetches: self.flights,
        }
    }

    fn live(&self, now: Moment) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.dead.is_none() && held.token.expires.is_none_or(|end| now < end))
    }

    /// Whether the live token was got with the secret in force.
    fn is_proved(&self, now: Moment) -> bool {
        self.live(now).is_some_and(|held| held.secret == self.policy.secret)
    }

    fn is_idle(&self, held: &Held, now: Moment) -> bool {
        self.policy.idle_lifetime.is_some_and(|idle| self.last_used.max(held.born).until(now) >= idle)
    }

    /// Sees to it that a token that died of idleness stays dead.
    fn settle(&mut self, now: Moment) {
        let idled = self.held.as_ref().is_some_and(|held| self.is_idle(held, now));
        if let Some(held) = &mut self.held {
            held.dead = held.dead.or(idled.then_some(Death::Idle));
        }
    }

    fn begin(&mut self, now: Moment, steps: &mut Steps) -> u64 {
        self.flights += 1;
        let of_refusal = self.held.as_ref().is_some_and(Held::was_refused);
        self.flight = Some(Flight { number: self.flights, begun: now, secret: self.policy.secret, of_refusal });
        steps.fetch = Some(self.flights);
        self.flights
    }

    fn accept(&mut self, now: Moment, flight: &Flight, grant: Grant, steps: &mut Steps) -> Result<(), TokenFault> {
        let (life, source) = lifetime(&grant, self.policy.lifetime);
        let expires = life.map(|life| flight.begun.after(life));
        if expires.is_some_and(|end| now >= end) {
            // As good as no answer. Counted as a fault, or each request would make a login.
            let code = Some("the token's life was over when it arrived".to_owned());
            return Err(TokenFault { code, ..TokenFault::new(FaultClass::Transient, FaultReason::Timeout) });
        }
        // Half of what was slow before: one bad login does not enlarge the margin for good.
        self.slowest = flight.begun.until(now).max(self.slowest / 2);
        let renew =
            life.and_then(|life| renewal(flight.begun, life, self.policy.refresh_before, self.slowest, &mut self.rng));
        let previous = self.held.take();
        // Some vendors give the same token until its end, whatever became of it: then nothing was
        // replaced, and its next refusal passes like any newborn's.
        let same = previous.as_ref().is_some_and(|held| held.was_refused() && held.token.secret == grant.token);
        let inherited = previous.as_ref().is_some_and(|held| held.doubted && !held.was_refused());
        let outcome = match &previous {
            _ if self.fault.is_some() => Outcome::Recovered,
            None => Outcome::Obtained,
            Some(held) if held.was_refused() => Outcome::Replaced,
            Some(_) => Outcome::Renewed,
        };
        self.generation += 1;
        let (generation, expires_in) = (self.generation, expires.map(|end| now.until(end)));
        self.held = Some(Held {
            token: Arc::new(Token { generation, secret: grant.token, expires, renew, source }),
            secret: flight.secret,
            born: now,
            dead: None,
            // Where the one before was refused and stayed, its mere renewal is not known to mend it.
            of_refusal: flight.of_refusal || same || inherited,
            doubted: false,
            suspect: false,
        });
        self.last_used = now;
        self.fault = None;
        self.told = None;
        self.backoff.reset();
        steps.events.push(Event::Token { outcome, generation, expires_in, source });
        Ok(())
    }

    /// Whether the vendor heard the request is not known of a transient fault. If it did, an
    /// exclusive token is dead: its refusal is then no sign that logging in does not help.
    fn suspect(&mut self, fault: &TokenFault) {
        if let Some(held) = &mut self.held {
            held.suspect |= self.policy.exclusive && fault.class == FaultClass::Transient;
        }
    }

    fn fail(&mut self, now: Moment, flight: &Flight, fault: TokenFault, steps: &mut Steps) {
        self.failed = flight.number;
        let retry_after = self.backoff.failed(now, &fault, &mut self.rng);
        let news = self.told.replace(fault.class) != Some(fault.class);
        steps.events.push(Event::Failed { generation: self.generation, fault: fault.clone(), retry_after, news });
        self.fault = Some(fault);
    }

    fn backing_off(&self, now: Moment, fault: &TokenFault) -> Asked {
        let retry_after = now.until(self.backoff.until());
        Asked::Unavailable(Unavailable::Fault { fault: fault.clone(), retry_after })
    }
}

impl Held {
    fn was_refused(&self) -> bool {
        self.dead == Some(Death::Refused)
    }
}
