//! Any token endpoint of RFC 6749: the grants `client_credentials` (section 4.4) and `password`
//! (section 4.3), the client in a Basic header, in the body, or not at all.
//!
//! `settings` is what the operator writes; `client` is who asks, `subject` for whom.

mod client;
mod settings;
mod subject;
#[cfg(test)]
mod tests;

use std::iter;
use std::time::Duration;

pub(super) use settings::OAuth2Settings;

use super::answer::Sent;
use super::request::{FORM, JSON, form, json_object, post};
use super::settings::{Pairs, fingerprint};
use super::{Answer, Defaults, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault, Vendor, rfc6749};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::Secret;
use client::Client;
use settings::BodyForm;
use subject::Subject;

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

impl OAuth2 {
    /// `scope`, `audience` and `resource`, where they are set.
    fn wishes(&self) -> impl Iterator<Item = (&str, &str)> {
        [("scope", &self.scope), ("audience", &self.audience), ("resource", &self.resource)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    fn secrets(&self) -> Vec<Secret> {
        let password = self.subject.user().map(|(_, password)| password.clone());
        self.client.secret().cloned().into_iter().chain(password).collect()
    }
}

impl Vendor for OAuth2 {
    fn provider(&self) -> &'static str {
        "oauth2"
    }

    fn identity(&self) -> Identity {
        let mut parts = vec![("token_url", self.token_url.to_string()), ("grant", self.subject.grant().to_owned())];
        parts.extend(self.client.id().map(|id| ("client_id", id.to_owned())));
        parts.extend(self.subject.user().map(|(username, _)| ("username", username.to_owned())));
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

    fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
        let user = self
            .subject
            .user()
            .into_iter()
            .flat_map(|(username, password)| [("username", username), ("password", password.expose())]);
        let grant: (&str, &str) = ("grant_type", self.subject.grant());
        let parameters =
            iter::once(grant).chain(self.client.parameters()).chain(user).chain(self.wishes()).chain(self.extra.iter());
        let (content_type, body) = match self.body {
            BodyForm::Form => (FORM, form(parameters)),
            BodyForm::Json => (JSON, json_object(parameters)),
        };
        Ok(Login::Request(post(&self.token_url, content_type, self.client.basic().as_ref(), body)))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        let sent = self.secrets().into_iter().chain(self.client.basic()).chain(self.extra.secrets());
        rfc6749::read(answer, Sent::new(sent), |_, _| None)
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        vec![OwnEndpoint { url: self.token_url.clone(), call: OwnCall::Login }]
    }

    fn placeholder(&self, call: OwnCall, token: &str, lifetime: Duration) -> String {
        match call {
            OwnCall::Login => rfc6749::token_answer(token, lifetime),
            OwnCall::Release => "{}".to_owned(),
        }
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
