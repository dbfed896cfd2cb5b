//! What a share was told and its cell has not heard yet: bounded, and never in a teller's way.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::token::Told;

/// More than a listening cell ever leaves waiting; what is beyond it was told too long ago to matter.
const MOST: usize = 32;

/// One share's messages. Of several tokens only the latest is told; holds and releases keep their
/// order.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<VecDeque<Told>>,
    more: Notify,
}

impl Inbox {
    /// Puts a message in; never waits.
    pub(super) fn push(&self, told: Told) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match told {
            Told::Token(fence) => {
                let earlier = waiting.iter().filter_map(|told| if let Told::Token(f) = told { Some(*f) } else { None });
                let latest = earlier.fold(fence, u64::max);
                waiting.retain(|told| !matches!(told, Told::Token(_)));
                Told::Token(latest)
            }
            Told::Back => {
                waiting.retain(|told| *told != Told::Back);
                Told::Back
            }
            gate => gate,
        };
        waiting.push_back(told);
        if waiting.len() > MOST {
            // Holds end by themselves, and a release without its hold means nothing.
            let oldest = waiting.iter().position(|told| matches!(told, Told::Hold(..) | Told::Release(_)));
            let _ = oldest.and_then(|at| waiting.remove(at));
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// The next message.
    pub(super) async fn next(&self) -> Told {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(told) => return told,
                None => self.more.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(inbox: &Inbox) -> Vec<Told> {
        inbox.waiting.lock().unwrap().iter().copied().collect()
    }

    #[test]
    fn the_latest_token_wins_and_holds_keep_their_order() {
        let inbox = Inbox::default();
        let hold = Told::Hold(3, Duration::from_secs(1));
        for message in [Told::Back, Told::Token(2), hold, Told::Token(5), Told::Token(4), Told::Release(3), Told::Back]
        {
            inbox.push(message);
        }
        assert_eq!(told(&inbox), [hold, Told::Token(5), Told::Release(3), Told::Back]);
    }

    #[test]
    fn a_cell_that_does_not_listen_costs_no_memory() {
        let inbox = Inbox::default();
        inbox.push(Told::Token(7));
        for fence in 0..10_000 {
            inbox.push(Told::Release(fence));
        }
        let told = told(&inbox);
        assert_eq!((told.len(), told.first(), told.last()), (MOST, Some(&Told::Token(7)), Some(&Told::Release(9_999))));
    }
}
