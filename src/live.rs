//! What is in force: one immutable [`Snapshot`] behind one swap, and the report of the last reload.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::access::Access;
use crate::model::{AccessLog, HeaderCase};
use crate::route::{Route, Table};
use crate::telemetry::traces::Traces;

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
    /// The listeners, in the order in which they were bound.
    pub doors: Vec<Door>,
    /// Where spans go, and which traces have them; `None` for none.
    pub traces: Option<Traces>,
}

/// How a listener speaks to its clients.
#[derive(Clone, Debug)]
pub struct Door {
    /// TLS; `None` for plain.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How header names of answers are written over HTTP/1.
    pub header_case: HeaderCase,
    /// Whether an upstream wants header names as clients wrote them.
    pub record_case: bool,
}

/// A route and who may use it.
#[derive(Debug)]
pub struct Entry {
    /// What it does.
    pub route: Arc<Route>,
    /// Who may.
    pub access: Access,
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
}

/// The one swap.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
}

impl Live {
    /// Begins with this snapshot.
    pub fn new(first: Snapshot) -> Arc<Self> {
        Arc::new(Self { snapshot: ArcSwap::from_pointee(first) })
    }

    /// What is in force now. Costs no write to memory that another core reads.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Puts the next one in force; requests under way keep theirs.
    pub fn swap(&self, next: Snapshot) -> Arc<Snapshot> {
        self.snapshot.swap(Arc::new(next))
    }
}
