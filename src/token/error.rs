//! Why a request gets no token.

use std::time::Duration;

use crate::vendor::TokenFault;

/// No token is to be had now; a client is told 503 with Retry-After.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// The last login failed and its back-off is not over.
    #[error("no token: {fault}")]
    Fault {
        /// What happened to the login; for the log only.
        fault: TokenFault,
        /// When another login will be tried.
        retry_after: Duration,
    },
    /// The request's own patience (`timeouts.token`) ended.
    #[error("no token in time")]
    Timeout {
        /// When to come again.
        retry_after: Duration,
    },
    /// `limits.waiting` requests wait already.
    #[error("too many requests wait for a token")]
    Crowded {
        /// When to come again.
        retry_after: Duration,
    },
}

impl Unavailable {
    /// When to come again; at least a second once rounded up for the header.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Fault { retry_after, .. } | Self::Timeout { retry_after } | Self::Crowded { retry_after } => {
                *retry_after
            }
        }
    }
}
