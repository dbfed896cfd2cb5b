//! The counts of all workers, and their sums.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::refused::RefusedConnections;
use super::route::{RouteMeter, RouteTotals};
use super::sheet::{Open, Sheet};

/// Meters of routes that are gone are looked for when there are this many more than were left by the
/// last look, where nobody reads.
const SLACK: usize = 64;

/// Everything that is counted, for the life of the process: reloads leave it alone.
#[derive(Default, Debug)]
pub struct Metrics {
    routes: Mutex<Routes>,
    open: Mutex<Vec<Arc<Open>>>,
    refused: RefusedConnections,
    denied: AtomicU64,
    panics: AtomicU64,
}

#[derive(Default, Debug)]
struct Routes {
    /// By name, each with the sheets that have it.
    meters: BTreeMap<Arc<str>, Vec<(usize, Arc<RouteMeter>)>>,
    /// How many the last look for those that are gone left.
    left: usize,
}

/// Connections that are open now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Connections {
    /// From clients.
    pub clients: u64,
    /// To upstreams.
    pub upstreams: u64,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One more worker's counts.
    pub fn sheet(self: &Arc<Self>) -> Arc<Sheet> {
        let mut sheets = lock(&self.open);
        let open = Arc::<Open>::default();
        sheets.push(Arc::clone(&open));
        Sheet::new(Arc::clone(self), sheets.len(), open)
    }

    pub(super) fn meter(&self, name: &str, sheet: usize) -> Arc<RouteMeter> {
        let mut routes = lock(&self.routes);
        if let Some(meters) = routes.meters.get_mut(name) {
            if let Some((_, meter)) = meters.iter().find(|(number, _)| *number == sheet) {
                return Arc::clone(meter);
            }
            let meter = Arc::default();
            meters.push((sheet, Arc::clone(&meter)));
            return meter;
        }
        if routes.meters.len() >= 2 * routes.left + SLACK {
            routes.forget_gone();
        }
        let meter = Arc::default();
        routes.meters.insert(name.into(), vec![(sheet, Arc::clone(&meter))]);
        meter
    }

    /// The sums of each route, by name. A route that is in no worker's configuration and has no
    /// request under way any more is forgotten with all its counts at once, so that no sum ever falls.
    pub fn routes(&self) -> Vec<RouteTotals> {
        let meters: Vec<_> = {
            let mut routes = lock(&self.routes);
            routes.forget_gone();
            routes.meters.iter().map(|(name, meters)| (Arc::clone(name), meters.clone())).collect()
        };
        let sum = |(name, meters): (Arc<str>, Vec<(usize, Arc<RouteMeter>)>)| {
            let mut totals = RouteTotals::new(name);
            for (_, meter) in &meters {
                totals.add(meter);
            }
            totals
        };
        meters.into_iter().map(sum).collect()
    }

    /// How many routes are kept.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        lock(&self.routes).meters.len()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> Connections {
        lock(&self.open).iter().fold(Connections::default(), |sum, open| Connections {
            clients: sum.clients + open.clients.read(),
            upstreams: sum.upstreams + open.upstreams.read(),
        })
    }

    /// A connection to this listener was refused before its first request. Where the log is to be told
    /// of it: how many it was not told of since it last was.
    pub fn connection_refused(&self, listener: &Arc<str>, reason: &'static str, now: Instant) -> Option<u64> {
        self.refused.add(listener, reason, now)
    }

    /// How often that was, by listener and reason.
    pub fn refused_connections(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        self.refused.rows()
    }

    /// Somebody came to the admin port without its token, or from a foreign page.
    pub fn admin_denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// A request panicked.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// How often [`Metrics::admin_denied`] was said.
    pub fn times_denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }
}

impl Routes {
    fn forget_gone(&mut self) {
        // Only those whom the meters were given to hold them besides; new holders come by the lock.
        self.meters.retain(|_, meters| meters.iter().any(|(_, meter)| Arc::strong_count(meter) > 1));
        self.left = self.meters.len();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps are whole between calls, also when one of them panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
