//! What a cell knows and decides: a value that is told what happened and when, and answers with
//! what is to be done. It does no I/O, reads no clock and waits for nothing, so that every
//! interleaving can be tried.
//!
//! Here are the requests that ask and the reload; `held` is the token in hand, `flight` a login from
//! its beginning to its end, `order` a login that no request asks for,
//! `refusal` what a refused token leads to, `shared` what other replicas
//! and another process have a say in.

mod flight;
mod held;
mod order;
mod refusal;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use self::flight::Flight;
pub(super) use self::flight::Landed;
use self::held::Held;
pub(super) use self::order::Ordered;
pub(super) use self::refusal::Refused;
use self::shared::Hold;
use super::backoff::Backoff;
use super::event::Event;
use super::{CellSettings, CellState, CellStatus, Token, TokenCounts};
use crate::model::Margin;
use crate::token::{Moment, SecretVersion, Unavailable};
use crate::vendor::{FaultClass, TokenFault};

/// When to come again after a wait in vain: a login is under way and may be done by then.
pub(in crate::token) const COME_AGAIN: Duration = Duration::from_secs(1);

/// What a cell goes by; changes with a reload.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) secret: SecretVersion,
    pub(super) refresh_before: Margin,
    pub(super) lifetime: Option<Duration>,
    pub(super) idle_lifetime: Option<Duration>,
    pub(super) exclusive: bool,
    pub(super) drain: Duration,
    pub(super) waiting: u32,
}

impl From<&CellSettings> for Policy {
    fn from(settings: &CellSettings) -> Self {
        Self {
            secret: settings.secret,
            refresh_before: settings.refresh_before,
            lifetime: settings.lifetime,
            // Others use a shared token too, so that nobody here knows when it was not used: the vendor
            // says so, by a refusal.
            idle_lifetime: settings.idle_lifetime.filter(|_| settings.share.is_none()),
            exclusive: settings.exclusive,
            drain: settings.drain,
            waiting: settings.waiting,
        }
    }
}

/// What is to be done after an event.
#[derive(Default, Debug)]
pub(super) struct Steps {
    /// Send this flight off.
    pub(super) fetch: Option<u64>,
    /// Let those that wait ask again.
    pub(super) wake: bool,
    /// Let the flight under way look again at once.
    pub(super) nudge: bool,
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

/// The state of one credential's token.
#[derive(Debug)]
pub(super) struct State {
    policy: Policy,
    rng: fastrand::Rng,
    held: Option<Held>,
    /// Of the latest token; 0 before the first.
    generation: u64,
    /// The greatest number of a login that a store gave; 0 without one.
    fence: u64,
    /// At most one login is under way, ever: also when the secret changes, since of two logins to
    /// an exclusive credential the one that the vendor hears last kills the other's token.
    flight: Option<Flight>,
    /// Flights begun; the number of the latest.
    flights: u64,
    /// Logins that were sent.
    logins: u64,
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
    /// Secrets that were in force once: what was got with them is to be replaced.
    former: Vec<SecretVersion>,
    /// No login is begun, since another process is about to take over.
    paused: bool,
    /// Another replica is about to log in.
    hold: Option<Hold>,
    /// The last login that was made without asking the store, which was away.
    alone: Option<Moment>,
    /// The log was told that logins are made without the store.
    told_alone: bool,
    /// No renewal before this moment: the store was away.
    away: Moment,
    /// Tokens in a row that worked and were then refused before their end (exclusive ones only).
    disturbed: u32,
    /// All such tokens.
    disturbances: u64,
    /// What became of logins and tokens.
    counts: TokenCounts,
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
            former: Vec::new(),
            paused: false,
            hold: None,
            alone: None,
            told_alone: false,
            away: Moment::BOOT,
            disturbed: 0,
            disturbances: 0,
            fence: 0,
            logins: 0,
            counts: TokenCounts::default(),
        }
    }

    /// A request wants a token. `waited` is the flight that it has waited for, if it has a seat.
    pub(super) fn ask(&mut self, now: Moment, waited: Option<u64>, steps: &mut Steps) -> Asked {
        if let Some(token) = self.take(now, steps) {
            return Asked::Token(token);
        }
        // It waited for a login, and that failed: it is told so, rather than left to try its luck with
        // one login after the other. One that is under way already, since the token that was left was
        // refused, is another matter.
        if let Some(fault) = &self.fault
            && waited.is_some_and(|flight| flight <= self.failed)
            && self.flight.is_none()
        {
            return self.backing_off(now, fault);
        }
        if waited.is_none() && self.waiting >= self.policy.waiting.max(1) {
            return Asked::Unavailable(Unavailable::Crowded { retry_after: COME_AGAIN });
        }
        let flight = match (&self.flight, &self.fault) {
            (Some(flight), _) => flight.number,
            // Another replica logs in: what it says next will end this wait.
            (None, _) if self.hold.is_some() => self.flights + 1,
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
        if self.is_closed() {
            return None;
        }
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
        if self.flight.is_some() || self.hold.is_some() {
            return None;
        }
        let held = self.held.as_ref().filter(|held| held.dead.is_none())?;
        // A secret that has not proved itself is tried again and again, as the back-off allows.
        let due = if self.is_former(held) { Moment::BOOT } else { held.token.renew? };
        Some(due.max(self.backoff.until()).max(self.away))
    }

    /// The token that may be handed out without asking, until its end.
    pub(super) fn served(&self) -> Option<&Arc<Token>> {
        self.held.as_ref().filter(|held| held.dead.is_none() && !self.is_closed()).map(|held| &held.token)
    }

    /// Whether requests have to wait although there may be a live token: it is about to die by a login
    /// that is being made, here or at another replica.
    pub(super) fn is_closed(&self) -> bool {
        self.policy.exclusive && (self.hold.is_some() || self.flight.as_ref().is_some_and(Flight::closes))
    }

    /// A reload brought these settings. What they say of a token's life and margin holds for the
    /// next one.
    pub(super) fn configure(&mut self, now: Moment, policy: Policy, steps: &mut Steps) {
        if self.policy.idle_lifetime.is_none() {
            self.last_used = now;
        }
        let before = std::mem::replace(&mut self.policy, policy);
        self.settle(now, steps);
        // What closed the gate may hold no longer.
        (steps.wake, steps.nudge) = (true, true);
        if before.secret == self.policy.secret {
            return;
        }
        self.former.retain(|former| *former != self.policy.secret);
        if !self.former.contains(&before.secret) {
            self.former.push(before.secret);
        }
        self.backoff.reset();
        self.told = None;
        self.newborn = 0;
        steps.events.push(Event::SecretChanged { generation: self.generation });
        // Asleep: the first use will try it. A login under way: when it ends, the new one begins.
        if self.flights == 0 || self.flight.is_some() {
            self.hurry();
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

    /// Whether the cell was ever used.
    pub(super) fn is_awake(&self) -> bool {
        self.flights > 0 || self.held.is_some() || self.waiting > 0
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
            suspect: live.is_some_and(|held| held.suspect),
            disturbed: self.is_disturbed(),
            disturbances: self.disturbances,
            fence: self.held.as_ref().map_or(0, |held| held.fence),
            skew: self.held.as_ref().and_then(|held| held.token.skew),
            generation: self.generation,
            expires_in: live.and_then(|held| held.token.expires).map(|end| now.until(end)),
            lifetime: live.and_then(|held| held.life),
            lifetime_source: self.held.as_ref().map(|held| held.token.source),
            live: live.is_some(),
            fault: self.fault.clone(),
            retry_after: Some(now.until(self.backoff.until())).filter(|wait| !wait.is_zero()),
            waiting: self.waiting,
            fetches: self.logins,
            counts: self.counts,
        }
    }

    fn live(&self, now: Moment) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.dead.is_none() && held.token.expires.is_none_or(|end| now < end))
    }

    /// Whether the live token was got with the secret in force.
    fn is_proved(&self, now: Moment) -> bool {
        self.live(now).is_some_and(|held| !self.is_former(held))
    }

    fn is_former(&self, held: &Held) -> bool {
        self.former.contains(&held.secret)
    }

    fn is_idle(&self, held: &Held, now: Moment) -> bool {
        self.policy.idle_lifetime.is_some_and(|idle| self.last_used.max(held.born).until(now) >= idle)
    }

    /// Before each event: a token that died of idleness stays dead, and no hold outlasts its time.
    pub(super) fn settle(&mut self, now: Moment, steps: &mut Steps) {
        let idled = self.held.as_ref().is_some_and(|held| self.is_idle(held, now));
        if let Some(held) = &mut self.held {
            held.dead = held.dead.or(idled.then_some(held::Death::Idle));
        }
        self.end_hold(now, steps);
    }

    fn backing_off(&self, now: Moment, fault: &TokenFault) -> Asked {
        let retry_after = now.until(self.backoff.until());
        Asked::Unavailable(Unavailable::Fault { fault: fault.clone(), retry_after })
    }
}
