//! The tokens of this process by their keys, and who may log in for them: this one, nobody for a
//! moment, or the process that took over.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ask::{digest, successors};
use super::message::Held;
use crate::token::{Cell, TokenKey};

/// How long a request of another process may wait for a login of this one.
const PATIENCE: Duration = Duration::from_secs(12);

/// The cells that log in.
#[derive(Debug, Default)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    logins: Vec<(TokenKey, Arc<Cell>)>,
    /// Whether another process is taking over.
    is_paused: bool,
    /// Cells that are paused: also those that a reload has since removed.
    paused: Vec<Arc<Cell>>,
}

impl Book {
    /// Takes the cells of the configuration in force. Those that are new are told how things stand.
    pub(crate) fn set(&self, logins: Vec<(TokenKey, Arc<Cell>)>) {
        let mut inner = self.lock();
        if inner.is_paused {
            let known: Vec<_> = inner.paused.clone();
            for (_, cell) in logins.iter().filter(|(_, cell)| !known.iter().any(|paused| Arc::ptr_eq(paused, cell))) {
                cell.pause(true);
                inner.paused.push(Arc::clone(cell));
            }
        }
        inner.logins = logins;
    }

    /// No login is begun until the guard goes.
    pub(super) fn pause(self: &Arc<Self>) -> Paused {
        let mut inner = self.lock();
        inner.is_paused = true;
        inner.paused = inner.logins.iter().map(|(_, cell)| Arc::clone(cell)).collect();
        inner.paused.iter().for_each(|cell| cell.pause(true));
        drop(inner);
        Paused(Arc::clone(self))
    }

    /// Every live token. One whose login is still under way may be dead by the time it arrives.
    pub(super) fn carry(&self) -> Vec<Held> {
        self.lock().logins.iter().filter_map(|(key, cell)| held(key, cell)).collect()
    }

    /// Puts tokens of another process in force; how many.
    pub(crate) fn adopt(&self, tokens: &[Held], on_their_way: Duration) -> usize {
        let inner = self.lock();
        let mut taken = 0;
        for (key, cell) in &inner.logins {
            let key = key.hex();
            let held = tokens.iter().find(|held| held.key == key);
            if let Some(carried) = held.and_then(|held| held.carried(on_their_way)) {
                cell.adopt(carried);
                taken += 1;
            }
        }
        taken
    }

    /// The live token of this key, without a login.
    pub(super) fn peek(&self, key: &str) -> Option<Held> {
        self.lock().logins.iter().find(|(known, _)| known.hex() == key).and_then(|(key, cell)| held(key, cell))
    }

    /// A token of this key that is another one than this, for a process that drains.
    pub(super) async fn renewed(&self, key: &str, not: &str, refused: bool) -> Result<Held, &'static str> {
        let known = self.lock().logins.iter().find(|(known, _)| known.hex() == key).cloned();
        let (key, cell) = known.ok_or("there is no such credential any more")?;
        let deadline = Instant::now() + PATIENCE;
        let acquire = || cell.acquire(deadline.saturating_duration_since(Instant::now()));
        let mut token = acquire().await.map_err(|_| "there is no token to be had")?;
        if refused && digest(&token.secret) == not {
            cell.refused(token.generation);
            token = acquire().await.map_err(|_| "there is no token to be had")?;
        }
        if digest(&token.secret) == not {
            // Near its end its use has begun its renewal.
            let left = deadline.saturating_duration_since(Instant::now());
            drop(tokio::time::timeout(left, cell.settled()).await);
            token = acquire().await.map_err(|_| "there is no token to be had")?;
        }
        if digest(&token.secret) == not {
            return Err("there is no newer token yet");
        }
        held(&key, &cell).ok_or("the token lives for ever")
    }

    fn resume(&self) {
        let mut inner = self.lock();
        inner.is_paused = false;
        inner.paused.drain(..).for_each(|cell| cell.pause(false));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this lives, no login is begun.
pub(super) struct Paused(Arc<Book>);

impl Paused {
    /// Waits until the logins that were under way are over, or for this long; whether they are.
    pub(super) async fn settle(&self, within: Duration) -> bool {
        let paused = self.0.lock().paused.clone();
        let settling = async {
            for cell in paused {
                cell.settled().await;
            }
        };
        tokio::time::timeout(within, settling).await.is_ok()
    }

    /// From now on tokens are come by through the process at this socket.
    pub(super) fn hand_over(self, path: &Path) {
        let inner = self.0.lock();
        for (key, cell) in &inner.logins {
            cell.follow(successors(path.to_owned(), key.hex(), cell));
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.resume();
    }
}

fn held(key: &TokenKey, cell: &Cell) -> Option<Held> {
    Some(Held::new(key.hex(), cell.generation(), cell.carry()?))
}
