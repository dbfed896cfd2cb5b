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
    /// One more on its listener and on all, unless there are as many as may be on either.
    fn take(
        (own, most): (&Arc<Turnstile>, Option<usize>),
        (all, most_of_all): (&Arc<Turnstile>, Option<usize>),
    ) -> Option<Self> {
        if !own.enter(most) {
            return None;
        }
        if !all.enter(most_of_all) {
            own.leave();
            return None;
        }
        Some(Self([Arc::clone(own), Arc::clone(all)]))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for turnstile in &self.0 {
            turnstile.leave();
        }
    }
}

impl Turnstile {
    /// Counts one more, unless there are as many already: others look at the same moment.
    fn enter(&self, most: Option<usize>) -> bool {
        let more = |open: usize| Some(open + 1).filter(|next| most.is_none_or(|most| *next <= most));
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_one();
    }

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
    /// Waits until one more may come in, before it is accepted.
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
            self.something_changed().await;
        }
    }

    /// Lets in one that is accepted, once there is room for it: while its listener waited for it, others
    /// may have filled what there was.
    pub(super) async fn enter(&self, live: &Live) -> Ticket {
        let mut shown = None;
        loop {
            let (own, all) = self.most(live);
            if let Some(ticket) = Ticket::take((&self.own, own), (self.all, all)) {
                return ticket;
            }
            shown.get_or_insert_with(|| self.tell(live.strain()));
            self.something_changed().await;
        }
    }

    async fn something_changed(&self) {
        tokio::select! {
            () = self.own.freed.notified() => {}
            () = self.all.freed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }

    fn tell<'s>(&self, strain: &'s Strain) -> impl Drop + use<'s> {
        tracing::debug!(listener = self.place, "as many connections as may be: further ones wait");
        strain.show(Sign::Connections)
    }

    /// How many there may be, on this listener and on all.
    fn most(&self, live: &Live) -> (Option<usize>, Option<usize>) {
        let snapshot = live.load();
        let own = snapshot.doors.get(self.place).and_then(|door| door.connections);
        (own.map(|most| most as usize), snapshot.connections.map(|most| most as usize).or(self.most))
    }

    fn is_full(&self, live: &Live) -> bool {
        let (own, all) = self.most(live);
        self.own.is_full(own) || self.all.is_full(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_counts_on_its_listener_and_on_all_until_it_is_dropped() {
        let (own, other, all) = (Arc::default(), Arc::default(), Arc::default());
        let one = Ticket::take((&own, None), (&all, None)).unwrap();
        let two = Ticket::take((&other, Some(1)), (&all, Some(2))).unwrap();
        assert!(Ticket::take((&own, Some(1)), (&all, None)).is_none());
        assert!(Ticket::take((&own, None), (&all, Some(2))).is_none());
        assert!(own.is_full(Some(1)) && !own.is_full(Some(2)) && !own.is_full(None));
        assert!(all.is_full(Some(2)) && !all.is_full(Some(3)));
        drop(one);
        assert!(!own.is_full(Some(1)) && other.is_full(Some(1)) && !all.is_full(Some(2)));
        drop(two);
        assert!(!all.is_full(Some(1)));
    }
}
