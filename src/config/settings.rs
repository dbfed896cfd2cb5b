//! The configuration as meant: what `check` yields and `assemble` builds from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use rustls::pki_types::CertificateDer;

use crate::model::{
    AccessPolicy, BaseUrl, Dated, EgressProxy, EncodedSlash, EndpointUrl, HeaderCase, HeaderEdits, HostPattern, Limits,
    LogSettings, Margin, MatchSpec, Placement, Protocol, Rate, RateRule, ReadyWhen, RefusedWhen, ServerTls, Timeouts,
    TokenEndpoint, TrustedProxies, UpstreamTls,
};
use crate::secret::{SealKeys, Secret};
use crate::vendor::Vendor;

/// A whole configuration, in which everything refers to something that is there.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Worker threads; at least 1. Default: one a core.
    pub workers: usize,
    /// How long a drain may take.
    pub shutdown_timeout: Duration,
    /// How long to go on serving after the signal, before the listeners close.
    pub drain_delay: Duration,
    /// The Unix socket by which a new process takes over from a running one.
    pub handover: Option<PathBuf>,
    /// Proxies whose word on a client's address counts; `None` where none is.
    pub trusted_proxies: Option<TrustedProxies>,
    /// The admin port, where there is one.
    pub admin: Option<AdminSettings>,
    /// What is asked of clients.
    pub client: ClientSettings,
    /// All bodies kept for replay together, in bytes.
    pub replay_budget: u64,
    /// Connections of clients at once; `None` for as many as the process has files for.
    pub connections: Option<u32>,
    /// Memory that the process may use, in bytes; `None` for what its control group allows.
    pub memory: Option<u64>,
    /// Wrong keys that an address may present.
    pub guesses: GuessSettings,
    /// What is written to the log.
    pub log: LogSettings,
    /// Where tokens are kept.
    pub store: StoreSettings,
    /// Where traces go; `None` for nowhere.
    pub telemetry: Option<TelemetrySettings>,
    /// By name.
    pub credentials: BTreeMap<String, Arc<CredentialSettings>>,
    /// In the order of the file.
    pub routes: Vec<RouteSettings>,
    /// Certificates that somebody has to renew in time.
    pub certificates: Vec<Dated>,
    /// Every file that was read, the configuration itself first: what is watched.
    pub files: Vec<PathBuf>,
    /// SHA-256 over the content of all those files and the environment variables that were used:
    /// the same content is no reload.
    pub fingerprint: [u8; 32],
}

/// The admin port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminSettings {
    /// Where it listens; there is a token where others can reach it.
    pub address: ListenAddress,
    /// What is asked for by everything but the health paths.
    pub token: Option<Secret>,
    /// When `/readyz` says yes.
    pub ready_when: ReadyWhen,
    /// Names under which it may be asked, beside `localhost` and addresses.
    pub hosts: Vec<HostPattern>,
}

/// Where tokens are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreSettings {
    /// In each process by itself.
    Memory,
    /// In Redis or Valkey, for all replicas.
    Redis(Box<RedisSettings>),
}

/// A store that replicas share.
#[derive(Clone)]
pub struct RedisSettings {
    /// Host, port, whether by TLS, user and password, database.
    pub server: redis::ConnectionInfo,
    /// Its URL as it may be shown: without user and password, and without what came from references.
    pub shown: String,
    /// Roots to trust instead of the system's.
    pub ca: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// What every key begins with.
    pub key_prefix: String,
    /// What tokens are sealed with.
    pub keys: Arc<SealKeys>,
    /// For one command.
    pub timeout: Duration,
    /// A digest of all of it: the same one is the same store.
    pub version: [u8; 32],
}

/// Without user and password, and without the digest of them.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisSettings");
        shown.field("server", self.server.addr()).field("ca", &self.ca.is_some()).field("key_prefix", &self.key_prefix);
        shown.field("keys", &self.keys).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl PartialEq for RedisSettings {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl Eq for RedisSettings {}

/// Where traces go.
#[derive(Clone, PartialEq, Debug)]
pub struct TelemetrySettings {
    /// What spans are posted to.
    pub endpoint: EndpointUrl,
    /// The share of the traces begun here that are sampled.
    pub sample: f64,
    /// What the collector lets the proxy in by: values marked sensitive, which print as no value.
    pub headers: HeaderMap,
    /// What this proxy is called.
    pub service_name: String,
    /// How the collector's TLS is judged.
    pub tls: UpstreamTls,
}

/// An address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddress {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where.
    pub address: ListenAddress,
    /// TLS, where the listener speaks it.
    pub tls: Option<ServerTls>,
    /// Whether connections begin with a head of the PROXY protocol.
    pub proxy_protocol: bool,
    /// How header names of answers are written.
    pub header_case: HeaderCase,
    /// Its connections at once.
    pub connections: Option<u32>,
}

/// Patience with clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSettings {
    /// For a whole request head.
    pub header_timeout: Duration,
    /// Between requests on a kept-alive connection.
    pub idle_timeout: Duration,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// Largest request head, in bytes.
    pub head_size: usize,
    /// Most header lines of a request.
    pub header_count: usize,
}

/// The proxy on the way to an upstream or a token endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EgressSettings {
    /// The proxy.
    pub proxy: EgressProxy,
    /// The environment variable that names it; `None` where the file does.
    pub variable: Option<&'static str>,
}

/// One credential.
#[derive(Debug)]
pub struct CredentialSettings {
    /// Its name in the file.
    pub name: String,
    /// What logs in.
    pub vendor: Arc<dyn Vendor>,
    /// Where the token goes; at least one place.
    pub inject: Placement,
    /// When an answer says that the token was at fault.
    pub refused_when: RefusedWhen,
    /// For one token call.
    pub timeout: Duration,
    /// The life of a token that says nothing of it; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// A token unused that long is dead.
    pub idle_lifetime: Option<Duration>,
    /// How long before its end a token is renewed.
    pub refresh_before: Margin,
    /// How long a rotation of an exclusive token waits for requests in flight.
    pub drain: Duration,
    /// Whether a new token invalidates the earlier ones.
    pub exclusive: bool,
    /// TLS towards the token endpoint.
    pub tls: UpstreamTls,
    /// The proxy on the way to the token endpoint.
    pub egress: Option<EgressSettings>,
    /// Where the last refresh token is kept; `None` for in memory.
    pub state: Option<StateSettings>,
}

/// A file that outlives the process.
#[derive(Clone, Debug)]
pub struct StateSettings {
    /// The file; its folder was there.
    pub path: PathBuf,
    /// What seals it.
    pub keys: Arc<SealKeys>,
}

/// One route.
#[derive(Debug)]
pub struct RouteSettings {
    /// Its name; unique.
    pub name: String,
    /// The same, as logs, metrics and traces may tell it: `***` where it came from a reference.
    pub label: String,
    /// What it looks for.
    pub matcher: MatchSpec,
    /// Who may use it.
    pub access: AccessPolicy,
    /// Whether the file says so, here or in `defaults`: where other machines can reach a listener
    /// it must.
    pub says_access: bool,
    /// How often, and how many at once.
    pub bounds: BoundSettings,
    /// What it does.
    pub action: RouteAction,
}

/// How often a route may be used, and by how many at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BoundSettings {
    /// Those of addresses first, those of the whole route last.
    pub rates: Vec<RateRule>,
    /// Requests under way at once.
    pub concurrency: Option<u32>,
}

/// Wrong keys that an address may present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuessSettings {
    /// In the long run.
    pub rate: Rate,
    /// At first.
    pub burst: u32,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum RouteAction {
    /// Answers by itself.
    Respond(StatusCode),
    /// Forwards.
    Forward(Box<ForwardSettings>),
}

/// How a route forwards.
#[derive(Debug)]
pub struct ForwardSettings {
    /// Where to.
    pub upstream: BaseUrl,
    /// What is spoken there.
    pub protocol: Protocol,
    /// TLS towards the upstream.
    pub tls: UpstreamTls,
    /// The proxy on the way to the upstream.
    pub egress: Option<EgressSettings>,
    /// How header names are written to it over HTTP/1.
    pub header_case: HeaderCase,
    /// How long an idle connection is kept in the pool.
    pub pool_idle: Duration,
    /// How old a pooled connection may grow.
    pub pool_age: Duration,
    /// The credential's name; `None` for `credential: none`.
    pub credential: Option<String>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much to take.
    pub limits: Limits,
    /// Edits of the request's headers.
    pub request_headers: HeaderEdits,
    /// Edits of the answer's headers.
    pub response_headers: HeaderEdits,
    /// What is done with calls to the credential's own endpoints.
    pub token_endpoint: TokenEndpoint,
    /// Whether `%2f` passes.
    pub encoded_slash: EncodedSlash,
    /// Upgrade protocols that pass, in lower case.
    pub upgrades: Vec<String>,
    /// Whether a matched prefix is replaced by the upstream's path.
    pub strip_prefix: bool,
    /// Whether the client's Host goes to the upstream.
    pub preserve_host: bool,
    /// Whether Location, Content-Location and Set-Cookie are mapped back.
    pub rewrite_response: bool,
}
