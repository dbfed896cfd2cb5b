//! Who asks, and how it says so.

use crate::secret::Secret;
use crate::vendor::request::basic_form_encoded;

/// Who asks.
#[derive(Debug)]
pub(super) enum Client {
    Basic { id: String, secret: Secret },
    Body { id: String, secret: Secret },
    Nameless { id: Option<String> },
}

impl Client {
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Basic { id, .. } | Self::Body { id, .. } => Some(id),
            Self::Nameless { id } => id.as_deref(),
        }
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic { secret, .. } | Self::Body { secret, .. } => Some(secret),
            Self::Nameless { .. } => None,
        }
    }

    /// The credentials of a Basic header.
    pub(super) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Basic { id, secret } => Some(basic_form_encoded(id, secret.expose())),
            Self::Body { .. } | Self::Nameless { .. } => None,
        }
    }

    /// What stands among the parameters.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let (id, secret) = match self {
            Self::Basic { .. } => (None, None),
            Self::Body { id, secret } => (Some(id.as_str()), Some(secret.expose())),
            Self::Nameless { id } => (id.as_deref(), None),
        };
        id.map(|id| ("client_id", id)).into_iter().chain(secret.map(|secret| ("client_secret", secret)))
    }
}
