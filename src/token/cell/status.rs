//! What a cell tells: its token, and of itself.

use std::fmt;
use std::time::Duration;

use super::event::{FAILED, Outcome, SUPERSEDED};
use crate::secret::Secret;
use crate::token::Moment;
use crate::vendor::{LifetimeSource, TokenFault};

/// A token in force.
#[derive(Debug)]
pub struct Token {
    /// Grows by one with every token of its cell; named in logs.
    pub generation: u64,
    /// The token itself.
    pub secret: Secret,
    /// Its end; `None` is never.
    pub expires: Option<Moment>,
    /// When its renewal begins, if it is used then.
    pub renew: Option<Moment>,
    /// Where its lifetime came from.
    pub source: LifetimeSource,
    /// How far the vendor's clock is ahead of ours, in seconds, where its answer told.
    pub skew: Option<i64>,
}

/// What a cell is at, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellState {
    /// No token, and nobody asks for one.
    Asleep,
    /// No live token; a login is under way.
    Fetching,
    /// A live token.
    Live,
    /// A live token, and a login that is to replace it.
    Renewing,
    /// The last login failed. Where there is a live token, it serves to its end.
    Failing,
}

impl CellState {
    /// The word, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Fetching => "fetching",
            Self::Live => "live",
            Self::Renewing => "renewing",
            Self::Failing => "failing",
        }
    }
}

impl fmt::Display for CellState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a cell tells of itself; never a secret.
#[derive(Clone, Debug)]
pub struct CellStatus {
    /// All of the following in a word.
    pub state: CellState,
    /// The current token's generation; 0 before the first.
    pub generation: u64,
    /// Left to live; `None` without a token or for one that lives for ever.
    pub expires_in: Option<Duration>,
    /// The whole life of the live token; `None` without one or for one that lives for ever.
    pub lifetime: Option<Duration>,
    /// Where the latest token's lifetime came from.
    pub lifetime_source: Option<LifetimeSource>,
    /// Whether there is a live token.
    pub live: bool,
    /// Whether the vendor may hold another one valid: it is used until it is refused.
    pub suspect: bool,
    /// Whether something else seems to log in with the same client: tokens that worked were refused
    /// before their end, several times in a row. Exclusive credentials only.
    pub disturbed: bool,
    /// How many tokens died that way since the cell was made.
    pub disturbances: u64,
    /// The number by which other replicas know the latest token; 0 where they do not.
    pub fence: u64,
    /// How far the vendor's clock is ahead of ours, in seconds, where the latest login's answer told.
    pub skew: Option<i64>,
    /// The last login's fault, until one succeeds.
    pub fault: Option<TokenFault>,
    /// When another login may be tried, while one that failed keeps it waiting.
    pub retry_after: Option<Duration>,
    /// Requests that wait for a token now.
    pub waiting: u32,
    /// Logins that were begun since the cell was made.
    pub fetches: u64,
    /// What became of logins and tokens since the cell was made.
    pub counts: TokenCounts,
}

/// How often something became of a login or a token, by the words that the log says of it (`outcome=`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TokenCounts {
    /// First tokens.
    pub obtained: u64,
    /// Tokens in place of one that grew old.
    pub renewed: u64,
    /// Tokens in place of one that was refused.
    pub replaced: u64,
    /// Tokens after logins that failed.
    pub recovered: u64,
    /// Tokens that another replica logged in for, or that another process handed over.
    pub adopted: u64,
    /// Logins that failed, another replica's among them where this one was spared its own.
    pub failed: u64,
    /// Logins that failed with a secret that was no longer the one in force.
    pub superseded: u64,
    /// Tokens in force that the vendor refused, each once: those that were given up for it, and those
    /// that stayed since another login would not have helped.
    pub refused: u64,
}

impl TokenCounts {
    /// What became of logins, each with its word.
    pub fn outcomes(&self) -> [(&'static str, u64); 7] {
        [
            (Outcome::Obtained.word(), self.obtained),
            (Outcome::Renewed.word(), self.renewed),
            (Outcome::Replaced.word(), self.replaced),
            (Outcome::Recovered.word(), self.recovered),
            (Outcome::Adopted.word(), self.adopted),
            (FAILED, self.failed),
            (SUPERSEDED, self.superseded),
        ]
    }

    /// There is a new token.
    pub(super) fn token(&mut self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Obtained => &mut self.obtained,
            Outcome::Renewed => &mut self.renewed,
            Outcome::Replaced => &mut self.replaced,
            Outcome::Recovered => &mut self.recovered,
            Outcome::Adopted => &mut self.adopted,
        };
        *count += 1;
    }
}

/// What to do after a vendor refused a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterRefusal {
    /// A newer token is or will be there: acquire again and send again.
    Again,
    /// Wait a moment for what other requests show, then tell of this refusal at last.
    Unsure,
    /// The token was born of a refusal a moment ago, or for this very request: the vendor's answer
    /// passes.
    Pass,
}
