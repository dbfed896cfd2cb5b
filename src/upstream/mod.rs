//! Out into the world: connections to upstreams and token endpoints.
//!
//! An [`Upstream`] is shared by all threads and says where and how; a [`Pool`] belongs to one
//! worker and holds that worker's connections to it. [`once`] is for token calls: one fresh
//! connection, one answer read whole.

mod connect;
mod error;
mod once;
mod pool;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use crate::model::{HeaderCase, Origin, Protocol, UpstreamTls};

pub use error::{ConnectError, SendError, TlsSetupError};
pub use once::{OnceError, once};
pub use pool::{Answer, Plan, Pool};
pub use tls::Roots;

/// Where an upstream is and how it is spoken to. Two routes with equal targets share connections.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// What is dialled.
    pub origin: Origin,
    /// What is spoken.
    pub protocol: Protocol,
    /// How its certificate is judged.
    pub tls: UpstreamTls,
    /// How header names are written over HTTP/1.
    pub header_case: HeaderCase,
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
#[derive(Debug)]
pub struct Upstream {
    target: Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    permits: Option<Arc<tokio::sync::Semaphore>>,
}

impl Upstream {
    /// Makes a target ready. Fails where its TLS cannot be set up.
    pub fn new(target: Target, roots: &Roots) -> Result<Arc<Self>, TlsSetupError> {
        let tls = tls::client_config(&target, roots)?;
        let permits = target.connections.map(|n| Arc::new(tokio::sync::Semaphore::new(n as usize)));
        Ok(Arc::new(Self { target, tls, permits }))
    }

    /// Where and how.
    pub fn target(&self) -> &Target {
        &self.target
    }
}
