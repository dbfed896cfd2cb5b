//! What the operator writes, and whether it is complete.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::OAuth2;
use super::client::Client;
use super::subject::Subject;
use crate::model::EndpointUrl;
use crate::secret::Secret;
use crate::vendor::settings::{Pairs, Problems, filled};
use crate::vendor::{FieldProblem, Vendor, VendorSettings};

/// Any token endpoint of RFC 6749.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::vendor) struct OAuth2Settings {
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
pub(super) enum BodyForm {
    /// `application/x-www-form-urlencoded`, as the RFC has it.
    #[default]
    Form,
    /// A JSON object of strings.
    Json,
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
