//! A number with one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any may read. A load and a store in place of an atomic
/// addition: it costs what a plain number costs, and the reader misses at most the latest change.
#[derive(Default, Debug)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.read().wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, less: u64) {
        self.0.store(self.read().saturating_sub(less), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
