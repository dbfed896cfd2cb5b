//! `proxy.yaml` as written: the serde mirror of the contract, which also feeds the JSON Schema.
//!
//! Lists and maps of routes, listeners and credentials are read element by element, so that an
//! error in one hides none in another. What is required is checked by `check`, for the same reason.

mod access;
mod admin;
mod bound;
mod choice;
mod credential;
mod form;
mod log;
mod measure;
mod route;
mod seal;
mod store;
mod telemetry;
mod word;

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use access::{Access, Certificates, JwksPlace, Jwt, Rules};
pub(crate) use admin::Admin;
pub(crate) use bound::{RateLimit, Rates};
pub(crate) use choice::{ClientAuth, CredentialName, HostHeader, Upstream};
pub(crate) use credential::{Common, Inject, Refused};
pub(crate) use form::{Form, Of};
pub(crate) use log::Log;
pub(crate) use measure::{margin, size, span};
pub(crate) use route::{Edits, Match, Route, RouteLimits, RouteTimeouts};
pub(crate) use seal::SealKeyTexts;
pub(crate) use store::{Kind, Store};
pub(crate) use telemetry::Telemetry;
pub(crate) use word::{Neighbour, digest};

use bound::WrongKeys;
use choice::Case;
use measure::{Patience, Size, Span};
use word::Address;

/// Fields whose elements are read one by one.
pub(crate) const PARTS: &[&str] = &["listeners", "credentials", "routes"];

/// What stands at the top level beside [`PARTS`].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct General {
    /// Worker threads. Default: one a core.
    #[schemars(range(min = 1, max = 1024), extend("examples" = [4]))]
    pub(crate) workers: Option<u32>,
    /// How long a drain may take: requests still under way then are broken off.
    #[schemars(extend("default" = "30s"))]
    pub(crate) shutdown_timeout: Option<Of<Span>>,
    /// How long to go on serving after the signal to end, before the listeners close.
    #[schemars(extend("default" = "0s"))]
    pub(crate) drain_delay: Option<Of<Span>>,
    /// A Unix socket by which a new process takes over the listening sockets and the tokens of the
    /// running one, so that a deploy loses no request and costs no login. For the proxy's own user only.
    /// Default: none.
    #[schemars(extend("examples" = ["/run/tokenferry/handover.sock"]))]
    pub(crate) handover: Option<Of<word::Path>>,
    /// Proxies in front of this one: where they are, or `unix` for those that come by a Unix socket.
    /// From them `X-Forwarded-For` tells the client's address, `X-Forwarded-Proto` and
    /// `X-Forwarded-Host` go on, and the PROXY protocol is taken. Default: none.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<Of<word::Nearby>>,
    /// The admin port. Default: none.
    pub(crate) admin: Option<Admin>,
    /// Patience with clients.
    pub(crate) client: Option<Client>,
    /// Bounds of the whole proxy.
    pub(crate) limits: Option<TotalLimits>,
    /// What is written to the log, and how.
    pub(crate) log: Option<Log>,
    /// Where tokens are kept. Default: in memory, each process its own.
    pub(crate) store: Option<Store>,
    /// Where traces go. Default: nowhere.
    pub(crate) telemetry: Option<Telemetry>,
    /// What holds for every route that does not say otherwise.
    pub(crate) defaults: Option<Defaults>,
}

/// Patience with clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    /// For a whole request head.
    #[schemars(extend("default" = "15s"))]
    pub(crate) header_timeout: Option<Of<Patience>>,
    /// Between requests on a connection that is kept open.
    #[schemars(extend("default" = "75s"))]
    pub(crate) idle_timeout: Option<Of<Patience>>,
    /// For the TLS handshake.
    #[schemars(extend("default" = "10s"))]
    pub(crate) handshake_timeout: Option<Of<Patience>>,
    /// Largest request head, from 8KiB to 1MiB.
    #[schemars(extend("default" = "64KiB"))]
    pub(crate) head_size: Option<Of<Size>>,
    /// Most header lines of a request, from 10 to 1000; above it 431.
    #[schemars(range(min = 10, max = 1000), extend("default" = 100, "examples" = [100]))]
    pub(crate) header_count: Option<u32>,
}

/// Bounds of the whole proxy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TotalLimits {
    /// All bodies kept for sending again together; beyond it bodies are not kept.
    #[schemars(extend("default" = "64MiB"))]
    pub(crate) replay_total: Option<Of<Size>>,
    /// Connections of clients at once, on all listeners together; further ones wait in the system's queues
    /// until one closes, and meanwhile connections that have been idle for five seconds are closed. Default: half of
    /// the files that the process may open (`ulimit -Hn`), since a request needs a connection to its upstream too: for
    /// 10000 clients a limit of 20000 and some more (systemd's `LimitNOFILE`).
    #[schemars(extend("examples" = [10_000]))]
    pub(crate) connections: Option<NonZeroU32>,
    /// Memory that the process may use (resident), 32MiB at least. While it uses more, what is under way goes on, new
    /// connections wait and new requests get 503. Default: 90 % of its control group's `memory.max`, where there
    /// is one, else no bound.
    #[schemars(extend("examples" = ["512MiB"]))]
    pub(crate) memory: Option<Of<Size>>,
    /// How many wrong keys a client address may present (an IPv6 network of 64 bits counts as one). Above it,
    /// requests that present a key from there get 429 without a look at it, until the next is due; what let in
    /// to the same route from there before goes on, but for what a process before this one let in. Missing keys
    /// do not count, nor do clients of a Unix socket. Wrong ones of `admin.token` are held to the same, for themselves.
    pub(crate) wrong_keys: Option<WrongKeys>,
}

/// What holds for every route that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    /// Who may come in; a route's own `access` takes its place whole. Default: each route says so itself.
    pub(crate) access: Option<Access>,
    /// How long to wait; of each field a route's own word goes before.
    pub(crate) timeouts: Option<RouteTimeouts>,
    /// How much to take; of each field a route's own word goes before, of `rate` and `burst` together.
    pub(crate) limits: Option<RouteLimits>,
}

/// Where to listen.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// `127.0.0.1:8080`, `[::1]:8080`, or `unix:/path`. Port 0 takes a free one.
    #[schemars(required)]
    pub(crate) address: Option<Of<Address>>,
    /// Speak TLS; HTTP/2 is then offered by ALPN.
    pub(crate) tls: Option<ListenerTls>,
    /// Each connection begins with a head of the PROXY protocol, version 1 or 2, that tells the
    /// client's address. Connections of others than `trusted_proxies` are closed.
    #[schemars(extend("default" = false))]
    pub(crate) proxy_protocol: Option<bool>,
    /// How header names of answers are written to HTTP/1 clients.
    #[schemars(extend("default" = "title"))]
    pub(crate) header_case: Option<Case>,
    /// Its connections at once; further ones wait in the system's queue until one closes. Default: no bound but
    /// that of all listeners, `limits.connections`.
    #[schemars(extend("examples" = [1000]))]
    pub(crate) connections: Option<NonZeroU32>,
}

/// A listener's certificates and keys, read again when the files change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTls {
    /// PEM file of the certificate and those between it and the root, the server's first.
    #[schemars(required)]
    #[schemars(extend("examples" = ["server.crt"]))]
    pub(crate) cert: Option<Of<word::Path>>,
    /// PEM file of the key.
    #[schemars(required)]
    #[schemars(extend("examples" = ["server.key"]))]
    pub(crate) key: Option<Of<word::Path>>,
    /// Further certificates: shown to clients that ask for one of their names (by SNI). Default: none.
    #[serde(default)]
    pub(crate) certificates: Vec<Certificate>,
    /// PEM file of the authorities that vouch for clients, which are then asked for a certificate.
    /// Default: none.
    #[schemars(extend("examples" = ["clients.pem"]))]
    pub(crate) client_ca: Option<Of<word::Path>>,
    /// Whether a client must show a certificate, where there is a `client_ca`.
    #[schemars(extend("default" = "require"))]
    pub(crate) client_auth: Option<ClientAuth>,
    /// Whether clients get a ticket by which they resume their session (RFC 8446 section 2.2, RFC 5077). Without one
    /// every connection takes a full handshake.
    #[schemars(extend("default" = true))]
    pub(crate) session_tickets: Option<bool>,
}

/// A further certificate of a listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// PEM file of the certificate and those between it and the root, the server's first.
    #[schemars(required)]
    #[schemars(extend("examples" = ["other.crt"]))]
    pub(crate) cert: Option<Of<word::Path>>,
    /// PEM file of the key.
    #[schemars(required)]
    #[schemars(extend("examples" = ["other.key"]))]
    pub(crate) key: Option<Of<word::Path>>,
}

/// Fields of the top level, [`PARTS`] included.
#[cfg(test)]
pub(crate) const TOP: &[&str] = &[
    "listeners",
    "workers",
    "shutdown_timeout",
    "drain_delay",
    "handover",
    "trusted_proxies",
    "admin",
    "client",
    "limits",
    "log",
    "store",
    "telemetry",
    "defaults",
    "credentials",
    "routes",
];
