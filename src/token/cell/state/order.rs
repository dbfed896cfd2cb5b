//! Logins that no request asks for.

use std::sync::Arc;
use std::time::Duration;

use super::{State, Steps};
use crate::token::Moment;
use crate::token::cell::Token;
use crate::vendor::{FaultClass, FaultReason, TokenFault};

/// What came of a login that was ordered.
#[derive(Debug)]
pub(in crate::token::cell) enum Ordered {
    /// Nothing yet.
    UnderWay,
    /// This token.
    Token(Arc<Token>),
    /// None; when another login would be tried.
    Failed(TokenFault, Duration),
}

impl State {
    /// An operator wants another token. Returns the number of the login that brings it: a new one, or
    /// the one under way, which looks for a quiet moment no longer.
    pub(in crate::token::cell) fn order(&mut self, now: Moment, steps: &mut Steps) -> u64 {
        let number = match &self.flight {
            Some(flight) => flight.number,
            None => self.begin(now, steps),
        };
        self.hurry();
        steps.nudge = true;
        number
    }

    /// What came of that login. `before` is the generation that was to be replaced.
    pub(in crate::token::cell) fn ordered(&self, now: Moment, number: u64, before: u64) -> Ordered {
        if self.flight.as_ref().is_some_and(|flight| flight.number == number) {
            return Ordered::UnderWay;
        }
        let retry_after = now.until(self.backoff.until());
        match (self.live(now), &self.fault) {
            (Some(held), _) if held.token.generation > before => Ordered::Token(Arc::clone(&held.token)),
            (_, Some(fault)) if self.failed >= number => Ordered::Failed(fault.clone(), retry_after),
            // Nobody was asked for one, or another secret came into force meanwhile.
            _ => {
                let reason = if now < self.away { FaultReason::StoreAway } else { FaultReason::Interrupted };
                Ordered::Failed(TokenFault::new(FaultClass::Transient, reason), retry_after)
            }
        }
    }

    /// A token is to be at hand, whether anybody asks for it or not.
    pub(in crate::token::cell) fn rouse(&mut self, now: Moment, steps: &mut Steps) {
        let waits = self.flight.is_some() || self.hold.is_some() || now < self.backoff.until();
        if self.take(now, steps).is_none() && !waits {
            self.begin(now, steps);
        }
    }
}
