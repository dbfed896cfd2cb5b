//! What the other replicas tell a cell.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Cell;
use crate::token::{Carried, Share, Shelf, Told};

/// How much longer than its own login a replica holds requests for another's, whose message took a
/// while.
const GRACE: Duration = Duration::from_millis(250);

/// Hears what the others tell until the cell is gone.
pub(super) async fn listen(cell: Weak<Cell>, share: Arc<dyn Share>) {
    let mut expiry = None;
    loop {
        let told = tokio::select! {
            told = share.told() => told,
            () = over(expiry) => {
                expiry = None;
                let Some(cell) = cell.upgrade() else { return };
                // Whoever was to log in is not heard of any more: what the store says now holds.
                cell.learn(share.as_ref()).await;
                continue;
            }
        };
        let Some(cell) = cell.upgrade() else { return };
        match told {
            Told::Hold(fence, drain) => {
                // The others have the same settings; whatever the message says, it holds nobody longer.
                let drain = drain.min(cell.step(|inner, _, _| inner.state.drain_bound()));
                let within = drain + cell.step(|inner, _, _| inner.state.patience()) + GRACE;
                if cell.step(|inner, now, _| inner.state.hold(now, fence, within)) {
                    expiry = Some(Instant::now() + within);
                    tokio::spawn(confirm(cell, Arc::clone(&share), fence, Instant::now() + drain));
                } else {
                    share.confirm(fence).await;
                }
            }
            Told::Token(_) => cell.learn(share.as_ref()).await,
            Told::Release(fence) => {
                // First what became of the token in hand, then the gate.
                cell.learn(share.as_ref()).await;
                cell.step(|inner, _, steps| inner.state.release(fence, steps));
            }
            Told::Back => cell.come_back(share.as_ref()).await,
        }
    }
}

async fn over(expiry: Option<Instant>) {
    match expiry {
        Some(expiry) => sleep_until(expiry).await,
        None => std::future::pending().await,
    }
}

/// Confirms once the requests under way are answered. After the deadline nobody waits for it any more.
async fn confirm(cell: Arc<Cell>, share: Arc<dyn Share>, fence: u64, deadline: Instant) {
    loop {
        let nudged = cell.gate.nudged.notified();
        if cell.gate.is_quiet() {
            return share.confirm(fence).await;
        }
        if tokio::time::timeout_at(deadline, nudged).await.is_err() {
            return;
        }
    }
}

impl Cell {
    /// Reads what is stored, unless nobody uses this cell.
    pub(super) async fn learn(self: &Arc<Self>, share: &dyn Share) {
        if self.is_awake()
            && let Ok(Shelf::Token(carried)) = share.read().await
        {
            self.adopt(carried);
        }
        // A hold whose time is over ends with any event, also at a cell that is asleep.
        self.step(|_, _, _| ());
    }

    /// The store is reached again: what was got meanwhile is laid into it, or given up for what is there.
    async fn come_back(self: &Arc<Self>, share: &dyn Share) {
        let (carried, stored, fence) =
            self.step(|inner, now, _| (inner.state.carry(now), inner.state.is_stored(), inner.state.fence()));
        let Some(carried) = carried else { return };
        let there = match (stored, share.read().await) {
            (true, Ok(Shelf::Token(there))) => Some(there),
            // What is stored from before the store was away is older; what another has laid since is not.
            _ => share.offer(Carried { fence: if stored { fence } else { fence + 1 }, ..carried }).await.ok(),
        };
        if let Some(there) = there {
            self.adopt(there);
        }
    }
}
