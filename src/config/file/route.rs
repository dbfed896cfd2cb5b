//! Routes as written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::access::Access;
use crate::config::file::bound::Rates;
use crate::config::file::choice::{CredentialName, HostHeader, Slash, TokenCall, Upstream};
use crate::config::file::form::Of;
use crate::config::file::measure::{Patience, Size};
use crate::config::file::word::{Exact, Host, Line, Name, Pattern, Prefix, Status, Title, Upgrade, Verb};
use crate::model::Rate;

/// Which requests go where, with which credential.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["upstream", "credential"]}, {"required": ["respond"]}]))]
pub(crate) struct Route {
    /// Its name, for logs and commands; unique.
    #[schemars(required)]
    #[schemars(extend("examples" = ["crm"]))]
    pub(crate) name: Option<Of<Title>>,
    /// Which requests it takes. Default: all.
    #[serde(rename = "match")]
    pub(crate) matcher: Option<Match>,
    /// Where they go. Required, unless the route answers by `respond`.
    pub(crate) upstream: Option<Upstream>,
    /// The credential whose token is put in, or `none`. Required beside `upstream`.
    pub(crate) credential: Option<CredentialName>,
    /// A status to answer with, instead of `upstream` and `credential`. Default: none.
    pub(crate) respond: Option<Of<Status>>,
    /// Who may come in. Required where a listener is open to other machines. Default: everyone on this machine.
    pub(crate) access: Option<Access>,
    /// How long to wait.
    pub(crate) timeouts: Option<RouteTimeouts>,
    /// How much to take.
    pub(crate) limits: Option<RouteLimits>,
    /// Edits of the request's headers.
    pub(crate) request_headers: Option<Edits>,
    /// Edits of the answer's headers.
    pub(crate) response_headers: Option<Edits>,
    /// What is done with a call to the credential's own token or release endpoint. `answer` is of no use beside `users`
    /// or `jwt` where the token goes into `Authorization`.
    #[schemars(extend("default" = "answer"))]
    pub(crate) token_endpoint: Option<TokenCall>,
    /// Whether `%2f` in a path passes.
    #[schemars(extend("default" = "refuse"))]
    pub(crate) encoded_slash: Option<Slash>,
    /// Protocols that a connection may be upgraded to.
    #[schemars(extend("default" = ["websocket"]))]
    pub(crate) upgrades: Option<Vec<Of<Upgrade>>>,
    /// Whether a matched prefix is replaced by the upstream's path.
    #[schemars(extend("default" = true))]
    pub(crate) strip_prefix: Option<bool>,
    /// Which `Host` goes to the upstream.
    #[schemars(extend("default" = "upstream"))]
    pub(crate) host_header: Option<HostHeader>,
    /// Whether `Location`, `Content-Location` and `Set-Cookie` are mapped back.
    #[schemars(extend("default" = true))]
    pub(crate) rewrite_response: Option<bool>,
}

/// Which requests a route takes: all that is listed must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Match {
    /// Exact, or `*.internal` for one label or more. Default: every host.
    pub(crate) host: Option<Of<Host>>,
    /// A prefix, on segment boundaries: `/a` matches `/a` and `/a/b`, not `/ab`.
    #[schemars(extend("default" = "/"))]
    pub(crate) path: Option<Of<Prefix>>,
    /// The whole path; instead of `path`. Default: none.
    pub(crate) path_exact: Option<Of<Exact>>,
    /// A regular expression, anchored only where it says so; instead of `path`. Default: none.
    pub(crate) path_regex: Option<Of<Pattern>>,
    /// Methods; case-sensitive. Default: all.
    pub(crate) methods: Option<Vec<Of<Verb>>>,
    /// Headers that must have exactly these values.
    #[serde(default)]
    #[schemars(extend("default" = {}, "examples" = [{"X-Tenant": "acme"}]))]
    pub(crate) headers: BTreeMap<String, Of<Line>>,
}

/// How long a route waits.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteTimeouts {
    /// For a connection to the upstream, TLS included.
    #[schemars(extend("default" = "5s"))]
    pub(crate) connect: Option<Of<Patience>>,
    /// From the request fully sent to the response's head.
    #[schemars(extend("default" = "60s"))]
    pub(crate) response: Option<Of<Patience>>,
    /// While no byte of a body moves, either way.
    #[schemars(extend("default" = "60s"))]
    pub(crate) body: Option<Of<Patience>>,
    /// For a token.
    #[schemars(extend("default" = "15s"))]
    pub(crate) token: Option<Of<Patience>>,
}

/// How much a route takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteLimits {
    /// Largest request body.
    #[schemars(extend("default" = "100MiB"))]
    pub(crate) body: Option<Of<Size>>,
    /// Largest request body kept for sending again.
    #[schemars(extend("default" = "1MiB"))]
    pub(crate) replay: Option<Of<Size>>,
    /// Largest body that a JSON injection rewrites.
    #[schemars(extend("default" = "1MiB"))]
    pub(crate) splice: Option<Of<Size>>,
    /// Connections to the upstream at once. Default: no bound.
    #[schemars(extend("examples" = [100]))]
    pub(crate) connections: Option<NonZeroU32>,
    /// Requests that may wait for one credential's token at once.
    #[schemars(extend("default" = 10_000))]
    #[schemars(extend("examples" = [1000]))]
    pub(crate) waiting: Option<NonZeroU32>,
    /// The least pace of a request's body, in bytes a second while the client is waited for, once
    /// `timeouts.body` has been waited in all (by default at least 60s); below it 408. `0` for none.
    #[schemars(extend("default" = 100))]
    pub(crate) body_rate: Option<Of<Size>>,
    /// How often the route may be used, in each process: `100/s`, or a map or list of maps of `rate`, `burst` and
    /// `per`; above it 429. Requests that are not let in do not count. Default: no bound.
    #[schemars(extend("examples" = ["100/s", [{"rate": "1000/s"}, {"rate": "10/s", "burst": 50, "per": "address"}]]))]
    pub(crate) rate: Option<Rates>,
    /// How many requests may come at once beside a plain `rate`. Default: as many as come in a second at that
    /// rate, at least 1.
    #[schemars(range(min = 1, max = Rate::MOST), extend("examples" = [200]))]
    pub(crate) burst: Option<NonZeroU32>,
    /// Requests under way at once, in each process, up to their answers' last bytes; above it 429. A login that the
    /// proxy answers itself counts once it has come: its key may be in its body. Default: no bound.
    #[schemars(range(min = 1, max = u32::MAX), extend("examples" = [50]))]
    pub(crate) concurrency: Option<NonZeroU32>,
}

/// Edits of headers: removed first, then set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edits {
    /// Headers to set, in place of what there was.
    #[serde(default)]
    #[schemars(extend("default" = {}, "examples" = [{"X-Source": "legacy"}]))]
    pub(crate) set: BTreeMap<String, Of<Line>>,
    /// Headers to remove.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub(crate) remove: Vec<Of<Name>>,
}
