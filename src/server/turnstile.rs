//! How many connections may be open, on one listener and on all. Who comes when there are as many
//! waits in the kernel's queue, as with `HAProxy`'s `maxconn`: nothing of them is read, and each is
//! served as soon as another one closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limit::{Sign, Strain};
use crate::live::Live;

/// How often it is looked whether a reload, or memory that was given back, has made room.
const LOOK: Duration = Duration::from_millis(200);

/// Connections that are open, on one listener or on all.
#[derive(Default, Debug)]
pub struct Turnstile {
    open: AtomicUsize,
    freed: Notify,
}

/// A connection among those that are counted, until it is dropped with the last of its requests and
/// tunnels.
#[derive(Debug)]
pub(super) struct Ticket([Arc<Turnstile>; 2]);

impl Ticket {
    pub(super) fn new(own: &Arc<Turnstile>, all: &Arc<Turnstile>) -> Self {
        let both = [Arc::clone(own), Arc::clone(all)];
        for turnstile in &both {
            turnstile.open.fetch_add(1, Ordering::Relaxed);
        }
        Self(both)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for turnstile in &self.0 {
            turnstile.open.fetch_sub(1, Ordering::Relaxed);
            turnstile.freed.notify_one();
        }
    }
}

impl Turnstile {
    fn is_full(&self, most: Option<usize>) -> bool {
        most.is_some_and(|most| self.open.load(Ordering::Relaxed) >= most)
    }
}

/// What bounds the connections of one listener.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    pub(super) own: Arc<Turnstile>,
    pub(super) all: &'a Arc<Turnstile>,
    /// For all, where the configuration does not say.
    pub(super) most: Option<usize>,
    /// The listener's place in the configuration.
    pub(super) place: usize,
}

impl Bound<'_> {
    /// Waits until one more may come in.
    pub(super) async fn room(&self, live: &Live) {
        let mut shown = None;
        loop {
            let full = self.is_full(live);
            if !full && !live.strain().shows(Sign::Memory) {
                return;
            }
            match (full, &shown) {
                (true, None) => shown = Some(self.tell(live.strain())),
                (false, Some(_)) => shown = None,
                _ => {}
            }
            tokio::select! {
                () = self.own.freed.notified() => {}
                () = self.all.freed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn tell<'s>(&self, strain: &'s Strain) -> impl Drop + use<'s> {
        tracing::debug!(listener = self.place, "as many connections as may be: further ones wait");
        strain.show(Sign::Connections)
    }

    fn is_full(&self, live: &Live) -> bool {
        let snapshot = live.load();
        let own = snapshot.doors.get(self.place).and_then(|door| door.connections);
        let all = snapshot.connections.map(|most| most as usize).or(self.most);
        self.own.is_full(own.map(|most| most as usize)) || self.all.is_full(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_counts_on_its_listener_and_on_all_until_it_is_dropped() {
        let (own, other, all) = (Arc::default(), Arc::default(), Arc::default());
        let one = Ticket::new(&own, &all);
        let two = Ticket::new(&other, &all);
        assert!(own.is_full(Some(1)) && !own.is_full(Some(2)) && !own.is_full(None));
        assert!(all.is_full(Some(2)) && !all.is_full(Some(3)));
        drop(one);
        assert!(!own.is_full(Some(1)) && other.is_full(Some(1)) && !all.is_full(Some(2)));
        drop(two);
        assert!(!all.is_full(Some(1)));
    }
}
