//! Out into the world: connections to upstreams and token endpoints.
//!
//! An [`Upstream`] is shared by all threads and says where and how; a [`Pool`] belongs to one
//! worker and holds that worker's connections to it. What it sends comes in an [`Envelope`], which
//! says for which upstream it was made. [`once`] is for token calls: one fresh connection, one answer
//! read whole.

mod connect;
mod egress;
mod envelope;
mod error;
mod once;
mod permit;
mod pool;
mod stream;
#[cfg(test)]
mod testing;
mod tls;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;

use crate::model::{Egress, EgressProxy, HeaderCase, Origin, Protocol, Scheme, UpstreamTls};
use permit::Limit;
use tls::ClientTls;

pub use egress::EgressError;
pub use envelope::{Destination, Elsewhere, Envelope, Reach};
pub use error::{ConnectError, Malformed, Returned, SendError, TlsSetupError};
pub use once::{OnceError, once};
pub use pool::{Answer, Plan, Pool};
pub use tls::{Roots, install_default};

/// How the proxy names itself where it asks by itself.
pub const AGENT: HeaderValue = HeaderValue::from_static(concat!("tokenferry/", env!("CARGO_PKG_VERSION")));

/// Where an upstream is and how it is spoken to. Two routes with equal targets share connections.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// What is dialled.
    pub origin: Origin,
    /// What is spoken.
    pub protocol: Protocol,
    /// How its certificate is judged.
    pub tls: UpstreamTls,
    /// The proxy on the way there.
    pub egress: Option<Egress>,
    /// How header names are written over HTTP/1. With [`HeaderCase::Preserve`] names are written
    /// as hyper's server recorded them in the request's extensions, others in title case.
    pub header_case: HeaderCase,
    /// Whether the case of an HTTP/1 answer's header names is recorded in its extensions, for a
    /// listener that preserves it.
    pub preserve_answers: bool,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// How old a pooled connection may grow.
    pub age: Duration,
    /// Connections at once, over all workers; `None` for no bound.
    pub connections: Option<u32>,
    /// The credential that is sent over these connections, if any: connections are never shared
    /// between credentials (some servers authenticate the connection).
    pub credential: Option<String>,
}

/// A target with its TLS made ready, shared by all threads.
pub struct Upstream {
    target: Target,
    tls: Option<ClientTls>,
    limit: Option<Limit>,
    open: Arc<AtomicUsize>,
}

impl Upstream {
    /// Makes a target ready. Fails where its TLS cannot be set up.
    pub fn new(target: Target, roots: &Roots) -> Result<Arc<Self>, TlsSetupError> {
        let tls = tls::client_tls(&target, roots)?;
        let limit = target.connections.map(Limit::new);
        Ok(Arc::new(Self { target, tls, limit, open: Arc::default() }))
    }

    /// Where and how.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The proxy that plain requests are handed to, each with its whole URL, where no tunnel leads
    /// through it. An upgrade has a tunnel always (RFC 6455 section 4.1).
    fn forwarder(&self) -> Option<&EgressProxy> {
        let egress = self.target.egress.as_ref()?;
        let plain = self.target.origin.scheme() == Scheme::Http && self.target.protocol != Protocol::H2c;
        (plain && !egress.tunnel).then_some(&egress.proxy)
    }

    /// Connections that are open now, on every thread, tunnels among them.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("target", &self.target).finish_non_exhaustive()
    }
}
