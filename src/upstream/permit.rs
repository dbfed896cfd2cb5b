//! `limits.connections`: how many connections to one upstream there may be, over all threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bound, and how many requests wait for their turn.
#[derive(Debug)]
pub(super) struct Limit {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Limit {
    pub(super) fn new(connections: u32) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections as usize)), waiting: AtomicUsize::new(0) }
    }

    /// A permit, if one is free and nobody is before us.
    pub(super) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// The next permit that becomes free; first come, first served. `None` never happens: it would
    /// say that the semaphore was closed.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::new(&self.waiting);
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Requests that wait, on every thread. A hint, as soon as it is read.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
