//! Why a request was not let in.

use std::time::Duration;

use super::flaw::Flaw;

/// Why a request was not let in. No variant tells a wrong key, user or token from a missing one, but for
/// what RFC 6750 section 3.1 says of a token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// No key, or a wrong one: 401.
    #[error("no valid API key")]
    Key {
        /// Whether a user is asked for, too: `Authorization` is theirs then.
        beside_user: bool,
    },
    /// No user, an unknown one, or a wrong password: 401.
    #[error("no valid user name and password")]
    User,
    /// No token, or a wrong one: 401.
    #[error("no valid token of the issuer")]
    Token(#[source] Flaw),
    /// A wrong network: 403.
    #[error("the client's network is not allowed")]
    Network,
    /// No client certificate, or one without an allowed name: 403.
    #[error("the client shows no certificate that is allowed")]
    Certificate,
    /// More passwords are to be checked than can be: 503.
    #[error("too many passwords wait to be checked")]
    Crowded,
    /// The issuer's keys have not been fetched yet: 503.
    #[error("the keys that tokens are verified with are not at hand")]
    NoKeys,
}

impl Denied {
    /// When it may be otherwise, without another request than this one.
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Crowded | Self::NoKeys).then_some(Duration::from_secs(1))
    }
}
