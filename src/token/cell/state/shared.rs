//! What others have a say in: replicas that share the token through a store, and the process that
//! takes over.

use std::time::Duration;

use super::held::Incoming;
use super::{State, Steps};
use crate::token::cell::event::Event;
use crate::token::{Carried, Moment, Wanted};

/// Without the store, a replica logs in with an exclusive credential at most this often: each such
/// login kills the token of the others.
const ALONE_EVERY: Duration = Duration::from_secs(2);
/// Logins without the store are spread over this time, so that replicas do not make them together.
const SPREAD: Duration = Duration::from_millis(200);
/// The same for exclusive credentials.
const SPREAD_EXCLUSIVE: Duration = Duration::from_secs(1);

/// Another replica is about to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hold {
    /// The number of its login.
    fence: u64,
    /// If nothing is heard until then, it may have died.
    until: Moment,
}

impl State {
    /// What to ask the store for.
    pub(in crate::token::cell) fn wanted(&self, now: Moment) -> Wanted {
        // A token of another secret does not prove the one in force.
        let proves = self.live(now).is_some_and(|held| self.is_former(held));
        Wanted { beyond: self.fence, secret: self.policy.secret, proves }
    }

    /// Whether there is a token that serves while the store is away.
    pub(in crate::token::cell) fn serves(&self, now: Moment) -> bool {
        self.live(now).is_some()
    }

    /// How long to wait before a login without the store, which is away.
    pub(in crate::token::cell) fn alone(&mut self, now: Moment, steps: &mut Steps) -> Duration {
        let exclusive = self.policy.exclusive;
        let (every, spread) = if exclusive { (ALONE_EVERY, SPREAD_EXCLUSIVE) } else { (Duration::ZERO, SPREAD) };
        let wait = self.alone.map_or(Duration::ZERO, |last| now.until(last.after(every)));
        let wait = wait + spread.mul_f64(self.rng.f64());
        self.alone = Some(now.after(wait));
        if !std::mem::replace(&mut self.told_alone, true) {
            steps.events.push(Event::Alone { generation: self.generation, exclusive });
        }
        wait
    }

    /// Another replica's or process's token. One that is no better than what is in hand changes nothing.
    pub(in crate::token::cell) fn adopt(&mut self, now: Moment, carried: Carried, steps: &mut Steps) {
        self.fence = self.fence.max(carried.fence);
        if self.hold.is_some_and(|hold| carried.fence >= hold.fence) {
            self.hold = None;
            steps.wake = true;
        }
        if let Some(held) = &mut self.held {
            if held.token.secret == carried.token {
                // The one in hand, of which there may be news; refused, it stays so.
                held.fence = held.fence.max(carried.fence);
                held.suspect |= carried.suspect && self.policy.exclusive;
                return;
            }
            if carried.fence != 0 && carried.fence < held.fence {
                return;
            }
        }
        if carried.left.is_zero() {
            return;
        }
        let incoming = Incoming {
            token: carried.token,
            expires: Some(now.after(carried.left)),
            life: Some(carried.life),
            source: carried.source,
            skew: None,
            secret: carried.secret,
            fence: carried.fence,
            of_refusal: carried.of_refusal,
            suspect: carried.suspect,
            adopted: true,
        };
        self.put(now, incoming, steps);
    }

    /// The live token, for others. One that lives for ever is in everybody's configuration.
    pub(in crate::token::cell) fn carry(&self, now: Moment) -> Option<Carried> {
        let held = self.live(now)?;
        Some(Carried {
            fence: held.fence,
            token: held.token.secret.clone(),
            left: now.until(held.token.expires?),
            life: held.life?,
            source: held.token.source,
            secret: held.secret,
            of_refusal: held.of_refusal,
            suspect: held.suspect,
        })
    }

    /// Whether the store knows the token in hand.
    pub(in crate::token::cell) fn is_stored(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.fence > 0)
    }

    /// The greatest number of a login that is known; 0 without a store.
    pub(in crate::token::cell) fn fence(&self) -> u64 {
        self.fence
    }

    /// The store could not be told of the token of this generation.
    pub(in crate::token::cell) fn unstored(&mut self, generation: u64) {
        if let Some(held) = self.held.as_mut().filter(|held| held.token.generation == generation) {
            held.fence = 0;
        }
    }

    /// The lease ran out while the token of this generation was fetched: nobody knows which one the
    /// vendor heard last.
    pub(in crate::token::cell) fn overtaken(&mut self, generation: u64, steps: &mut Steps) {
        if let Some(held) = self.held.as_mut().filter(|held| held.token.generation == generation) {
            held.suspect |= self.policy.exclusive;
            steps.events.push(Event::Overtaken { generation });
        }
    }

    /// Another replica is about to log in; nothing begins until it has, or until the time is over.
    /// False where this is old news.
    pub(in crate::token::cell) fn hold(&mut self, now: Moment, fence: u64, within: Duration) -> bool {
        let newer = self.held.as_ref().is_none_or(|held| held.fence < fence);
        if !self.policy.exclusive || !newer || self.hold.is_some_and(|hold| hold.fence > fence) {
            return false;
        }
        self.hold = Some(Hold { fence, until: now.after(within) });
        true
    }

    /// That login is over, with nothing to show.
    pub(in crate::token::cell) fn release(&mut self, fence: u64, steps: &mut Steps) {
        if self.hold.is_some_and(|hold| hold.fence <= fence) {
            self.hold = None;
            (steps.wake, steps.nudge) = (true, true);
        }
    }

    /// No hold outlasts its time. Whoever asked for it may have logged in and died: what is in hand is
    /// suspect.
    pub(super) fn end_hold(&mut self, now: Moment, steps: &mut Steps) {
        if self.hold.is_some_and(|hold| now >= hold.until) {
            self.hold = None;
            if let Some(held) = &mut self.held {
                held.suspect |= self.policy.exclusive;
            }
            (steps.wake, steps.nudge) = (true, true);
        }
    }

    /// Whether another replica's login is waited for.
    #[cfg(test)]
    pub(in crate::token::cell) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Begins no login while paused; one that is under way goes on.
    pub(in crate::token::cell) fn pause(&mut self, paused: bool, steps: &mut Steps) {
        self.paused = paused;
        steps.nudge = true;
    }

    /// Whether a login is under way that the vendor may hear.
    pub(in crate::token::cell) fn is_under_way(&self) -> bool {
        self.flight.as_ref().is_some_and(super::Flight::is_under_way)
    }
}
