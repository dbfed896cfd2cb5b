//! What each vendor asks for and answers: one file a vendor, pure (no I/O, no clock, no async).
//!
//! A vendor's file holds its settings (serde, whose docs feed the schema), the token request it
//! builds, how it reads the answer, its placeholder answer, its defaults and its tests. A new
//! vendor is one new file and one line in the list below; nothing else in the tree names a vendor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Error as _;

use crate::model::{EndpointUrl, Placement, RefusedWhen};
use crate::secret::Secret;

/// The list, and what is asked of it.
macro_rules! vendors {
    ($($provider:literal => $settings:ty),* $(,)?) => {
        /// The names that `provider:` takes.
        pub const PROVIDERS: &[&str] = &[$($provider),*];

        /// The names of a provider's own fields (without those that every credential has); empty
        /// for a provider that is not in the list.
        pub fn fields(provider: &str) -> &'static [&'static str] {
            match provider {
                $($provider => field_names::field_names::<$settings>(),)*
                _ => &[],
            }
        }

        /// Reads a provider's own fields (without `provider` and those that every credential has).
        pub fn parse<'de, D: serde::Deserializer<'de>>(
            provider: &str,
            deserializer: D,
        ) -> Result<Box<dyn VendorSettings>, D::Error> {
            match provider {
                $($provider => {
                    <$settings>::deserialize(deserializer).map(|s| Box::new(s) as Box<dyn VendorSettings>)
                })*
                unknown => Err(D::Error::unknown_variant(unknown, PROVIDERS)),
            }
        }

        /// The schema of a provider's own fields: an object that allows no others. `None` for a
        /// provider that is not in the list.
        pub fn schema(provider: &str, generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
            match provider {
                $($provider => Some(<$settings>::json_schema(generator)),)*
                _ => None,
            }
        }
    };
}

mod answer;
mod crayon;
mod crewmojo;
mod crm_com;
mod custom;
mod fault;
mod field_names;
mod lifetime;
mod oauth2;
mod request;
mod rfc6749;
mod settings;
mod static_token;
mod template;
#[cfg(test)]
mod tests;

pub use fault::{FaultClass, FaultReason, TokenFault};
pub use lifetime::skew;

vendors! {
    "crewmojo" => crewmojo::CrewmojoSettings,
    "crm_com" => crm_com::CrmComSettings,
    "crayon" => crayon::CrayonSettings,
    "oauth2" => oauth2::OAuth2Settings,
    "custom" => custom::CustomSettings,
    "static" => static_token::StaticSettings,
}

/// A request for a token, ready to be sent. Header values that may be secret are marked sensitive.
pub struct TokenRequest {
    /// Nearly always POST.
    pub method: Method,
    /// Where to.
    pub url: EndpointUrl,
    /// `Content-Type`, `Accept` and, where the vendor wants it, `Authorization`.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Secret,
    /// What of it the settings do not hold, made for this login or come of an earlier one:
    /// [`Answer::sent`] then.
    pub fleeting: Vec<Secret>,
}

/// Without body and query, which may be secret.
impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("method", &self.method)
            .field("url", &format_args!("{}{}", self.url.origin(), self.url.path()))
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// How a credential comes by its token.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once a login, never kept")]
pub enum Login {
    /// By asking.
    Request(TokenRequest),
    /// It is written in the configuration and lives for ever.
    Fixed(Secret),
}

/// A token endpoint's answer, read whole (64 KiB at most).
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status; 3xx is never followed.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
    /// What was sent and the vendor's settings do not hold: must not come back in a log.
    pub sent: &'a [Secret],
}

/// Where a token's lifetime came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LifetimeSource {
    /// A field of the answer.
    Answer,
    /// `exp` and `iat` of the token, which is a JWT.
    Token,
    /// The credential's `lifetime`.
    Configured,
}

/// What a login may need to know and a vendor's pure code cannot find out.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// Now by the wall clock, in seconds since 1970: `iat` and `exp` of a signed assertion.
    pub now: u64,
    /// Random, of the characters of base64url, and used for this login only: `jti` of an assertion.
    pub nonce: String,
    /// The refresh token that was kept from an earlier login; `None` where none was.
    pub refresh_token: Option<Secret>,
}

/// A token as the vendor gave it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Visible ASCII without spaces at its ends; never empty.
    pub token: Secret,
    /// How long it lives from before the request was sent, where the answer or the token says so;
    /// at most 24 hours, never zero.
    pub lifetime: Option<(Duration, LifetimeSource)>,
    /// The refresh token for the next login, where the answer has one and this vendor uses it.
    pub refresh_token: Option<Secret>,
    /// How far the vendor's clock is ahead of ours, in seconds, by the answer's `Date`.
    pub skew: Option<i64>,
}

impl Grant {
    /// A token of which no more is known than its life.
    pub fn new(token: Secret, lifetime: Option<(Duration, LifetimeSource)>) -> Self {
        Self { token, lifetime, refresh_token: None, skew: None }
    }
}

impl LifetimeSource {
    /// The stable word for it, in logs and for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Token => "token",
            Self::Configured => "configuration",
        }
    }
}

/// What decides which credentials are the same one.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Named parts: endpoint, client or user, scope and extras. Two credentials of one provider
    /// with the same parts share one token.
    pub parts: Vec<(&'static str, String)>,
    /// The secrets: a change of them is a new version of the same credential.
    pub secrets: Vec<Secret>,
}

/// What a part of an identity that was made from a secret begins with.
const FINGERPRINT: &str = "sha256:";

impl Identity {
    /// The parts that outlive a rotation of the secrets, and whether they are all of them. Where they
    /// are not, two credentials with the same lasting parts may still be two clients.
    pub fn lasting(&self) -> (Vec<(&'static str, String)>, bool) {
        let parts: Vec<_> = self.parts.iter().filter(|(_, part)| !part.starts_with(FINGERPRINT)).cloned().collect();
        let all = parts.len() == self.parts.len();
        (parts, all)
    }

    /// The parts that name the client at its endpoint, whatever token it asks for: what an exclusive
    /// token is exclusive to.
    pub fn client(&self) -> Vec<(&'static str, String)> {
        const OF_THE_TOKEN: [&str; 6] = ["grant", "scope", "audience", "resource", "extra", "requested_token_type"];
        self.parts.iter().filter(|(name, _)| !OF_THE_TOKEN.contains(name)).cloned().collect()
    }
}

/// What a vendor's credential does unless the operator says otherwise.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Where the token goes.
    pub inject: Placement,
    /// The life of a token that says nothing of it; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// Whether a new token invalidates the earlier ones.
    pub exclusive: bool,
    /// When an answer says that the token was at fault.
    pub refused_when: RefusedWhen,
}

/// One of a vendor's own endpoints, which a legacy application may still call through the proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnEndpoint {
    /// Where it is at the vendor.
    pub url: EndpointUrl,
    /// What it is for.
    pub call: OwnCall,
}

/// What a call to a vendor's own endpoint is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnCall {
    /// Logging in.
    Login,
    /// Giving a token up.
    Release,
}

/// A credential's vendor: settings that were checked, and what follows from them.
pub trait Vendor: fmt::Debug + Send + Sync {
    /// The name that `provider:` has in the configuration.
    fn provider(&self) -> &'static str;

    /// What decides which credentials are the same one.
    fn identity(&self) -> Identity;

    /// Where a token is asked for; `None` for a fixed token.
    fn token_url(&self) -> Option<&EndpointUrl>;

    /// How a token is come by. Fails where a request cannot even be made, such as with a key that
    /// does not sign.
    fn login(&self, occasion: &Occasion) -> Result<Login, TokenFault>;

    /// Reads the answer to [`Vendor::login`]. Lenient where vendors vary, strict where it matters.
    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault>;

    /// The vendor's own endpoints: logins and releases.
    fn own_endpoints(&self) -> Vec<OwnEndpoint>;

    /// The body (JSON) of the answer to a call of an own endpoint, in the vendor's own form.
    fn placeholder(&self, call: OwnCall, token: &str, lifetime: Duration) -> String;

    /// The request that gives a token up, where the vendor has one and the operator wants it.
    fn release(&self, _token: &Secret) -> Option<TokenRequest> {
        None
    }

    /// The refresh token of the configuration, where the login uses one: what is kept descends from it.
    fn first_refresh_token(&self) -> Option<&Secret> {
        None
    }

    /// Fields of the settings that have a default, dotted for a nested one, with what holds where they
    /// are not written. No secret, and nothing that was made of another field.
    fn in_force(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What holds unless the operator says otherwise.
    fn defaults(&self) -> Defaults;
}

/// A setting that a vendor did not take. Holds no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldProblem {
    /// The field, dotted for a nested one: `request.url`.
    pub field: String,
    /// What is wrong with it, without a full stop.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

/// Settings as they were read, before they are known to be complete.
pub trait VendorSettings {
    /// Checks the settings. `token_url` is the credential's override of the endpoint.
    fn build(self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>>;

    /// Whether the login shows a certificate, so that one must be there.
    fn shows_certificate(&self) -> bool {
        false
    }
}
