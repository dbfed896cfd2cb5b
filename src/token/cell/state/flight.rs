//! A login, from its beginning to its end.
//!
//! It goes through stages. *Looking*: an exclusive token lives, and a moment without requests under
//! way is looked for, with the gate open. *Turning*: it is found out whether the login is this
//! replica's to make. *Draining*: the gate is closed, and requests under way are let finish. *Sent*:
//! the vendor may hear it any moment. *Overdue*: it takes so long that the vendor may be away, and the
//! gate is open again. Where no exclusive token lives, the stages but *Sent* pass at once.

use std::time::Duration;

use super::held::{Held, Incoming};
use super::{State, Steps};
use crate::token::cell::event::Event;
use crate::token::cell::life::{closing, drain, lifetime, patience};
use crate::token::{Carried, Moment, SecretVersion};
use crate::vendor::{FaultClass, FaultReason, Grant, TokenFault};

/// A store that was away is not asked for a renewal again before this; the token in hand serves.
const AWAY: Duration = Duration::from_secs(1);

/// A login under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    /// Before its request was sent: what its token's life counts from.
    begun: Moment,
    secret: SecretVersion,
    of_refusal: bool,
    /// Not looked further before this moment.
    earliest: Moment,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Until this moment at the latest.
    Looking(Moment),
    Turning,
    /// Since then, and until then at the latest.
    Draining(Moment, Moment),
    Sent,
    Overdue,
}

/// What a login brought.
#[derive(Debug)]
pub(in crate::token::cell) enum Landed {
    /// A token of our own login.
    Granted {
        /// The token.
        grant: Grant,
        /// The lease's number; 0 without a store.
        fence: u64,
        /// The vendor may hold another one valid.
        suspect: bool,
    },
    /// Another replica's, or another process's.
    Carried(Carried),
}

impl Flight {
    /// Whether requests have to wait for it, although there may be a live token.
    pub(super) fn closes(&self) -> bool {
        matches!(self.stage, Stage::Draining(..) | Stage::Sent)
    }

    /// Whether the vendor may hear it, or another replica was told of it.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Looking(_))
    }
}

impl State {
    pub(super) fn begin(&mut self, now: Moment, steps: &mut Steps) -> u64 {
        self.begin_after(now, now, steps)
    }

    /// Begins a login that is not sent before this moment.
    pub(super) fn begin_after(&mut self, now: Moment, earliest: Moment, steps: &mut Steps) -> u64 {
        self.flights += 1;
        let close = self.live(now).filter(|_| self.policy.exclusive && self.is_proved(now)).map_or(now, |held| {
            let (Some(life), Some(end)) = (held.life, held.token.expires) else { return now };
            closing(end, held.token.renew, drain(self.policy.drain, life), self.slowest)
        });
        self.flight = Some(Flight {
            number: self.flights,
            begun: now,
            secret: self.policy.secret,
            of_refusal: false,
            earliest,
            stage: Stage::Looking(close),
        });
        steps.fetch = Some(self.flights);
        self.flights
    }

    /// The token in hand will not do any more: a flight that is looking for a quiet moment goes on.
    pub(super) fn hurry(&mut self) {
        if let Some(Flight { stage: Stage::Looking(close), .. }) = &mut self.flight {
            *close = Moment::BOOT;
        }
    }

    /// Looks for a quiet moment. `None` where the flight may go on, else how long to wait before the
    /// next look; `quiet` says that no request is under way.
    pub(in crate::token::cell) fn look(&mut self, now: Moment, number: u64, quiet: bool) -> Option<Duration> {
        let live = self.live(now).is_some();
        if self.paused {
            return Some(Duration::MAX);
        }
        let flight = self.flight.as_mut().filter(|flight| flight.number == number)?;
        let Stage::Looking(close) = flight.stage else { return None };
        if now < flight.earliest {
            return Some(now.until(flight.earliest));
        }
        if live && !quiet && now < close {
            return Some(now.until(close));
        }
        flight.stage = Stage::Turning;
        None
    }

    /// The login is ours to make: lets no more requests begin, where they would meet its end. Returns
    /// how long those under way may take, where there is something to wait for.
    pub(in crate::token::cell) fn close(&mut self, now: Moment, number: u64) -> Option<Duration> {
        let policy = self.policy.drain;
        let bound = self.live(now).filter(|_| self.policy.exclusive).map(|held| {
            // Those that were waited for in vain once are not waited for again and again.
            drain(policy, held.life.unwrap_or(Duration::MAX)).saturating_sub(held.drained)
        });
        let flight = self.flight.as_mut().filter(|flight| flight.number == number)?;
        flight.stage = Stage::Draining(now, now.after(bound.unwrap_or_default()));
        bound
    }

    /// How long the requests under way may still take; `None` where there is nothing to wait for.
    pub(in crate::token::cell) fn draining(&self, now: Moment, number: u64, quiet: bool) -> Option<Duration> {
        let flight = self.flight.as_ref().filter(|flight| flight.number == number && !quiet)?;
        self.live(now)?;
        let Stage::Draining(_, until) = flight.stage else { return None };
        Some(now.until(until)).filter(|left| !left.is_zero())
    }

    /// It is not ours to make after all: whose it is, is found out anew.
    pub(in crate::token::cell) fn reopen(&mut self, number: u64, steps: &mut Steps) {
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.number == number) {
            flight.stage = Stage::Turning;
            steps.wake = true;
        }
    }

    /// From now on the vendor may hear it.
    pub(in crate::token::cell) fn sent(&mut self, now: Moment, number: u64) {
        let of_refusal = self.held.as_ref().is_some_and(Held::was_refused);
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.number == number) else { return };
        if let (Stage::Draining(since, _), Some(held)) = (flight.stage, &mut self.held) {
            held.drained += since.until(now);
        }
        *flight = Flight { begun: now, secret: self.policy.secret, of_refusal, stage: Stage::Sent, ..*flight };
        self.logins += 1;
    }

    /// How long the change of the token in hand waits for requests under way at the most.
    pub(in crate::token::cell) fn drain_bound(&self) -> Duration {
        drain(self.policy.drain, self.held.as_ref().and_then(|held| held.life).unwrap_or(Duration::MAX))
    }

    /// How long requests wait for the answer of a login that they would meet the end of. An outage of
    /// the vendor's should not be noticed while there may be a live token.
    pub(in crate::token::cell) fn patience(&self) -> Duration {
        patience(self.drain_bound(), self.slowest)
    }

    /// The answer takes longer than that. The token in hand may be dead and may be not: it is used
    /// again until it is refused.
    pub(in crate::token::cell) fn overdue(&mut self, number: u64, steps: &mut Steps) {
        let flight = self.flight.as_mut().filter(|flight| flight.number == number);
        let Some(flight) = flight.filter(|flight| flight.stage == Stage::Sent) else { return };
        flight.stage = Stage::Overdue;
        if let Some(held) = &mut self.held {
            held.suspect |= self.policy.exclusive;
        }
        steps.wake = true;
    }

    /// A login ended. Returns how long none will be tried, where it failed.
    pub(in crate::token::cell) fn landed(
        &mut self,
        now: Moment,
        number: u64,
        outcome: Result<Landed, TokenFault>,
        steps: &mut Steps,
    ) -> Duration {
        let Some(flight) = self.flight.take_if(|flight| flight.number == number) else { return Duration::ZERO };
        steps.wake = true;
        let current = flight.secret == self.policy.secret;
        let accepted = outcome.and_then(|landed| match landed {
            Landed::Granted { grant, fence, suspect } => self.accept(now, &flight, grant, fence, suspect, steps),
            Landed::Carried(carried) => {
                self.adopt(now, carried, steps);
                Ok(())
            }
        });
        let mut pause = Duration::ZERO;
        match accepted {
            Ok(()) => {}
            Err(fault) => {
                self.suspect(&fault);
                if fault.reason == FaultReason::StoreAway {
                    // Nobody was asked. The token in hand serves on; its end is met without the store.
                    self.away = now.after(AWAY);
                } else if current {
                    pause = self.fail(now, &flight, fault, steps);
                } else {
                    self.counts.superseded += 1;
                    steps.events.push(Event::Superseded { generation: self.generation, fault });
                }
            }
        }
        // The secret changed while this login was under way; those that wait now wait for the new
        // one's. What the old one brought serves until then: it may have killed what was there.
        if !current && !self.is_proved(now) {
            self.begin(now, steps);
        }
        pause
    }

    fn accept(
        &mut self,
        now: Moment,
        flight: &Flight,
        grant: Grant,
        fence: u64,
        suspect: bool,
        steps: &mut Steps,
    ) -> Result<(), TokenFault> {
        let (life, source) = lifetime(&grant, self.policy.lifetime);
        if life.is_some_and(|life| now >= flight.begun.after(life)) {
            // As good as no answer. Counted as a fault, or each request would make a login.
            let code = Some("the token's life was over when it arrived".to_owned());
            return Err(TokenFault { code, ..TokenFault::new(FaultClass::Transient, FaultReason::Timeout) });
        }
        // Half of what was slow before: one bad login does not enlarge the margin for good.
        self.slowest = flight.begun.until(now).max(self.slowest / 2);
        let incoming = Incoming {
            token: grant.token,
            expires: life.map(|life| flight.begun.after(life)),
            life,
            source,
            skew: grant.skew,
            secret: flight.secret,
            fence,
            of_refusal: flight.of_refusal,
            suspect,
            adopted: false,
        };
        self.put(now, incoming, steps);
        Ok(())
    }

    /// Whether the vendor heard the request is not known of some faults. If it did, an exclusive token
    /// is dead: its refusal is then no sign that logging in does not help.
    fn suspect(&mut self, fault: &TokenFault) {
        if let Some(held) = &mut self.held {
            held.suspect |= self.policy.exclusive && fault.heard;
        }
    }

    fn fail(&mut self, now: Moment, flight: &Flight, fault: TokenFault, steps: &mut Steps) -> Duration {
        self.failed = flight.number;
        self.counts.failed += 1;
        let mut retry_after = self.backoff.failed(now, &fault, &mut self.rng);
        // An exclusive token that would be over before the next try gets one before: its requests
        // would fail, and cannot be sent with any other.
        let left = self.live(now).filter(|_| self.policy.exclusive).and_then(|held| held.token.expires);
        if let Some(left) = left.map(|end| now.until(end))
            && fault.class == FaultClass::Transient
            && fault.retry_after.is_none()
            && left <= retry_after
        {
            retry_after = self.backoff.hasten(now, left / 2);
        }
        let news = self.told.replace(fault.class) != Some(fault.class);
        steps.events.push(Event::Failed { generation: self.generation, fault: fault.clone(), retry_after, news });
        self.fault = Some(fault);
        retry_after
    }
}
