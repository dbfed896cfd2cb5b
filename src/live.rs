//! What is in force: one immutable [`Snapshot`] behind one swap, and the report of the last reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::access::{Access, KeysStatus};
use crate::limit::{Bounds, Pace, Strain};
use crate::model::{AccessLog, Dated, HeaderCase, Problem, ReadyWhen, TrustedProxies};
use crate::route::{Route, Table};
use crate::telemetry::traces::Traces;
use crate::token::Cell;

/// Everything a request needs to know, built whole and never changed. A request keeps the one it
/// began with.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows by one with every configuration that is taken; the first is 1.
    pub generation: u64,
    /// Which route takes a request.
    pub table: Table,
    /// The routes, in the table's order.
    pub entries: Vec<Entry>,
    /// Patience with clients.
    pub client: Patience,
    /// Which requests have a line of their own.
    pub access_log: AccessLog,
    /// Proxies whose word on a client's address counts; `None` where none is.
    pub trusted_proxies: Option<TrustedProxies>,
    /// The listeners, in the order in which they were bound.
    pub doors: Vec<Door>,
    /// Connections of clients at once; `None` for as many as the process has files for.
    pub connections: Option<u32>,
    /// Memory that the process may use, in bytes; `None` for what its control group allows.
    pub memory: Option<u64>,
    /// How many wrong keys an address may present.
    pub guesses: Pace,
    /// Where spans go, and which traces have them; `None` for none.
    pub traces: Option<Traces>,
    /// What may be told of it.
    pub directory: Directory,
}

/// What the admin port may tell of a configuration: names and places, never a secret, and `***` in
/// place of what came from a reference.
#[derive(Debug)]
pub struct Directory {
    /// When it was taken.
    pub taken: SystemTime,
    /// When the proxy says that it is ready.
    pub ready_when: ReadyWhen,
    /// By name; also those that no route uses.
    pub credentials: Vec<Listed>,
    /// In the order of the Snapshot's entries.
    pub routes: Vec<Signpost>,
    /// Certificates that somebody has to renew in time, in the order of the file.
    pub certificates: Vec<Dated>,
    /// Who verifies no certificate of the server's.
    pub insecure: Vec<Insecure>,
}

/// Who verifies no certificate of the server's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Insecure {
    /// The token calls of this credential.
    Credential(String),
    /// This route.
    Route(String),
}

impl Default for Directory {
    fn default() -> Self {
        let (taken, ready_when) = (SystemTime::now(), ReadyWhen::default());
        let (credentials, routes, certificates, insecure) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { taken, ready_when, credentials, routes, certificates, insecure }
    }
}

/// A credential, as it may be told of.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name in the file.
    pub name: String,
    /// As `provider:` has it.
    pub provider: &'static str,
    /// Whether a new token invalidates the earlier ones.
    pub exclusive: bool,
    /// Whether there is anything to log in for: a token that is written in the configuration is never fetched.
    pub logs_in: bool,
    /// Its token.
    pub cell: Arc<Cell>,
}

/// A route, as it may be told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signpost {
    /// Its name.
    pub name: String,
    /// What it looks for, in a word or two.
    pub matches: String,
    /// Where it leads; `None` for one that answers by itself.
    pub upstream: Option<String>,
    /// The credential's name, where it has one.
    pub credential: Option<String>,
}

/// How a reload ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// In force now.
    Taken,
    /// Nothing in it or in the files that it names has changed.
    Unchanged,
    /// What was in force stays in force.
    Refused,
}

impl Outcome {
    /// The word, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// What came of a reload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reload {
    /// When it was over.
    pub at: SystemTime,
    /// How it ended.
    pub outcome: Outcome,
    /// What is in force now.
    pub generation: u64,
    /// Why it was refused, where that is not the configuration's problems.
    pub error: Option<String>,
    /// Of the configuration that was read, in the order of the file.
    pub problems: Vec<Problem>,
    /// Changes that only a restart brings, in words.
    pub restart_needed: Vec<String>,
}

/// How many reloads ended in which way, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reloads {
    /// [`Outcome::Taken`].
    pub taken: u64,
    /// [`Outcome::Unchanged`].
    pub unchanged: u64,
    /// [`Outcome::Refused`].
    pub refused: u64,
}

/// The certificates of a `client_ca`.
pub type Voucher = Arc<Vec<rustls::pki_types::CertificateDer<'static>>>;

/// How a listener speaks to its clients.
#[derive(Clone, Debug)]
pub struct Door {
    /// TLS; `None` for plain.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The authorities that vouch for its clients' certificates, where it asks for any.
    pub voucher: Option<Voucher>,
    /// Whether connections begin with a head of the PROXY protocol, and trusted proxies alone connect.
    pub proxy_protocol: bool,
    /// How header names of answers are written over HTTP/1.
    pub header_case: HeaderCase,
    /// Whether an upstream wants header names as clients wrote them.
    pub record_case: bool,
    /// Its connections at once; `None` for no bound of its own.
    pub connections: Option<u32>,
}

/// A route and who may use it.
#[derive(Debug)]
pub struct Entry {
    /// What it does.
    pub route: Arc<Route>,
    /// Who may.
    pub access: Access,
    /// How often, and how many at once.
    pub bounds: Bounds,
}

impl Snapshot {
    /// How it stands with the keys of issuers that are asked for them, by the names of the routes.
    pub fn issuers(&self) -> impl Iterator<Item = (&str, KeysStatus)> {
        let of = |entry: &Entry| entry.access.keyring().and_then(|keyring| keyring.status());
        self.entries.iter().filter_map(move |entry| Some((entry.route.name.as_str(), of(entry)?)))
    }
}

/// How long a client may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For a whole request head.
    pub header: Duration,
    /// Between requests on a kept-alive connection.
    pub idle: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// Largest request head, in bytes.
    pub head_size: usize,
    /// Most header lines of a request.
    pub header_count: usize,
}

/// The one swap, and what came of the last reload.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    reload: ArcSwapOption<Reload>,
    taken: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    strain: Strain,
}

impl Live {
    /// Begins with this snapshot.
    pub fn new(first: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(first),
            reload: ArcSwapOption::empty(),
            taken: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            strain: Strain::default(),
        })
    }

    /// What is in force now. Costs no write to memory that another core reads.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// What this process has too little of now.
    pub fn strain(&self) -> &Strain {
        &self.strain
    }

    /// The same, to be held for longer than a moment.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts the next one in force; requests under way keep theirs.
    pub fn swap(&self, next: Snapshot) -> Arc<Snapshot> {
        self.snapshot.swap(Arc::new(next))
    }

    /// Notes what came of a reload.
    pub fn note(&self, reload: Arc<Reload>) {
        let count = match reload.outcome {
            Outcome::Taken => &self.taken,
            Outcome::Unchanged => &self.unchanged,
            Outcome::Refused => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.reload.store(Some(reload));
    }

    /// What came of the last one; `None` before the first.
    pub fn last_reload(&self) -> Option<Arc<Reload>> {
        self.reload.load_full()
    }

    /// How many there were.
    pub fn reloads(&self) -> Reloads {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Reloads { taken: of(&self.taken), unchanged: of(&self.unchanged), refused: of(&self.refused) }
    }
}
