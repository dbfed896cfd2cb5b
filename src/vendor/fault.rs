//! Why a login brought no token, in words, with what to do about it.

use std::time::Duration;

/// How a failed login is to be met: what decides the back-off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultClass {
    /// May be over in a moment: connect, timeout, 5xx, 429, an unreadable or empty answer.
    Transient,
    /// The vendor does not take these credentials: 400, 401, 403, an error inside a 200 that names them.
    Refused,
}

/// Why there is no token. Its texts are the log's and the operator's; a client sees none of them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}{}", .code.as_deref().map(|c| format!(" ({c})")).unwrap_or_default())]
pub struct TokenFault {
    /// What decides the back-off.
    pub class: FaultClass,
    /// What happened, in lower case.
    pub reason: FaultReason,
    /// The vendor's error code, cut to 200 bytes of printable ASCII and free of the secrets that
    /// were sent, never its description; where there was no answer, the system's word for why.
    pub code: Option<String>,
    /// `Retry-After`, where the answer had one.
    pub retry_after: Option<Duration>,
    /// Whether the vendor may have carried the login out all the same, and only its answer is lost
    /// or of no use: an exclusive token may then be dead.
    pub heard: bool,
}

/// What happened to a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultReason {
    /// No connection, or it broke.
    #[error("the token endpoint cannot be reached")]
    Unreachable,
    /// The egress proxy on the way is at fault, not the vendor.
    #[error("the egress proxy on the way to the token endpoint does not lead there")]
    Egress,
    /// The egress proxy answered this in the vendor's place.
    #[error("the egress proxy on the way to the token endpoint answered {0}")]
    EgressStatus(u16),
    /// Its certificate was not accepted.
    #[error("the token endpoint's certificate was not accepted")]
    Certificate,
    /// No whole answer within the credential's `timeout`.
    #[error("the token endpoint did not answer in time")]
    Timeout,
    /// A status that is no success.
    #[error("the token endpoint answered {0}")]
    Status(u16),
    /// A redirect, which is never followed.
    #[error("the token endpoint answered with a redirect, which is not followed")]
    Redirect,
    /// An empty body.
    #[error("the token endpoint's answer is empty")]
    Empty,
    /// More than 64 KiB.
    #[error("the token endpoint's answer is longer than 64 KiB")]
    TooLarge,
    /// Not the JSON that this vendor answers.
    #[error("the token endpoint's answer cannot be read")]
    Unreadable,
    /// An error inside a success.
    #[error("the token endpoint's answer says that the login failed")]
    ErrorInside,
    /// A success without a token.
    #[error("the token endpoint's answer has no token")]
    NoToken,
    /// A token that cannot be put into a header.
    #[error("the token has a character that cannot be sent in a header")]
    BadToken,
    /// The refresh token of the configuration was refused.
    #[error("the token endpoint refused the refresh token")]
    RefreshToken,
    /// A refresh token was refused that came of an earlier login.
    #[error("the token endpoint refused the refresh token that was kept from an earlier login")]
    KeptRefreshToken,
    /// The request cannot be made: a key that does not sign, or a refresh token that is nowhere.
    #[error("the login's request cannot be made")]
    Unsayable,
    /// What must outlive the login, such as a new refresh token, could not be kept.
    #[error("what must be kept of the login could not be written")]
    Unkept,
    /// Another replica's login failed a moment ago.
    #[error("another replica's login failed")]
    Elsewhere,
    /// The store that replicas share cannot be reached.
    #[error("the store cannot be reached")]
    StoreAway,
    /// The fetch itself was lost (its task failed).
    #[error("the login was interrupted")]
    Interrupted,
}

impl FaultClass {
    /// The stable word for it, in logs and for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Refused => "refused",
        }
    }
}

impl FaultReason {
    /// The stable word for it, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Egress => "egress",
            Self::EgressStatus(_) => "egress_status",
            Self::Certificate => "certificate",
            Self::Timeout => "timeout",
            Self::Status(_) => "status",
            Self::Redirect => "redirect",
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::ErrorInside => "error_inside",
            Self::NoToken => "no_token",
            Self::BadToken => "bad_token",
            Self::RefreshToken => "refresh_token",
            Self::KeptRefreshToken => "kept_refresh_token",
            Self::Unsayable => "unsayable",
            Self::Unkept => "unkept",
            Self::Elsewhere => "elsewhere",
            Self::StoreAway => "store_away",
            Self::Interrupted => "interrupted",
        }
    }
}

impl TokenFault {
    /// The vendor's own code: none where the system's word for a failure stands in its place.
    pub fn vendors_code(&self) -> Option<&str> {
        use FaultReason::{Certificate, Egress, StoreAway, Timeout, TooLarge, Unkept, Unreachable};

        let ours = matches!(self.reason, Unreachable | Egress | Certificate | Timeout | TooLarge | Unkept | StoreAway);
        self.code.as_deref().filter(|_| !ours)
    }

    /// A fault without the vendor's code. It may have been heard unless its kind says otherwise.
    pub fn new(class: FaultClass, reason: FaultReason) -> Self {
        let unheard = matches!(
            reason,
            FaultReason::Unreachable
                | FaultReason::Egress
                | FaultReason::EgressStatus(_)
                | FaultReason::Certificate
                | FaultReason::Status(429)
                | FaultReason::Unsayable
                | FaultReason::Elsewhere
                | FaultReason::StoreAway
        );
        Self { class, reason, code: None, retry_after: None, heard: class == FaultClass::Transient && !unheard }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self.reason {
            FaultReason::Unreachable => "check the host and port of its URL, and whether this machine may reach it",
            FaultReason::Egress => {
                "check the credential's `proxy` (or the environment's HTTPS_PROXY and NO_PROXY), and whether it runs"
            }
            FaultReason::EgressStatus(401 | 407) => "check the user and password of `proxy`",
            FaultReason::EgressStatus(_) => {
                "check that the egress proxy lets this host and port pass, or write `proxy: none` for the direct way"
            }
            FaultReason::Certificate => "if its authority is one of your own, name it with the credential's `ca`",
            FaultReason::Timeout => "try again, or wait longer with the credential's `timeout`",
            FaultReason::Status(429) => "the vendor limits logins: wait before the next",
            FaultReason::Status(404 | 405) => "check the endpoint's URL",
            FaultReason::Status(500..) => "the vendor is in trouble: try again later",
            FaultReason::Redirect => "check the endpoint's URL: a login is sent nowhere else",
            FaultReason::Empty | FaultReason::TooLarge | FaultReason::Unreadable | FaultReason::NoToken => {
                "check that the URL is that of the token endpoint"
            }
            FaultReason::RefreshToken => {
                "log in at the vendor by hand, and write its new refresh token into `refresh_token`"
            }
            FaultReason::KeptRefreshToken => {
                "it was revoked, or used up elsewhere: log in at the vendor by hand, and write its new refresh token into \
                 `refresh_token`, which then counts instead of the kept one"
            }
            FaultReason::Unsayable => "check the credential's keys and refresh token",
            FaultReason::Unkept => "check that the credential's `state_file`, or the store, can be written to",
            FaultReason::StoreAway => "check the `url` of `store`, and whether it runs",
            FaultReason::Interrupted | FaultReason::Elsewhere => "try again",
            FaultReason::BadToken => "the vendor's answer is of no use: ask the vendor",
            FaultReason::Status(_) | FaultReason::ErrorInside if self.class == FaultClass::Refused => {
                "check the credential's ids and secrets, and that they are for this environment"
            }
            FaultReason::Status(_) | FaultReason::ErrorInside => "look the vendor's code up, and try again",
        }
    }
}
