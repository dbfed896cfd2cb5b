//! What every credential takes, whatever its provider.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::choice::Listed;
use crate::config::file::form::Of;
use crate::config::file::measure::{Ahead, Patience, Span};
use crate::config::file::seal::SealKeyTexts;
use crate::config::file::word::{Endpoint, Member, Name, Path, Pattern, Pointer, Scheme, Status, Title};
use crate::secret::Secret;

/// What every credential takes, whatever its provider.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Common {
    /// Who logs in, and how.
    #[schemars(required)]
    pub(crate) provider: Option<Of<Title>>,
    /// Where the token is asked for. Default: the provider's own, where it has one.
    pub(crate) token_url: Option<Of<Endpoint>>,
    /// PEM file of the roots to trust at the token endpoint. Default: the system's.
    #[schemars(extend("examples" = ["/etc/ssl/login-ca.pem"]))]
    pub(crate) ca: Option<Of<Path>>,
    /// PEM file of a certificate to show to the token endpoint (RFC 8705); with `client_key`.
    /// Default: none is shown.
    #[schemars(extend("examples" = ["client.crt"]))]
    pub(crate) client_cert: Option<Of<Path>>,
    /// PEM file of the key of `client_cert`. Required beside it.
    #[schemars(extend("examples" = ["client.key"]))]
    pub(crate) client_key: Option<Of<Path>>,
    /// Verify no certificate of the token endpoint. For tests only.
    #[schemars(extend("default" = false))]
    pub(crate) insecure: Option<bool>,
    /// The egress proxy on the way to the token endpoint, as `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`; or `none`.
    /// Default: what the environment says (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`), but not for an
    /// address of this machine.
    #[schemars(extend("examples" = ["http://proxy.example:3128", "none"]))]
    pub(crate) proxy: Option<Secret>,
    /// For one token call.
    #[schemars(extend("default" = "10s"))]
    pub(crate) timeout: Option<Of<Patience>>,
    /// The life of a token when neither the answer nor the token says. Default: crewmojo 30m, `crm_com` 2h, crayon 1h,
    /// oauth2 and custom 5m, static for ever.
    pub(crate) lifetime: Option<Of<Patience>>,
    /// A token that was not used for so long is dead. Default: none; a token lives on unused.
    pub(crate) idle_lifetime: Option<Of<Patience>>,
    /// How long before its end a token is renewed: a share of its life (at most 5m), or a duration.
    #[schemars(extend("default" = "20%"))]
    pub(crate) refresh_before: Option<Of<Ahead>>,
    /// How long the change of an exclusive token waits for requests under way.
    #[schemars(extend("default" = "2s"))]
    pub(crate) drain: Option<Of<Span>>,
    /// Where the token goes: one place or a list. Default: `{header: Authorization, scheme: Bearer}`; for `crm_com`
    /// `[{header: token}, {parameter: token}]`.
    pub(crate) inject: Option<Listed<Inject>>,
    /// When an answer says that the token was at fault; either one is enough. Default: status 401, and for `crm_com`
    /// what its JSON answers say.
    pub(crate) refused_when: Option<Refused>,
    /// A new token invalidates the earlier ones. Default: true for crewmojo, else false.
    pub(crate) exclusive: Option<bool>,
    /// File that the last refresh token of the grant `refresh_token` is kept in, sealed; with `encryption_key`.
    /// It is made where it does not exist. Default: in memory, lost at a restart.
    #[schemars(extend("examples" = ["/var/lib/tokenferry/partner.token"]))]
    pub(crate) state_file: Option<Of<Path>>,
    /// What seals `state_file`: 32 bytes in base64, or a list of such keys: the first seals, all open.
    /// Required beside `state_file`.
    pub(crate) encryption_key: Option<SealKeyTexts>,
}

impl Common {
    /// Their names, as written.
    pub(crate) const FIELDS: &'static [&'static str] = &[
        "provider",
        "token_url",
        "ca",
        "client_cert",
        "client_key",
        "insecure",
        "proxy",
        "timeout",
        "lifetime",
        "idle_lifetime",
        "refresh_before",
        "drain",
        "inject",
        "refused_when",
        "exclusive",
        "state_file",
        "encryption_key",
    ];
}

/// One place for the token: one of `header`, `query`, `json` and `parameter`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["header"]}, {"required": ["query"]}, {"required": ["json"]}, {"required": ["parameter"]}
]))]
pub(crate) struct Inject {
    /// A header; without `scheme` it holds the bare token. Default: none.
    pub(crate) header: Option<Of<Name>>,
    /// The word before the token in the header. Default: none.
    pub(crate) scheme: Option<Of<Scheme>>,
    /// A query parameter. Default: none.
    pub(crate) query: Option<Of<Member>>,
    /// A top-level member of a JSON object body. Default: none.
    pub(crate) json: Option<Of<Member>>,
    /// The JSON member where the body is a JSON object, else the query parameter. Default: none.
    pub(crate) parameter: Option<Of<Member>>,
}

/// When an answer says that the token was at fault.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    /// Statuses that say so. Default: none.
    pub(crate) status: Option<Vec<Of<Status>>>,
    /// A text in a JSON answer that says so. Default: none.
    pub(crate) json: Option<JsonRefused>,
}

/// A text in a JSON answer that says so.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonRefused {
    /// Where the text is.
    #[schemars(required)]
    pub(crate) pointer: Option<Of<Pointer>>,
    /// What it must match.
    #[schemars(required)]
    pub(crate) matches: Option<Of<Pattern>>,
}
