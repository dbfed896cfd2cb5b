//! For whom a token is asked: what the grant says.

use super::Parameters;
use super::assertion::{Signer, Statement};
use crate::secret::Secret;
use crate::vendor::Occasion;
use crate::vendor::settings::fingerprint;

/// RFC 8693 section 3: what a token is unless it is said otherwise.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// For whom a token is asked.
#[derive(Debug)]
pub(super) enum Subject {
    /// RFC 6749 section 4.4.
    Client,
    /// RFC 6749 section 4.3.
    User { username: String, password: Secret },
    /// RFC 6749 section 6; the refresh token of the configuration, from which later ones descend.
    Refresh { first: Secret },
    /// RFC 7523 section 2.1, with an assertion that somebody else made.
    Given { assertion: Secret },
    /// The same, signed here.
    Signed { signer: Box<Signer>, statement: Statement },
    /// RFC 8693 section 2.1.
    Exchange(Exchange),
}

/// Tokens to be exchanged.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) subject_token: Secret,
    pub(super) subject_token_type: String,
    /// With its type, which must not stand alone.
    pub(super) actor: Option<(Secret, String)>,
    pub(super) requested_token_type: Option<String>,
}

impl Subject {
    /// The value of `grant_type`.
    pub(super) fn grant_type(&self) -> &'static str {
        match self {
            Self::Client => "client_credentials",
            Self::User { .. } => "password",
            Self::Refresh { .. } => "refresh_token",
            Self::Given { .. } | Self::Signed { .. } => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::Exchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// The value of `grant` in the configuration.
    pub(super) fn grant(&self) -> &'static str {
        match self {
            Self::Client => "client_credentials",
            Self::User { .. } => "password",
            Self::Refresh { .. } => "refresh_token",
            Self::Given { .. } | Self::Signed { .. } => "jwt_bearer",
            Self::Exchange(_) => "token_exchange",
        }
    }

    /// What of it decides which credential this is. A subject that is known by a secret alone is named
    /// by its fingerprint.
    pub(super) fn parts(&self) -> Vec<(&'static str, String)> {
        let print = |secret: &Secret| fingerprint([secret.expose()]);
        match self {
            Self::Client => Vec::new(),
            Self::User { username, .. } => vec![("username", username.clone())],
            Self::Refresh { first } => vec![("refresh_token", print(first))],
            Self::Given { assertion } => vec![("assertion", print(assertion))],
            Self::Signed { statement, .. } => {
                let mut parts = vec![
                    ("issuer", statement.issuer.clone()),
                    ("subject", statement.subject.clone()),
                    ("assertion_audience", statement.audience.clone()),
                ];
                parts.extend(statement.claims.as_ref().map(|claims| ("claims", print(claims))));
                parts
            }
            Self::Exchange(exchange) => {
                let mut parts = vec![
                    ("subject_token", print(&exchange.subject_token)),
                    ("subject_token_type", exchange.subject_token_type.clone()),
                ];
                if let Some((token, kind)) = &exchange.actor {
                    parts.push(("actor_token", print(token)));
                    parts.push(("actor_token_type", kind.clone()));
                }
                parts.extend(exchange.requested_token_type.clone().map(|kind| ("requested_token_type", kind)));
                parts
            }
        }
    }

    /// What of it is secret, as it is configured.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Client => Vec::new(),
            Self::User { password: secret, .. }
            | Self::Refresh { first: secret }
            | Self::Given { assertion: secret } => vec![secret.clone()],
            Self::Signed { signer, statement } => {
                std::iter::once(signer.pem().clone()).chain(statement.claims.clone()).collect()
            }
            Self::Exchange(exchange) => {
                let actor = exchange.actor.as_ref().map(|(token, _)| token.clone());
                std::iter::once(exchange.subject_token.clone()).chain(actor).collect()
            }
        }
    }

    /// What stands among the parameters; `None` where it cannot be made.
    pub(super) fn parameters(&self, occasion: &Occasion) -> Option<Parameters> {
        let plain = |text: &str| Secret::new(text);
        let mut fleeting = None;
        let own = match self {
            Self::Client => Vec::new(),
            Self::User { username, password } => vec![("username", plain(username)), ("password", password.clone())],
            Self::Refresh { first } => {
                fleeting.clone_from(&occasion.refresh_token);
                vec![("refresh_token", occasion.refresh_token.as_ref().unwrap_or(first).clone())]
            }
            Self::Given { assertion } => vec![("assertion", assertion.clone())],
            Self::Signed { signer, statement } => {
                let assertion = signer.sign(&statement.claims(occasion))?;
                fleeting = Some(assertion.clone());
                vec![("assertion", assertion)]
            }
            Self::Exchange(exchange) => {
                let mut parameters = vec![
                    ("subject_token", exchange.subject_token.clone()),
                    ("subject_token_type", plain(&exchange.subject_token_type)),
                ];
                if let Some((token, kind)) = &exchange.actor {
                    parameters.push(("actor_token", token.clone()));
                    parameters.push(("actor_token_type", plain(kind)));
                }
                let wanted = exchange.requested_token_type.as_deref();
                parameters.extend(wanted.map(|kind| ("requested_token_type", plain(kind))));
                parameters
            }
        };
        Some(Parameters { own, fleeting })
    }
}
