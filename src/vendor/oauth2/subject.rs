//! For whom a token is asked.

use crate::secret::Secret;

/// For whom a token is asked: what the grant says.
#[derive(Debug)]
pub(super) enum Subject {
    Client,
    User { username: String, password: Secret },
}

impl Subject {
    /// The value of `grant_type`.
    pub(super) fn grant(&self) -> &'static str {
        match self {
            Self::Client => "client_credentials",
            Self::User { .. } => "password",
        }
    }

    pub(super) fn user(&self) -> Option<(&str, &Secret)> {
        match self {
            Self::Client => None,
            Self::User { username, password } => Some((username, password)),
        }
    }
}
