//! What a refused token leads to.

use std::time::Duration;

use super::held::Death;
use super::{State, Steps};
use crate::token::Moment;
use crate::token::cell::AfterRefusal;
use crate::token::cell::backoff::doubled;
use crate::token::cell::event::Event;

/// A token born of a refusal and refused again within this time is not replaced: another login
/// would not help, and a storm of refusals must not become a storm of logins.
const NEWBORN_FIRST: Duration = Duration::from_secs(5);
/// That time doubles up to this while tokens born of refusals keep being refused.
const NEWBORN_LONGEST: Duration = Duration::from_secs(60);
/// Where tokens die young by somebody else's logins, ours follow each other no quicker than this; the
/// time doubles with each such death in a row.
const PACE_FIRST: Duration = Duration::from_millis(500);
/// And no slower than this: requests wait for them meanwhile.
const PACE_LONGEST: Duration = Duration::from_secs(5);
/// So many tokens in a row that worked and were refused before their end are somebody else's doing:
/// one may be the vendor's operator, two may be that and a restart.
const DISTURBED: u32 = 3;

/// A request's refusal.
#[derive(Clone, Copy, Debug)]
pub(in crate::token::cell) struct Refused {
    /// Of the token that was refused.
    pub(in crate::token::cell) generation: u64,
    /// The request has had its token replaced already.
    pub(in crate::token::cell) again: bool,
    /// The token was taken by the vendor before.
    pub(in crate::token::cell) worked: bool,
    /// Once it was waited for what other requests show: whether the token was taken from any.
    pub(in crate::token::cell) taken_since: Option<bool>,
}

impl State {
    /// The vendor refused a token.
    pub(in crate::token::cell) fn refused(&mut self, now: Moment, refused: Refused, steps: &mut Steps) -> AfterRefusal {
        let Refused { generation, again, worked, taken_since } = refused;
        let newborn = doubled(NEWBORN_FIRST, self.newborn, NEWBORN_LONGEST);
        // An older one, or one that is dead already: whoever asks next gets another.
        if generation != self.generation || self.live(now).is_none() {
            return AfterRefusal::Again;
        }
        // A login that is being made kills an exclusive token: that is no news, but dead it is.
        if self.is_closed() {
            if let Some(held) = &mut self.held {
                held.dead = Some(Death::Refused);
            }
            steps.nudge = true;
            return AfterRefusal::Again;
        }
        let is_former = self.held.as_ref().is_some_and(|held| self.is_former(held));
        let Some(held) = &mut self.held else { return AfterRefusal::Again };
        // Only a token that is written in the configuration lives for ever; a login would bring
        // the same one again, unless another secret is waiting to be tried.
        let fixed = held.token.expires.is_none() && !is_former;
        let young = !held.suspect && (again || held.of_refusal && now < held.born.after(newborn));
        // An exclusive token that worked may have been killed by somebody else's login, or this request
        // may be one that the vendor refuses with any token: then it takes the token from others.
        let killed = self.policy.exclusive && worked && !again;
        if young && killed && taken_since.is_none() {
            return AfterRefusal::Unsure;
        }
        let killed = young && killed && taken_since == Some(false);
        if fixed || young && !killed {
            if !std::mem::replace(&mut held.doubted, true) {
                self.counts.refused += 1;
                steps.events.push(Event::Refused { generation, passes: true });
            }
            return AfterRefusal::Pass;
        }
        let pace = if killed { held.born.after(doubled(PACE_FIRST, self.disturbed, PACE_LONGEST)) } else { now };
        self.newborn = if held.of_refusal && held.doubted { self.newborn.saturating_add(1).min(8) } else { 0 };
        self.counts.refused += u64::from(!held.doubted);
        held.dead = Some(Death::Refused);
        // Its death was to be expected: another login may have gone before this one.
        let suspect = held.suspect;
        steps.events.push(Event::Refused { generation, passes: false });
        if worked && !suspect && self.policy.exclusive {
            self.note_disturbance(steps);
        }
        match &self.flight {
            Some(_) => {
                self.hurry();
                steps.nudge = true;
            }
            // The back-off is of the login that made it suspect; nothing is known against another.
            None if suspect || now >= self.backoff.until() => {
                self.begin_after(now, pace, steps);
            }
            None => {}
        }
        AfterRefusal::Again
    }

    /// Whether something else seems to log in with the same client.
    pub(super) fn is_disturbed(&self) -> bool {
        self.disturbed >= DISTURBED
    }

    fn note_disturbance(&mut self, steps: &mut Steps) {
        self.disturbed = self.disturbed.saturating_add(1);
        self.disturbances += 1;
        if self.disturbed == DISTURBED {
            steps.events.push(Event::Disturbed { generation: self.generation, times: self.disturbed });
        }
    }
}
