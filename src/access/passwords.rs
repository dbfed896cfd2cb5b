//! The checks of passwords, which are slow on purpose: never on a worker's own thread, few at once,
//! and each right password only once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::denied::Denied;
use super::seen::{Mark, Marker, Seen};
use crate::model::PasswordHash;

/// Different passwords that wait for their check. At 20 ms each, about two seconds on one core.
const MOST_WAITING: usize = 64;
/// For a check to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// All checks of this process, and what came of them. It outlives a configuration: a password is
/// remembered together with the hash that it was right for, so that another hash asks for it anew.
pub struct Passwords {
    runtime: Handle,
    /// Half of the cores at most: the other half goes on forwarding.
    slots: Arc<Semaphore>,
    /// Places in the queue, those that are being checked among them.
    queue: Semaphore,
    marker: Marker,
    right: Seen<()>,
    under_way: Mutex<HashMap<Mark, Arc<OnceCell<bool>>>>,
}

impl Passwords {
    /// Checks run on threads of this runtime that are made for what blocks.
    pub fn new(runtime: Handle) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let slots = (cores / 2).max(1);
        Arc::new(Self {
            runtime,
            slots: Arc::new(Semaphore::new(slots)),
            queue: Semaphore::new(slots + MOST_WAITING),
            marker: Marker::new(),
            right: Seen::new(),
            under_way: Mutex::default(),
        })
    }

    /// The mark of this password together with this hash.
    pub(super) fn mark(&self, hash: &PasswordHash, password: &[u8]) -> Mark {
        self.marker.mark(hash.identity().chain([password]))
    }

    /// Whether it was found right before.
    pub(super) fn is_known(&self, mark: &Mark) -> bool {
        self.right.find(mark).is_some()
    }

    /// Checks a password. Who asks for a check that is under way waits for that one. `keeps` says whether it is
    /// remembered when it is right.
    pub(super) async fn check(
        self: &Arc<Self>,
        mark: Mark,
        hash: &PasswordHash,
        password: Zeroizing<Vec<u8>>,
        keeps: bool,
    ) -> Result<bool, Denied> {
        let way = Way::join(self, mark);
        let checked = way.cell.get_or_try_init(|| self.run(mark, hash, password, keeps)).await;
        checked.copied()
    }

    async fn run(
        &self,
        mark: Mark,
        hash: &PasswordHash,
        password: Zeroizing<Vec<u8>>,
        keeps: bool,
    ) -> Result<bool, Denied> {
        // One that was under way when this one was asked for may be over.
        if self.is_known(&mark) {
            return Ok(true);
        }
        let _place = self.queue.try_acquire().map_err(|_| Denied::Crowded)?;
        let slot = timeout(PATIENCE, Arc::clone(&self.slots).acquire_owned()).await;
        let slot = slot.map_err(|_| Denied::Crowded)?.map_err(|_| Denied::Crowded)?;
        let hash = hash.clone();
        // The slot is held until the thread is done, also where nobody waits any more.
        let check = self.runtime.spawn_blocking(move || {
            let is_right = hash.is_of(&password);
            drop(slot);
            is_right
        });
        let is_right = check.await.map_err(|_| Denied::Crowded)?.map_err(|_| Denied::Crowded)?;
        if is_right && keeps {
            self.right.keep(mark, ());
        }
        Ok(is_right)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Mark, Arc<OnceCell<bool>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

/// A check that one or several requests wait for.
struct Way<'p> {
    passwords: &'p Passwords,
    mark: Mark,
    cell: Arc<OnceCell<bool>>,
}

impl<'p> Way<'p> {
    fn join(passwords: &'p Passwords, mark: Mark) -> Self {
        let cell = Arc::clone(passwords.lock().entry(mark).or_default());
        Self { passwords, mark, cell }
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        let mut under_way = self.passwords.lock();
        // The map's own and this one: nobody else waits.
        if Arc::strong_count(&self.cell) <= 2 {
            under_way.remove(&self.mark);
        }
    }
}

#[cfg(test)]
mod tests;
