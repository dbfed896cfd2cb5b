//! Who asks, and how it says so.

use std::time::Duration;

use super::Parameters;
use super::assertion::{Signer, Statement};
use crate::model::EndpointUrl;
use crate::secret::Secret;
use crate::vendor::Occasion;
use crate::vendor::request::basic_form_encoded;

/// The life of a client's assertion. It is used once, at once; servers commonly refuse more than five
/// minutes, and the rest is for clocks that are apart.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(3 * 60);

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who asks.
#[derive(Debug)]
pub(super) enum Client {
    Basic { id: String, secret: Secret },
    Body { id: String, secret: Secret },
    Key { id: String, signer: Box<Signer>, audience: Option<String> },
    Certificate { id: String },
    Nameless { id: Option<String> },
}

impl Client {
    /// The value of `client_auth`.
    pub(super) fn auth(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::Body { .. } => "body",
            Self::Key { .. } => "private_key_jwt",
            Self::Certificate { .. } => "tls",
            Self::Nameless { .. } => "none",
        }
    }

    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Basic { id, .. } | Self::Body { id, .. } | Self::Key { id, .. } | Self::Certificate { id } => {
                Some(id)
            }
            Self::Nameless { id } => id.as_deref(),
        }
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic { secret, .. } | Self::Body { secret, .. } => Some(secret),
            Self::Key { signer, .. } => Some(signer.pem()),
            Self::Certificate { .. } | Self::Nameless { .. } => None,
        }
    }

    pub(super) fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Key { signer, .. } => Some(signer),
            _ => None,
        }
    }

    /// For whom its assertions are, where that is not the token endpoint.
    pub(super) fn audience(&self) -> Option<&str> {
        match self {
            Self::Key { audience, .. } => audience.as_deref(),
            _ => None,
        }
    }

    /// The credentials of a Basic header.
    pub(super) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Basic { id, secret } => Some(basic_form_encoded(id, secret.expose())),
            _ => None,
        }
    }

    /// What stands among the parameters; `None` where it cannot be made.
    pub(super) fn parameters(&self, occasion: &Occasion, token_url: &EndpointUrl) -> Option<Parameters> {
        let Parameters { own: mut parameters, mut fleeting } = Parameters::default();
        if !matches!(self, Self::Basic { .. }) {
            parameters.extend(self.id().map(|id| ("client_id", Secret::new(id))));
        }
        match self {
            Self::Body { secret, .. } => parameters.push(("client_secret", secret.clone())),
            Self::Key { id, signer, audience } => {
                // RFC 7523 section 3: the client is issuer and subject; OIDC Core section 9
                // has the token endpoint's URL for the audience.
                let statement = Statement {
                    issuer: id.clone(),
                    subject: id.clone(),
                    audience: audience.clone().unwrap_or_else(|| token_url.to_string()),
                    lifetime: ASSERTION_LIFETIME,
                    claims: None,
                };
                let assertion = signer.sign(&statement.claims(occasion))?;
                fleeting = Some(assertion.clone());
                parameters.push(("client_assertion_type", Secret::new(ASSERTION_TYPE)));
                parameters.push(("client_assertion", assertion));
            }
            Self::Basic { .. } | Self::Certificate { .. } | Self::Nameless { .. } => {}
        }
        Some(Parameters { own: parameters, fleeting })
    }
}
