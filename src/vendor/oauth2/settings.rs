//! What the operator writes.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::assertion::Signature;
use crate::secret::Secret;
use crate::vendor::settings::{Blank, Pairs};
use crate::vendor::template::Template;

/// Any token endpoint of RFC 6749.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::vendor) struct OAuth2Settings {
    /// How a token is asked for.
    #[schemars(extend("default" = "client_credentials"))]
    pub(super) grant: Option<GrantType>,
    /// The client's id. Required, unless `client_auth` is none.
    #[schemars(extend("examples" = ["${PARTNER_ID}"]))]
    pub(super) client_id: Option<String>,
    /// The client's secret. Required by `client_auth` basic and body.
    #[schemars(extend("examples" = ["${PARTNER_SECRET}"]))]
    pub(super) client_secret: Option<Secret>,
    /// How the client says who it is.
    #[schemars(extend("default" = "basic"))]
    pub(super) client_auth: Option<ClientAuth>,
    /// The client's key in PEM. Required by `client_auth: private_key_jwt`.
    #[schemars(extend("examples" = ["${file:key.pem}"]))]
    pub(super) private_key: Option<Secret>,
    /// The key's id, which the server looks its other half up by (`kid`). Default: none.
    #[schemars(extend("examples" = ["2026-11"]))]
    pub(super) key_id: Option<String>,
    /// How the key signs. Default: by its kind, RS256, ES256, ES384 or `EdDSA`.
    pub(super) algorithm: Option<Signature>,
    /// For whom the client's assertions are. Default: `token_url`.
    #[schemars(extend("examples" = ["https://login.example.com"]))]
    pub(super) client_assertion_audience: Option<String>,
    /// How the request's parameters are written.
    #[schemars(extend("default" = "form"))]
    pub(super) body: Option<BodyForm>,
    /// What is asked for, separated by spaces. Default: left to the server.
    #[schemars(extend("examples" = ["read write"]))]
    pub(super) scope: Option<String>,
    /// Whom the token is for, where the endpoint wants to know. Default: it is not told.
    #[schemars(extend("examples" = ["https://api.example.com"]))]
    pub(super) audience: Option<String>,
    /// What the token is for (RFC 8707). Default: it is not told.
    #[schemars(extend("examples" = ["https://api.example.com/v1"]))]
    pub(super) resource: Option<String>,
    /// Further request parameters. Default: none.
    #[schemars(extend("examples" = [{"tenant": "acme"}]))]
    pub(super) extra: Option<Pairs>,
    /// The user. Required by the grant `password`.
    #[schemars(extend("examples" = ["${PARTNER_USER}"]))]
    pub(super) username: Option<String>,
    /// The user's password. Required by the grant `password`.
    #[schemars(extend("examples" = ["${PARTNER_PASSWORD}"]))]
    pub(super) password: Option<Secret>,
    /// The first refresh token; those that the server gives in its place are kept in `state_file`.
    /// Required by the grant `refresh_token`.
    #[schemars(extend("examples" = ["${PARTNER_REFRESH_TOKEN}"]))]
    pub(super) refresh_token: Option<Secret>,
    /// The assertion: a text, or what it is made of and signed with. Required by the grant `jwt_bearer`.
    #[schemars(extend("examples" = ["${file:assertion.jwt}"]))]
    pub(super) assertion: Option<AssertionSettings>,
    /// The token to be exchanged. Required by the grant `token_exchange`.
    #[schemars(extend("examples" = ["${file:/run/secrets/subject}"]))]
    pub(super) subject_token: Option<Secret>,
    /// What `subject_token` is.
    #[schemars(extend("default" = "urn:ietf:params:oauth:token-type:access_token", "examples" = ["urn:ietf:params:oauth:token-type:jwt"]))]
    pub(super) subject_token_type: Option<String>,
    /// The token of the one who acts for the subject, where that is somebody else. Default: none.
    #[schemars(extend("examples" = ["${file:/run/secrets/actor}"]))]
    pub(super) actor_token: Option<Secret>,
    /// What `actor_token` is.
    #[schemars(extend("default" = "urn:ietf:params:oauth:token-type:access_token", "examples" = ["urn:ietf:params:oauth:token-type:jwt"]))]
    pub(super) actor_token_type: Option<String>,
    /// What `token_exchange` is to give. Default: left to the server.
    #[schemars(extend("examples" = ["urn:ietf:params:oauth:token-type:access_token"]))]
    pub(super) requested_token_type: Option<String>,
}

/// The grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum GrantType {
    /// The client asks for itself.
    #[default]
    ClientCredentials,
    /// The client asks for a user, with the user's password.
    Password,
    /// The client asks for a user who has consented, with a refresh token.
    RefreshToken,
    /// The client shows an assertion (RFC 7523 section 2.1).
    JwtBearer,
    /// The client exchanges a token for another (RFC 8693).
    TokenExchange,
}

/// How the client says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientAuth {
    /// In a Basic header, form-encoded before (RFC 6749 section 2.3.1).
    #[default]
    Basic,
    /// As `client_id` and `client_secret` among the parameters.
    Body,
    /// By an assertion that its key signs (RFC 7523 section 2.2).
    PrivateKeyJwt,
    /// By its certificate, `client_cert` (RFC 8705).
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

impl BodyForm {
    /// As the configuration has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Json => "json",
        }
    }
}

/// An assertion: made elsewhere, or signed here.
#[derive(Debug)]
pub(super) enum AssertionSettings {
    Given(Secret),
    Signed(Box<StatementSettings>),
}

/// What an assertion says, and what signs it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementSettings {
    /// The key in PEM.
    #[schemars(required, extend("examples" = ["${file:key.pem}"]))]
    pub(super) private_key: Option<Secret>,
    /// The key's id, which the server looks its other half up by (`kid`). Default: none.
    #[schemars(extend("examples" = ["2026-11"]))]
    pub(super) key_id: Option<String>,
    /// How the key signs. Default: by its kind, RS256, ES256, ES384 or `EdDSA`.
    pub(super) algorithm: Option<Signature>,
    /// Who makes the assertion (`iss`).
    #[schemars(required, extend("examples" = ["billing@example.com"]))]
    pub(super) issuer: Option<String>,
    /// For whom a token is asked (`sub`). Default: the issuer.
    #[schemars(extend("examples" = ["ann@example.com"]))]
    pub(super) subject: Option<String>,
    /// For whom the assertion is (`aud`). Default: `token_url`.
    #[schemars(extend("examples" = ["https://login.example.com"]))]
    pub(super) audience: Option<String>,
    /// How long it holds.
    #[schemars(extend("default" = "5m", "pattern" = r"^(\s*[0-9]+(ms|s|m|h))+\s*$|\$\{", "examples" = ["5m"]))]
    pub(super) lifetime: Option<String>,
    /// Further claims: a map of any JSON values. Default: none.
    #[schemars(extend("examples" = [{"tenant": "acme"}]))]
    pub(super) claims: Option<Template>,
}

impl Blank for AssertionSettings {
    fn is_blank(&self) -> bool {
        match self {
            Self::Given(assertion) => assertion.is_blank(),
            Self::Signed(_) => false,
        }
    }
}

impl<'de> Deserialize<'de> for AssertionSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = AssertionSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a map of `private_key`, `issuer` and so on")
            }

            // By its name the configuration's reader knows a text here for a secret.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<AssertionSettings, D::Error> {
                inner.deserialize_any(self)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AssertionSettings, E> {
                Ok(AssertionSettings::Given(Secret::new(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AssertionSettings, A::Error> {
                StatementSettings::deserialize(MapAccessDeserializer::new(map))
                    .map(|statement| AssertionSettings::Signed(Box::new(statement)))
            }
        }

        deserializer.deserialize_newtype_struct(Secret::SERDE_NAME, Either)
    }
}

impl JsonSchema for AssertionSettings {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Assertion".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (given, signed) = (generator.subschema_for::<Secret>(), generator.subschema_for::<StatementSettings>());
        schemars::json_schema!({ "anyOf": [given, signed] })
    }
}
