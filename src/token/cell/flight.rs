//! A login as a task: the waiting between the stages that the state goes through.

use std::sync::Arc;
use std::time::Duration;

use super::state::Landed;
use super::{Cell, Fetch};
use crate::token::{Away, Laid, Lease, Share, Turn};
use crate::vendor::{FaultClass, FaultReason, Grant, TokenFault};

/// Between two looks for a quiet moment, with the gate open.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Tells the cell how a login ended, also when its task panicked or its runtime went away: no
/// request must wait for a login that nobody makes.
pub(super) struct Landing {
    cell: Arc<Cell>,
    number: u64,
    outcome: Option<Result<Landed, TokenFault>>,
}

impl Landing {
    pub(super) fn new(cell: Arc<Cell>, number: u64) -> Self {
        Self { cell, number, outcome: None }
    }

    fn with(mut self, outcome: Result<Landed, TokenFault>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let interrupted = || Err(TokenFault::new(FaultClass::Transient, FaultReason::Interrupted));
        let outcome = self.outcome.take().unwrap_or_else(interrupted);
        let number = self.number;
        self.cell.step(|inner, now, steps| inner.state.landed(now, number, outcome, steps));
    }
}

/// Makes one login, or finds out that another replica made it.
pub(super) async fn fly(landing: Landing) {
    let (cell, number) = (Arc::clone(&landing.cell), landing.number);
    cell.find_quiet(number).await;
    let Some(share) = cell.share() else {
        let Some(fetch) = cell.close(number, None).await else { return };
        let granted = |grant| Landed::Granted { grant, fence: 0, suspect: false };
        return landing.with(cell.watch(number, fetch).await.map(granted));
    };
    loop {
        let turn = match share.turn(cell.wanted()).await {
            Err(Away) if cell.serves() => {
                return landing.with(Err(TokenFault::new(FaultClass::Transient, FaultReason::StoreAway)));
            }
            Err(Away) => cell.wait_alone(share.as_ref()).await,
            turn => turn,
        };
        match turn {
            Ok(Turn::Take(carried)) => return landing.with(Ok(Landed::Carried(carried))),
            Ok(Turn::Leave(fault)) => return landing.with(Err(fault)),
            Ok(Turn::Login(lease)) => {
                if let Some(fetch) = cell.close(number, Some((share.as_ref(), lease))).await {
                    return log_in(landing, share.as_ref(), lease, fetch).await;
                }
                // It ran out meanwhile, as that of a process that stood still.
            }
            Err(Away) => {
                let Some(fetch) = cell.close(number, None).await else { return };
                // Nobody else was told: another replica may log in at this very moment.
                let granted = |grant| Landed::Granted { grant, fence: 0, suspect: true };
                return landing.with(cell.watch(number, fetch).await.map(granted));
            }
        }
    }
}

/// Makes the login that the lease is for, and tells the other replicas what came of it.
async fn log_in(landing: Landing, share: &dyn Share, lease: Lease, fetch: Fetch) {
    let (cell, number) = (Arc::clone(&landing.cell), landing.number);
    let granted = |grant| Landed::Granted { grant, fence: lease.fence, suspect: false };
    let outcome = cell.watch(number, fetch).await.map(granted);
    let fault = outcome.as_ref().err().cloned();
    let publishing = Publishing::begin(&cell);
    landing.with(outcome);
    cell.publish_to(share, lease, fault).await;
    drop(publishing);
}

/// The other replicas are being told; nobody must think the login settled meanwhile.
struct Publishing(Arc<Cell>);

impl Publishing {
    fn begin(cell: &Arc<Cell>) -> Self {
        cell.step(|inner, _, _| inner.publishing = true);
        Self(Arc::clone(cell))
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.step(|inner, _, steps| (inner.publishing, steps.wake) = (false, true));
    }
}

impl Cell {
    /// Waits for a moment without requests under way, as long as there is time for that.
    async fn find_quiet(self: &Arc<Self>, number: u64) {
        loop {
            let nudged = self.gate.nudged.notified();
            let quiet = self.gate.is_quiet();
            let Some(left) = self.step(|inner, now, _| inner.state.look(now, number, quiet)) else { return };
            // While paused there is nothing to look for.
            let wait = if left == Duration::MAX { left } else { left.min(LOOK_EVERY) };
            drop(tokio::time::timeout(wait, nudged).await);
        }
    }

    /// Closes the gate where a live token dies by the login, here and at the other replicas, and waits
    /// for requests under way. What comes back makes the login, which counts as sent from now on; `None`
    /// where the lease was lost meanwhile.
    async fn close(self: &Arc<Self>, number: u64, lease: Option<(&dyn Share, Lease)>) -> Option<Fetch> {
        let bound = self.step(|inner, now, _| inner.state.close(now, number));
        let others = async {
            if let (Some((share, lease)), Some(bound)) = (lease, bound) {
                share.quiet(lease, bound).await;
            }
        };
        tokio::join!(others, self.drain(number));
        if let (Some((share, lease)), Some(_)) = (lease, bound)
            && !share.holds(lease).await
        {
            self.step(|inner, _, steps| inner.state.reopen(number, steps));
            return None;
        }
        Some(self.step(|inner, now, _| {
            inner.state.sent(now, number);
            Arc::clone(&inner.settings.fetch)
        }))
    }

    /// Makes the login; when it takes too long, requests go on meanwhile.
    async fn watch(self: &Arc<Self>, number: u64, fetch: Fetch) -> Result<Grant, TokenFault> {
        let patience = self.step(|inner, _, _| inner.state.patience());
        let mut login = fetch();
        tokio::select! {
            biased;
            outcome = &mut login => return outcome,
            () = tokio::time::sleep(patience) => {}
        }
        self.step(|inner, _, steps| inner.state.overdue(number, steps));
        login.await
    }

    async fn drain(self: &Arc<Self>, number: u64) {
        loop {
            let nudged = self.gate.nudged.notified();
            let quiet = self.gate.is_quiet();
            let Some(left) = self.step(|inner, now, _| inner.state.draining(now, number, quiet)) else { return };
            drop(tokio::time::timeout(left, nudged).await);
        }
    }

    /// The store is away and there is no token: waits until this replica may log in for itself, and
    /// asks the store once more.
    async fn wait_alone(self: &Arc<Self>, share: &dyn Share) -> Result<Turn, Away> {
        let wait = self.step(|inner, now, steps| inner.state.alone(now, steps));
        tokio::time::sleep(wait).await;
        share.turn(self.wanted()).await
    }

    /// Tells the other replicas what came of a login that was made with this lease.
    async fn publish_to(self: &Arc<Self>, share: &dyn Share, lease: Lease, fault: Option<TokenFault>) {
        let (carried, generation, pause) = self.step(|inner, now, _| {
            let carried = inner.state.carry(now).filter(|carried| carried.fence == lease.fence);
            let status = inner.state.status(now);
            (carried, status.generation, status.retry_after.unwrap_or_default())
        });
        let Some(carried) = carried else {
            let interrupted = || TokenFault::new(FaultClass::Transient, FaultReason::Interrupted);
            return share.give_back(lease, fault.unwrap_or_else(interrupted), pause).await;
        };
        match share.lay(lease, carried).await {
            Ok(Laid::Kept) => {}
            Ok(Laid::Lost) => {
                self.step(|inner, _, steps| inner.state.overtaken(generation, steps));
                // All replicas hold one token, also where it may be the wrong one of two.
                self.learn(share).await;
            }
            Err(Away) => {
                self.step(|inner, _, _| inner.state.unstored(generation));
            }
        }
    }
}
