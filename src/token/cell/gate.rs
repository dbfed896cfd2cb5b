//! The gate of an exclusive credential: how many requests are under way with its token, and whether
//! more may begin.
//!
//! Each worker counts its own requests in memory of its own; whoever rotates closes the gate first
//! and sums then, a request counts itself first and looks at the gate then. Both are sequentially
//! consistent, so one of the two sees the other.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// One credential's gate.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: AtomicBool,
    /// Told when a request ends while the gate is closed, and when whoever looks should look again.
    pub(super) nudged: Notify,
    tallies: Mutex<Vec<Weak<Tally>>>,
}

/// One worker's count of requests under way. Alone on its cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(in crate::token) struct Tally {
    count: AtomicUsize,
    gate: Arc<Gate>,
}

/// A request that is counted as under way, until this is dropped.
#[derive(Debug)]
pub struct Slot {
    tally: Arc<Tally>,
    counted: Cell<bool>,
}

impl Gate {
    /// A count for one more worker.
    pub(super) fn tally(self: &Arc<Self>) -> Arc<Tally> {
        let tally = Arc::new(Tally { count: AtomicUsize::new(0), gate: Arc::clone(self) });
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|tally| tally.strong_count() > 0);
        tallies.push(Arc::downgrade(&tally));
        tally
    }

    /// Whether no request is under way.
    pub(super) fn is_quiet(&self) -> bool {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.iter().filter_map(Weak::upgrade).all(|tally| tally.count.load(Ordering::SeqCst) == 0)
    }

    /// Lets no more requests begin, or lets them.
    pub(super) fn close(&self, closed: bool) {
        if self.closed.load(Ordering::Relaxed) != closed {
            self.closed.store(closed, Ordering::SeqCst);
        }
    }
}

impl Tally {
    /// Counts one request; `None` while the gate is closed.
    pub(in crate::token) fn enter(self: &Arc<Self>) -> Option<Slot> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let slot = Slot { tally: Arc::clone(self), counted: Cell::new(true) };
        (!self.gate.closed.load(Ordering::SeqCst)).then_some(slot)
    }
}

impl Slot {
    /// Is not waited for from now on: the request waits for its client's body.
    pub fn rest(&self) {
        if self.counted.replace(false) {
            self.tally.count.fetch_sub(1, Ordering::SeqCst);
            if self.tally.gate.closed.load(Ordering::SeqCst) {
                self.tally.gate.nudged.notify_waiters();
            }
        }
    }

    /// Is waited for again: the body goes on. The gate does not matter, since the request's head has
    /// gone out long ago.
    pub fn resume(&self) {
        if !self.counted.replace(true) {
            self.tally.count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_counts_over_all_workers_and_lets_nobody_in_while_closed() {
        let gate = Arc::new(Gate::default());
        let (one, other) = (gate.tally(), gate.tally());
        assert!(gate.is_quiet());
        let (a, b) = (one.enter().unwrap(), other.enter().unwrap());
        gate.close(true);
        assert!(one.enter().is_none() && !gate.is_quiet());
        drop(a);
        assert!(!gate.is_quiet());
        drop(b);
        assert!(gate.is_quiet());
        gate.close(false);
        assert!(one.enter().is_some());
    }

    #[test]
    fn a_request_that_waits_for_its_client_is_not_waited_for() {
        let gate = Arc::new(Gate::default());
        let tally = gate.tally();
        let slot = tally.enter().unwrap();
        slot.rest();
        slot.rest();
        assert!(gate.is_quiet());
        slot.resume();
        slot.resume();
        assert!(!gate.is_quiet());
        slot.rest();
        drop(slot);
        assert!(gate.is_quiet());
    }

    #[test]
    fn of_a_request_and_a_rotation_that_meet_one_sees_the_other() {
        for _ in 0..2_000 {
            let gate = Arc::new(Gate::default());
            let tally = gate.tally();
            let start = Arc::new(std::sync::Barrier::new(2));
            let rotating = {
                let (gate, start) = (Arc::clone(&gate), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    gate.close(true);
                    gate.is_quiet()
                })
            };
            start.wait();
            let entered = tally.enter();
            let quiet = rotating.join().unwrap();
            assert!(entered.is_none() || !quiet, "a request began unseen");
        }
    }
}
