//! The token in hand, and how it comes to be there.

use std::sync::Arc;
use std::time::Duration;

use super::State;
use crate::token::cell::Token;
use crate::token::cell::event::{Event, Outcome};
use crate::token::cell::life::renewal;
use crate::token::cell::state::Steps;
use crate::token::{Moment, SecretVersion};

/// The latest token and what is known of it beyond itself.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) token: Arc<Token>,
    /// Its whole life; `None` is for ever.
    pub(super) life: Option<Duration>,
    /// The secret it was got with.
    pub(super) secret: SecretVersion,
    /// The number of its login in the store; 0 where the store does not know it.
    pub(super) fence: u64,
    /// When it arrived.
    pub(super) born: Moment,
    /// Dead before its end, and nothing raises it.
    pub(super) dead: Option<Death>,
    /// It came in place of a refused one, or of one that was refused and stayed.
    pub(super) of_refusal: bool,
    /// It was refused and stayed.
    pub(super) doubted: bool,
    /// The vendor may hold another one valid (exclusive credentials only): a login whose answer was
    /// lost, or one that nobody was told of.
    pub(super) suspect: bool,
    /// How long requests have been held back already to let others finish, for a login that failed.
    pub(super) drained: Duration,
}

/// What a token died of before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// The vendor refused it.
    Refused,
    /// It was not used for the idle lifetime.
    Idle,
}

/// A token that is to be the one in hand. What it needs of the cell is found out as it is put there.
pub(super) struct Incoming {
    pub(super) token: crate::secret::Secret,
    /// Its end; `None` is never.
    pub(super) expires: Option<Moment>,
    pub(super) life: Option<Duration>,
    pub(super) source: crate::vendor::LifetimeSource,
    pub(super) skew: Option<i64>,
    pub(super) secret: SecretVersion,
    pub(super) fence: u64,
    pub(super) of_refusal: bool,
    pub(super) suspect: bool,
    /// Another replica or process logged in for it.
    pub(super) adopted: bool,
}

impl Held {
    pub(super) fn was_refused(&self) -> bool {
        self.dead == Some(Death::Refused)
    }
}

impl State {
    /// Puts a token in force that is not past its end.
    pub(super) fn put(&mut self, now: Moment, incoming: Incoming, steps: &mut Steps) {
        let Incoming { token, expires, life, source, skew, secret, fence, of_refusal, suspect, adopted } = incoming;
        let renew = life
            .zip(expires)
            .and_then(|(life, end)| renewal(end, life, self.policy.refresh_before, self.slowest, &mut self.rng));
        let previous = self.held.take();
        // Some vendors give the same token until its end, whatever became of it: then nothing was
        // replaced, and its next refusal passes like any newborn's.
        let same = previous.as_ref().is_some_and(|held| held.was_refused() && held.token.secret == token);
        let inherited = previous.as_ref().is_some_and(|held| held.doubted && !held.was_refused());
        let outcome = match &previous {
            _ if adopted => Outcome::Adopted,
            _ if self.fault.is_some() => Outcome::Recovered,
            None => Outcome::Obtained,
            Some(held) if held.was_refused() => Outcome::Replaced,
            Some(_) => Outcome::Renewed,
        };
        if previous.as_ref().is_some_and(|held| !held.was_refused()) && !of_refusal {
            // One that lived until it was replaced: nobody else logs in with this client.
            self.disturbed = 0;
        }
        self.fence = self.fence.max(fence);
        self.generation = self.fence.max(self.generation + 1);
        let (generation, expires_in) = (self.generation, expires.map(|end| now.until(end)));
        self.held = Some(Held {
            token: Arc::new(Token { generation, secret: token, expires, renew, source, skew }),
            life,
            secret,
            fence,
            born: now,
            dead: None,
            // Where the one before was refused and stayed, its mere renewal is not known to mend it.
            of_refusal: of_refusal || same || inherited,
            doubted: false,
            suspect: suspect && self.policy.exclusive,
            drained: Duration::ZERO,
        });
        self.last_used = now;
        self.fault = None;
        if !adopted {
            // Another's login says nothing of our own secret.
            self.told = None;
            self.backoff.reset();
        }
        self.told_alone &= fence == 0;
        steps.wake = true;
        self.counts.token(outcome);
        steps.events.push(Event::Token { outcome, generation, expires_in, source });
    }
}
