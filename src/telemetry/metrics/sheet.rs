//! What one worker counts.

use std::sync::Arc;

use super::count::Count;
use super::ledger::Metrics;
use super::route::RouteMeter;

/// Which way a connection goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// From a client.
    Client,
    /// To an upstream.
    Upstream,
}

/// One worker's open connections, on a cache line of their own.
#[derive(Default, Debug)]
#[repr(align(64))]
pub(super) struct Open {
    pub(super) clients: Count,
    pub(super) upstreams: Count,
}

/// One worker's counts. Only the thread of that worker may count.
#[derive(Debug)]
pub struct Sheet {
    metrics: Arc<Metrics>,
    /// Among the sheets.
    number: usize,
    open: Arc<Open>,
}

impl Sheet {
    pub(super) fn new(metrics: Arc<Metrics>, number: usize, open: Arc<Open>) -> Arc<Self> {
        Arc::new(Self { metrics, number, open })
    }

    /// This worker's counts of this route, which go on for as long as anybody holds them. Takes a
    /// lock: to be asked for when a configuration is taken, not with each request.
    pub fn route(&self, name: &str) -> Arc<RouteMeter> {
        self.metrics.meter(name, self.number)
    }

    /// Counts a connection until what is returned is dropped, by the same thread.
    pub fn connected(&self, side: Side) -> Connected {
        let connected = Connected { open: Arc::clone(&self.open), side };
        connected.count().add(1);
        connected
    }
}

/// A connection, as long as it is open.
#[derive(Debug)]
pub struct Connected {
    open: Arc<Open>,
    side: Side,
}

impl Connected {
    fn count(&self) -> &Count {
        match self.side {
            Side::Client => &self.open.clients,
            Side::Upstream => &self.open.upstreams,
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.count().subtract(1);
    }
}
