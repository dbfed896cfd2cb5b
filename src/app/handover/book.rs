//! The tokens of this process by their keys, and who may log in for them: this one, nobody for a
//! moment, or the process that took over.

use std::collections::HashMap;
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
    paused: Vec<(TokenKey, Arc<Cell>)>,
}

impl Book {
    /// Takes the cells of the configuration in force. Those that are new are told how things stand.
    pub(crate) fn set(&self, logins: Vec<(TokenKey, Arc<Cell>)>) {
        let mut inner = self.lock();
        if inner.is_paused {
            for (key, cell) in &logins {
                if !inner.paused.iter().any(|(_, paused)| Arc::ptr_eq(paused, cell)) {
                    cell.pause(true);
                    inner.paused.push((*key, Arc::clone(cell)));
                }
            }
        }
        inner.logins = logins;
    }

    /// No login is begun until the guard goes.
    pub(super) fn pause(self: &Arc<Self>) -> Paused {
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.is_paused = true;
        inner.paused.clone_from(&inner.logins);
        for (_, cell) in &inner.paused {
            cell.pause(true);
        }
        drop(guard);
        Paused(Arc::clone(self))
    }

    /// From now on tokens are come by through the process at this socket, whose they are.
    pub(crate) fn follow(&self, path: &Path) {
        let inner = self.lock();
        // Also those that a reload has removed meanwhile: they must not be given up at their vendor.
        let all = if inner.is_paused { &inner.paused } else { &inner.logins };
        for (key, cell) in all {
            cell.follow(successors(path.to_owned(), key.hex(), cell));
        }
    }

    /// Every live token. Where not all logins are `settled`, one of them may have killed its token.
    pub(super) fn carry(&self, settled: bool) -> Vec<Held> {
        let inner = self.lock();
        let carried = inner.logins.iter().filter_map(|(key, cell)| {
            let mut carried = cell.carry()?;
            carried.suspect |= !settled;
            Some(Held::new(key.hex(), cell.generation(), carried))
        });
        carried.collect()
    }

    /// Puts tokens of another process in force, after this time on their way.
    pub(crate) fn adopt(&self, tokens: &[Held], on_their_way: Duration) {
        let tokens: HashMap<&str, &Held> = tokens.iter().map(|held| (held.key.as_str(), held)).collect();
        for (key, cell) in &self.lock().logins {
            let held = tokens.get(key.hex().as_str());
            if let Some(carried) = held.and_then(|held| held.carried(on_their_way)) {
                cell.adopt(carried);
            }
        }
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
        for (_, cell) in inner.paused.drain(..) {
            cell.pause(false);
        }
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
            for (_, cell) in paused {
                cell.settled().await;
            }
        };
        tokio::time::timeout(within, settling).await.is_ok()
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
