//! Any token endpoint of RFC 6749: the grants `client_credentials` (section 4.4) and `password`
//! (section 4.3), the client in a Basic header, in the body, or not at all.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Sent;
use super::request::{FORM, JSON, basic_form_encoded, form, json_object, post};
use super::settings::{Pairs, Problems, filled, fingerprint};
use super::{
    Answer, Defaults, FieldProblem, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault, Vendor,
    VendorSettings, rfc6749,
};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::Secret;

/// Any token endpoint of RFC 6749.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OAuth2Settings {
    /// The grant. Default: `client_credentials`.
    grant: Option<GrantType>,
    /// The client's id.
    client_id: Option<String>,
    /// The client's secret.
    client_secret: Option<Secret>,
    /// Where the client says who it is. Default: basic.
    client_auth: Option<ClientAuth>,
    /// How the request's parameters are written. Default: form.
    body: Option<BodyForm>,
    /// What is asked for, separated by spaces.
    scope: Option<String>,
    /// Whom the token is for, where the endpoint wants to know.
    audience: Option<String>,
    /// What the token is for (RFC 8707).
    resource: Option<String>,
    /// Further request parameters.
    extra: Option<Pairs>,
    /// The user of the grant `password`.
    username: Option<String>,
    /// The password of the grant `password`.
    password: Option<Secret>,
}

/// The grants. Those that are skipped in the schema are known and not yet supported.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum GrantType {
    /// The client asks for itself.
    #[default]
    ClientCredentials,
    /// The client asks for a user, with the user's password.
    Password,
    #[schemars(skip)]
    RefreshToken,
    #[schemars(skip)]
    JwtBearer,
    #[schemars(skip)]
    TokenExchange,
}

/// How the client says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ClientAuth {
    /// In a Basic header, form-encoded before (RFC 6749 section 2.3.1).
    #[default]
    Basic,
    /// As `client_id` and `client_secret` among the parameters.
    Body,
    #[schemars(skip)]
    PrivateKeyJwt,
    #[schemars(skip)]
    Tls,
    /// Not at all; a `client_id` is sent as a parameter.
    None,
}

/// How parameters are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BodyForm {
    /// `application/x-www-form-urlencoded`, as the RFC has it.
    #[default]
    Form,
    /// A JSON object of strings.
    Json,
}

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

/// For whom a token is asked: what the grant says.
#[derive(Debug)]
enum Subject {
    Client,
    User { username: String, password: Secret },
}

#[derive(Debug)]
enum Client {
    Basic { id: String, secret: Secret },
    Body { id: String, secret: Secret },
    Nameless { id: Option<String> },
}

/// What the credential's own fields send; `extra` must not send them again (RFC 6749 section 3.2).
const OWN_PARAMETERS: [&str; 8] =
    ["grant_type", "client_id", "client_secret", "username", "password", "scope", "audience", "resource"];

impl VendorSettings for OAuth2Settings {
    fn build(mut self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        if token_url.is_none() {
            problems.add("token_url", "is missing; provider oauth2 knows no endpoint by itself", "add token_url");
        }
        let subject = self.subject(&mut problems);
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
}

impl OAuth2Settings {
    fn subject(&mut self, problems: &mut Problems) -> Option<Subject> {
        match self.grant.unwrap_or_default() {
            GrantType::Password => {
                let why = "grant password needs username and password";
                let username = problems.required("username", self.username.take(), why);
                let password = problems.required("password", self.password.take(), why);
                let (username, password) = username.zip(password)?;
                Some(Subject::User { username, password })
            }
            GrantType::ClientCredentials => {
                let why = "grant client_credentials has no user";
                problems.unused("username", self.username.as_ref(), why);
                problems.unused("password", self.password.as_ref(), why);
                Some(Subject::Client)
            }
            GrantType::RefreshToken | GrantType::JwtBearer | GrantType::TokenExchange => {
                problems.unsupported("grant", "use client_credentials or password");
                None
            }
        }
    }

    fn client(&mut self, problems: &mut Problems) -> Option<Client> {
        let auth = self.client_auth.unwrap_or_default();
        match auth {
            ClientAuth::Basic | ClientAuth::Body => {
                let why = if auth == ClientAuth::Basic {
                    "client_auth basic needs client_id and client_secret"
                } else {
                    "client_auth body needs client_id and client_secret"
                };
                let id = problems.required("client_id", self.client_id.take(), why);
                let secret = problems.required("client_secret", self.client_secret.take(), why);
                let (id, secret) = id.zip(secret)?;
                Some(if auth == ClientAuth::Basic { Client::Basic { id, secret } } else { Client::Body { id, secret } })
            }
            ClientAuth::None => {
                problems.unused("client_secret", self.client_secret.as_ref(), "client_auth none sends no secret");
                Some(Client::Nameless { id: filled(self.client_id.take()) })
            }
            ClientAuth::PrivateKeyJwt | ClientAuth::Tls => {
                problems.unsupported("client_auth", "use basic, body or none");
                None
            }
        }
    }
}

impl Client {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Basic { id, .. } | Self::Body { id, .. } => Some(id),
            Self::Nameless { id } => id.as_deref(),
        }
    }

    fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic { secret, .. } | Self::Body { secret, .. } => Some(secret),
            Self::Nameless { .. } => None,
        }
    }

    /// The credentials of a Basic header.
    fn basic(&self) -> Option<Secret> {
        match self {
            Self::Basic { id, secret } => Some(basic_form_encoded(id, secret.expose())),
            Self::Body { .. } | Self::Nameless { .. } => None,
        }
    }

    /// What stands among the parameters.
    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let (id, secret) = match self {
            Self::Basic { .. } => (None, None),
            Self::Body { id, secret } => (Some(id.as_str()), Some(secret.expose())),
            Self::Nameless { id } => (id.as_deref(), None),
        };
        id.map(|id| ("client_id", id)).into_iter().chain(secret.map(|secret| ("client_secret", secret)))
    }
}

impl OAuth2 {
    fn grant(&self) -> &'static str {
        match self.subject {
            Subject::Client => "client_credentials",
            Subject::User { .. } => "password",
        }
    }

    fn user(&self) -> Option<(&str, &Secret)> {
        match &self.subject {
            Subject::Client => None,
            Subject::User { username, password } => Some((username, password)),
        }
    }

    /// `scope`, `audience` and `resource`, where they are set.
    fn wishes(&self) -> impl Iterator<Item = (&str, &str)> {
        [("scope", &self.scope), ("audience", &self.audience), ("resource", &self.resource)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    fn secrets(&self) -> Vec<Secret> {
        let password = self.user().map(|(_, password)| password.clone());
        self.client.secret().cloned().into_iter().chain(password).collect()
    }
}

impl Vendor for OAuth2 {
    fn provider(&self) -> &'static str {
        "oauth2"
    }

    fn identity(&self) -> Identity {
        let mut parts = vec![("token_url", self.token_url.to_string()), ("grant", self.grant().to_owned())];
        parts.extend(self.client.id().map(|id| ("client_id", id.to_owned())));
        parts.extend(self.user().map(|(username, _)| ("username", username.to_owned())));
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
            .user()
            .into_iter()
            .flat_map(|(username, password)| [("username", username), ("password", password.expose())]);
        let grant: (&str, &str) = ("grant_type", self.grant());
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

#[cfg(test)]
mod tests;
