//! From one process or replica to the next: tokens that come and go without a login, and the end.

use std::sync::{Arc, PoisonError};

use super::state::Policy;
use super::{Cell, Fetch};
use crate::token::{Away, Carried, Shelf};

impl Cell {
    /// The live token, for another process; `None` where there is none, or it lives for ever.
    pub fn carry(&self) -> Option<Carried> {
        let inner = self.lock_noting();
        inner.state.carry(self.clock.now())
    }

    /// The generation of the latest token; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.status().generation
    }

    /// Puts another process's or replica's token in force, unless the one in hand is as good.
    pub fn adopt(self: &Arc<Self>, token: Carried) {
        self.step(|inner, now, steps| inner.state.adopt(now, token, steps));
    }

    /// Begins no login from now on, or begins them again: whoever needs one waits meanwhile.
    pub fn pause(self: &Arc<Self>, paused: bool) {
        self.step(|inner, _, steps| inner.state.pause(paused, steps));
    }

    /// Returns when no login is under way that the vendor may still hear, or that other replicas are
    /// still to be told of.
    pub async fn settled(&self) {
        loop {
            let landed = self.landed.notified();
            if self.is_settled() {
                return;
            }
            landed.await;
        }
    }

    fn is_settled(&self) -> bool {
        let inner = self.lock();
        !inner.state.is_under_way() && !inner.publishing
    }

    /// What replicas share now, without a login; `None` where nothing is shared.
    pub async fn look_up(&self) -> Option<Result<Shelf, Away>> {
        let share = self.share()?;
        Some(share.read().await)
    }

    /// From now on another process has the token: it is asked for one by this fetch, and this cell
    /// neither logs in, nor shares, nor gives the token up.
    pub fn follow(self: &Arc<Self>, fetch: Fetch) {
        let listener = self.step(|inner, now, steps| {
            let settings = &mut inner.settings;
            (settings.fetch, settings.exclusive, settings.share) = (fetch, false, None);
            let policy = Policy::from(&*settings);
            inner.state.configure(now, policy, steps);
            inner.state.pause(false, steps);
            inner.handed_over = true;
            inner.listener.take()
        });
        if let Some(listener) = listener {
            listener.abort();
        }
    }
}

/// Nobody refers to the cell any more, no request and no configuration: its token is given up, where
/// the vendor has a call for that and nobody else goes on with it.
impl Drop for Cell {
    fn drop(&mut self) {
        let now = self.clock.now();
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = inner.listener.take() {
            listener.abort();
        }
        let alone = inner.settings.share.is_none() && !inner.handed_over;
        if let Some(release) = inner.settings.release.take().filter(|_| alone)
            && let Some(carried) = inner.state.carry(now)
        {
            self.spawner.spawn(release(carried.token));
        }
    }
}
