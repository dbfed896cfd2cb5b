//! Any token endpoint of RFC 6749: the grants `client_credentials` (section 4.4), `password` (section
//! 4.3) and `refresh_token` (section 6), `jwt_bearer` (RFC 7523) and `token_exchange` (RFC 8693); the
//! client in a Basic header, in the body, by a signed assertion, by its certificate, or not at all.
//!
//! `settings` is what the operator writes, and `build` whether it is complete; `client` is who asks,
//! `subject` for whom; `assertion` signs.

mod assertion;
mod build;
mod client;
mod settings;
mod subject;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use settings::OAuth2Settings;

use super::answer::Sent;
use super::request::{FORM, JSON, form, json_object, json_string, post};
use super::settings::{Pairs, fingerprint};
use super::{
    Answer, Defaults, FaultClass, FaultReason, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault,
    TokenRequest, Vendor, rfc6749,
};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::Secret;
use client::Client;
use settings::BodyForm;
use subject::{ACCESS_TOKEN, Subject};

#[derive(Debug)]
struct OAuth2 {
    token_url: EndpointUrl,
    client: Client,
    subject: Subject,
    body: BodyForm,
    scope: Option<String>,
    audience: Option<String>,
    resource: Option<String>,
    extra: Pairs,
}

/// A part of a request.
#[derive(Default)]
struct Parameters {
    own: Vec<(&'static str, Secret)>,
    /// What of it was made for this login, or came of an earlier one.
    fleeting: Option<Secret>,
}

impl OAuth2 {
    /// `scope`, `audience` and `resource`, where they are set.
    fn wishes(&self) -> impl Iterator<Item = (&str, &str)> {
        [("scope", &self.scope), ("audience", &self.audience), ("resource", &self.resource)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    fn secrets(&self) -> Vec<Secret> {
        self.client.secret().cloned().into_iter().chain(self.subject.secrets()).collect()
    }

    fn refreshes(&self) -> bool {
        matches!(self.subject, Subject::Refresh { .. })
    }
}

impl Vendor for OAuth2 {
    fn provider(&self) -> &'static str {
        "oauth2"
    }

    fn identity(&self) -> Identity {
        let mut parts = vec![("token_url", self.token_url.to_string()), ("grant", self.subject.grant().to_owned())];
        parts.extend(self.client.id().map(|id| ("client_id", id.to_owned())));
        parts.extend(self.client.audience().map(|audience| ("client_assertion_audience", audience.to_owned())));
        parts.extend(self.subject.parts());
        parts.extend(self.scope.clone().map(|scope| ("scope", scope)));
        parts.extend(self.audience.clone().map(|audience| ("audience", audience)));
        parts.extend(self.resource.clone().map(|resource| ("resource", resource)));
        // The values may be secret: what names them must not be readable.
        parts.extend(self.extra.iter().map(|(name, value)| ("extra", format!("{name}={}", fingerprint([value])))));
        Identity { parts, secrets: self.secrets() }
    }

    fn token_url(&self) -> Option<&EndpointUrl> {
        Some(&self.token_url)
    }

    fn login(&self, occasion: &Occasion) -> Result<Login, TokenFault> {
        let unsayable = || TokenFault::new(FaultClass::Transient, FaultReason::Unsayable);
        let client = self.client.parameters(occasion, &self.token_url).ok_or_else(unsayable)?;
        let subject = self.subject.parameters(occasion).ok_or_else(unsayable)?;
        let own = client.own.iter().chain(&subject.own).map(|(name, value)| (*name, value.expose()));
        let parameters = std::iter::once(("grant_type", self.subject.grant_type()))
            .chain(own)
            .chain(self.wishes())
            .chain(self.extra.iter());
        let (content_type, body) = match self.body {
            BodyForm::Form => (FORM, form(parameters)),
            BodyForm::Json => (JSON, json_object(parameters)),
        };
        let request = post(&self.token_url, content_type, self.client.basic().as_ref(), body);
        Ok(Login::Request(TokenRequest {
            fleeting: client.fleeting.into_iter().chain(subject.fleeting).collect(),
            ..request
        }))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        let sent = self.secrets().into_iter().chain(self.client.basic()).chain(self.extra.secrets());
        match rfc6749::read(answer, Sent::new(sent), |_, _| None) {
            // Other grants log in anew with what they have.
            Ok(grant) if self.refreshes() => Ok(Grant { refresh_token: rfc6749::refresh_token(answer), ..grant }),
            // RFC 6749 section 5.2: it is invalid, expired, revoked, or another client's.
            Err(fault) if self.refreshes() && fault.code.as_deref() == Some("invalid_grant") => {
                Err(TokenFault { reason: FaultReason::RefreshToken, ..fault })
            }
            read => read,
        }
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        vec![OwnEndpoint { url: self.token_url.clone(), call: OwnCall::Login }]
    }

    fn placeholder(&self, call: OwnCall, token: &str, lifetime: Duration) -> String {
        match call {
            OwnCall::Login => match &self.subject {
                // RFC 8693 section 2.2.1 requires one member more.
                Subject::Exchange(exchange) => {
                    let kind = exchange.requested_token_type.as_deref().unwrap_or(ACCESS_TOKEN);
                    let answer = rfc6749::token_answer(token, lifetime);
                    answer.replacen('{', &format!(r#"{{"issued_token_type":{},"#, json_string(kind)), 1)
                }
                _ => rfc6749::token_answer(token, lifetime),
            },
            OwnCall::Release => "{}".to_owned(),
        }
    }

    fn first_refresh_token(&self) -> Option<&Secret> {
        match &self.subject {
            Subject::Refresh { first } => Some(first),
            _ => None,
        }
    }

    fn in_force(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("grant", self.subject.grant().to_owned()),
            ("client_auth", self.client.auth().to_owned()),
            ("body", self.body.name().to_owned()),
        ];
        fields.extend(self.client.signer().map(|signer| ("algorithm", signer.signature().name().to_owned())));
        match &self.subject {
            Subject::Signed { signer, .. } => {
                fields.push(("assertion.algorithm", signer.signature().name().to_owned()));
                fields.push(("assertion.lifetime", "5m".to_owned()));
            }
            Subject::Exchange(exchange) => {
                fields.push(("subject_token_type", ACCESS_TOKEN.to_owned()));
                fields.extend(exchange.actor.as_ref().map(|_| ("actor_token_type", ACCESS_TOKEN.to_owned())));
            }
            _ => {}
        }
        fields
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            inject: vec![Place::bearer()],
            lifetime: Some(Duration::from_secs(5 * 60)),
            exclusive: false,
            refused_when: RefusedWhen::default(),
        }
    }
}
