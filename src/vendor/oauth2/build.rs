//! Whether what the operator wrote is complete, and goes together.

use std::sync::Arc;
use std::time::Duration;

use super::OAuth2;
use super::assertion::{OWN_CLAIMS, Signer, Statement};
use super::client::Client;
use super::settings::{AssertionSettings, ClientAuth, GrantType, OAuth2Settings, StatementSettings};
use super::subject::{ACCESS_TOKEN, Exchange, Subject};
use crate::model::{DurationError, EndpointUrl, WRITE_A_DURATION, parse_duration};
use crate::secret::Secret;
use crate::vendor::settings::{Problems, filled};
use crate::vendor::template::Template;
use crate::vendor::{FieldProblem, Vendor, VendorSettings};

/// What the credential's own fields send; `extra` must not send them again (RFC 6749 section 3.2).
const OWN_PARAMETERS: [&str; 17] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "username",
    "password",
    "refresh_token",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "scope",
    "audience",
    "resource",
];

/// The life of an assertion that is signed here, where nothing else is written.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(5 * 60);

impl VendorSettings for OAuth2Settings {
    fn build(mut self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        if token_url.is_none() {
            problems.add("token_url", "is missing; provider oauth2 knows no endpoint by itself", "add token_url");
        }
        let subject = self.subject(token_url.as_ref(), &mut problems);
        self.unused_by_the_grant(&mut problems);
        let client = self.client(&mut problems);
        let extra = self.extra.take().unwrap_or_default();
        for (name, _) in extra.iter().filter(|(name, _)| OWN_PARAMETERS.contains(name)) {
            problems.add(
                &format!("extra.{name}"),
                "is a parameter that the credential sends by itself",
                "remove it, and use the credential's own field",
            );
        }
        let built = token_url.zip(client).zip(subject).map(|((token_url, client), subject)| OAuth2 {
            token_url,
            client,
            subject,
            body: self.body.unwrap_or_default(),
            scope: filled(self.scope),
            audience: filled(self.audience),
            resource: filled(self.resource),
            extra,
        });
        problems.finish(built.map(|oauth2| Arc::new(oauth2) as Arc<dyn Vendor>))
    }

    fn shows_certificate(&self) -> bool {
        self.client_auth == Some(ClientAuth::Tls)
    }
}

impl OAuth2Settings {
    /// Takes what the grant needs.
    fn subject(&mut self, token_url: Option<&EndpointUrl>, problems: &mut Problems) -> Option<Subject> {
        match self.grant.unwrap_or_default() {
            GrantType::ClientCredentials => Some(Subject::Client),
            GrantType::Password => {
                let why = "grant password needs username and password";
                let username = problems.required("username", self.username.take(), why);
                let password = problems.required("password", self.password.take(), why);
                let (username, password) = username.zip(password)?;
                Some(Subject::User { username, password })
            }
            GrantType::RefreshToken => {
                let why = "grant refresh_token needs the first one, as the vendor's consent page gave it";
                let first = problems.required("refresh_token", self.refresh_token.take(), why)?;
                Some(Subject::Refresh { first })
            }
            GrantType::JwtBearer => {
                let why = "grant jwt_bearer needs one, as a text or as a map of what to sign";
                match problems.required("assertion", self.assertion.take(), why)? {
                    AssertionSettings::Given(assertion) => Some(Subject::Given { assertion }),
                    AssertionSettings::Signed(statement) => statement.build(token_url, problems),
                }
            }
            GrantType::TokenExchange => {
                let why = "grant token_exchange needs the token to be exchanged";
                let subject_token = problems.required("subject_token", self.subject_token.take(), why);
                let kind = |kind: Option<String>| filled(kind).unwrap_or_else(|| ACCESS_TOKEN.to_owned());
                let actor = filled(self.actor_token.take());
                if actor.is_none() {
                    // RFC 8693 section 2.1: it must not be sent then.
                    let why = "there is no actor_token";
                    problems.unused("actor_token_type", self.actor_token_type.as_ref(), why);
                }
                Some(Subject::Exchange(Exchange {
                    subject_token: subject_token?,
                    subject_token_type: kind(self.subject_token_type.take()),
                    actor: actor.map(|token| (token, kind(self.actor_token_type.take()))),
                    requested_token_type: filled(self.requested_token_type.take()),
                }))
            }
        }
    }

    /// What another grant would need; what this one needs has been taken.
    fn unused_by_the_grant(&self, problems: &mut Problems) {
        use GrantType::{ClientCredentials, JwtBearer, Password, RefreshToken, TokenExchange};

        let grant = self.grant.unwrap_or_default();
        let why = match grant {
            ClientCredentials => "grant client_credentials asks for the client itself",
            Password => "grant password sends username and password",
            RefreshToken => "grant refresh_token sends a refresh_token",
            JwtBearer => "grant jwt_bearer sends an assertion",
            TokenExchange => "grant token_exchange sends a subject_token",
        };
        if grant != Password {
            problems.unused("username", self.username.as_ref(), why);
            problems.unused("password", self.password.as_ref(), why);
        }
        if grant != RefreshToken {
            problems.unused("refresh_token", self.refresh_token.as_ref(), why);
        }
        if grant != JwtBearer {
            problems.unused("assertion", self.assertion.as_ref(), why);
        }
        if grant != TokenExchange {
            for (field, token) in [("subject_token", &self.subject_token), ("actor_token", &self.actor_token)] {
                problems.unused(field, token.as_ref(), why);
            }
            for (field, kind) in [
                ("subject_token_type", &self.subject_token_type),
                ("actor_token_type", &self.actor_token_type),
                ("requested_token_type", &self.requested_token_type),
            ] {
                problems.unused(field, kind.as_ref(), why);
            }
        }
    }

    /// Takes what the client's authentication needs, and tells of the rest.
    fn client(&mut self, problems: &mut Problems) -> Option<Client> {
        let auth = self.client_auth.unwrap_or_default();
        let why = match auth {
            ClientAuth::Basic => "client_auth basic needs client_id and client_secret",
            ClientAuth::Body => "client_auth body needs client_id and client_secret",
            ClientAuth::PrivateKeyJwt => "client_auth private_key_jwt needs client_id and private_key",
            ClientAuth::Tls => "client_auth tls needs client_id, and client_cert and client_key",
            ClientAuth::None => "client_auth none sends no secret",
        };
        let id = match auth {
            ClientAuth::None => filled(self.client_id.take()),
            _ => problems.required("client_id", self.client_id.take(), why),
        };
        let secret = match auth {
            ClientAuth::Basic | ClientAuth::Body => problems.required("client_secret", self.client_secret.take(), why),
            _ => {
                problems.unused("client_secret", self.client_secret.as_ref(), why);
                None
            }
        };
        let signer = if auth == ClientAuth::PrivateKeyJwt {
            let key_id = filled(self.key_id.take());
            problems
                .required("private_key", self.private_key.take(), why)
                .and_then(|key| Signer::new(&key, self.algorithm, key_id.as_deref(), "", problems))
        } else {
            let why = "only client_auth private_key_jwt signs";
            problems.unused("private_key", self.private_key.as_ref(), why);
            problems.unused("key_id", self.key_id.as_ref(), why);
            problems.unused("client_assertion_audience", self.client_assertion_audience.as_ref(), why);
            let algorithm = self.algorithm.map(|algorithm| algorithm.name().to_owned());
            problems.unused("algorithm", algorithm.as_ref(), why);
            None
        };
        Some(match auth {
            ClientAuth::Basic => Client::Basic { id: id?, secret: secret? },
            ClientAuth::Body => Client::Body { id: id?, secret: secret? },
            ClientAuth::PrivateKeyJwt => Client::Key {
                id: id?,
                signer: Box::new(signer?),
                audience: filled(self.client_assertion_audience.take()),
            },
            ClientAuth::Tls => Client::Certificate { id: id? },
            ClientAuth::None => Client::Nameless { id },
        })
    }
}

impl StatementSettings {
    fn build(self, token_url: Option<&EndpointUrl>, problems: &mut Problems) -> Option<Subject> {
        let why = "an assertion that is signed here needs private_key and issuer";
        let key_id = filled(self.key_id);
        let signer = problems
            .required("assertion.private_key", self.private_key, why)
            .and_then(|key| Signer::new(&key, self.algorithm, key_id.as_deref(), "assertion.", problems));
        let issuer = problems.required("assertion.issuer", self.issuer, why);
        let lifetime = lifetime(filled(self.lifetime), problems);
        let claims = claims(self.claims, problems);
        let issuer = issuer?;
        let audience = filled(self.audience).or_else(|| token_url.map(ToString::to_string))?;
        let subject = filled(self.subject).unwrap_or_else(|| issuer.clone());
        let statement = Statement { issuer, subject, audience, lifetime, claims };
        Some(Subject::Signed { signer: Box::new(signer?), statement })
    }
}

fn lifetime(text: Option<String>, problems: &mut Problems) -> Duration {
    let Some(text) = text else { return ASSERTION_LIFETIME };
    match parse_duration(&text) {
        Ok(lifetime) if lifetime >= Duration::from_secs(1) => return lifetime,
        Ok(_) => problems.add("assertion.lifetime", "must be a second or longer", "write 5m"),
        Err(DurationError::TooLong) => problems.add("assertion.lifetime", "is longer than a year", "write 5m"),
        Err(error) => problems.add("assertion.lifetime", error.to_string(), WRITE_A_DURATION),
    }
    ASSERTION_LIFETIME
}

/// Further claims as a JSON object.
fn claims(claims: Option<Template>, problems: &mut Problems) -> Option<Secret> {
    let claims = claims?;
    let Template::Object(members) = &claims else {
        problems.add("assertion.claims", "must be a map", "write {NAME: value}");
        return None;
    };
    for (name, _) in members.iter().filter(|(name, _)| OWN_CLAIMS.contains(&name.as_str())) {
        problems.add(
            &format!("assertion.claims.{name}"),
            "is a claim that the assertion has by itself",
            "remove it, and use issuer, subject, audience or lifetime",
        );
    }
    Some(claims.render())
}
