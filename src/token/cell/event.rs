//! One log event for each change of a credential's state. None holds a secret.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::vendor::{LifetimeSource, TokenFault};

/// The target of these events, for filters.
const TARGET: &str = "tokenferry::credential";

/// The word for a login that failed.
pub(super) const FAILED: &str = "failed";
/// The word for one that failed with a secret that is no longer the one in force.
pub(super) const SUPERSEDED: &str = "superseded";

/// How a token came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The first one.
    Obtained,
    /// In place of one that grew old.
    Renewed,
    /// In place of one that was refused.
    Replaced,
    /// After logins that failed.
    Recovered,
    /// Another replica logged in, or another process handed it over.
    Adopted,
}

/// A change of a credential's state.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Event {
    /// There is a new token.
    Token { outcome: Outcome, generation: u64, expires_in: Option<Duration>, source: LifetimeSource },
    /// A login failed. `news` where the one before it had not, or otherwise.
    Failed { generation: u64, fault: TokenFault, retry_after: Duration, news: bool },
    /// A login failed, but with a secret that is no longer the one in force.
    Superseded { generation: u64, fault: TokenFault },
    /// The vendor refused the token in force. `passes` where its answer goes to the client.
    Refused { generation: u64, passes: bool },
    /// Tokens that worked are refused before their end, again and again.
    Disturbed { generation: u64, times: u32 },
    /// The store is away, and there is no live token: a login is made without it.
    Alone { generation: u64, exclusive: bool },
    /// A lease ran out during its login.
    Overtaken { generation: u64 },
    /// Another secret is in force.
    SecretChanged { generation: u64 },
}

impl Event {
    /// Writes it to the log.
    pub(super) fn log(&self, credential: &str) {
        match self {
            Self::Token { outcome, generation, expires_in, source } => {
                let (outcome, lifetime) = (outcome.word(), source.word());
                let expires_in = Seconds(*expires_in);
                info!(target: TARGET, credential, generation, outcome, expires_in = %expires_in, lifetime, "token in force");
            }
            Self::Failed { generation, fault, retry_after, news } => {
                let (class, error, retry_after) = (fault.class.word(), fault, Seconds(Some(*retry_after)));
                let outcome = FAILED;
                // Each further attempt fails the same way: one line at the beginning is the change.
                if *news {
                    warn!(target: TARGET, credential, generation, outcome, class, %error, %retry_after, "login failed");
                } else {
                    debug!(target: TARGET, credential, generation, outcome, class, %error, %retry_after, "login failed again");
                }
            }
            Self::Superseded { generation, fault } => {
                let (class, error) = (fault.class.word(), fault);
                info!(target: TARGET, credential, generation, outcome = SUPERSEDED, class, %error, "login with the earlier secret failed");
            }
            Self::Refused { generation, passes: false } => {
                info!(target: TARGET, credential, generation, outcome = "refused", "token refused by the vendor, logging in again");
            }
            Self::Refused { generation, passes: true } => {
                warn!(target: TARGET, credential, generation, outcome = "passed", "token refused that a new login would not mend, the vendor's answer passes");
            }
            Self::Disturbed { generation, times } => {
                warn!(target: TARGET, credential, generation, times, outcome = "disturbed", "tokens die before their end, again and again: something else seems to log in with the same client, and each login kills the token of the other");
            }
            Self::Alone { generation, exclusive: true } => {
                warn!(target: TARGET, credential, generation, outcome = "alone", "the store is away and there is no token: this replica logs in for itself, and each such login kills the token of the others until the store is back");
            }
            Self::Alone { generation, exclusive: false } => {
                info!(target: TARGET, credential, generation, outcome = "alone", "the store is away and there is no token: this replica logs in for itself");
            }
            Self::Overtaken { generation } => {
                warn!(target: TARGET, credential, generation, outcome = "overtaken", "the lease ran out during the login: another replica may have logged in as well, and one of the two tokens is dead");
            }
            Self::SecretChanged { generation } => {
                info!(target: TARGET, credential, generation, outcome = "secret changed", "another secret is in force");
            }
        }
    }
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Obtained => "obtained",
            Self::Renewed => "renewed",
            Self::Replaced => "replaced",
            Self::Recovered => "recovered",
            Self::Adopted => "adopted",
        }
    }
}

/// Seconds to the tenth, or `never`.
struct Seconds(Option<Duration>);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(time) => write!(f, "{:.1}s", time.as_secs_f64()),
            None => f.write_str("never"),
        }
    }
}
