//! A timer that a connection's requests share, one after another. It is set for the first of them and
//! left to run when that is answered: a request costs a look at it, and not a timer put up and taken down.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer. It is polled by one task at a time, whose requests come one after another.
#[derive(Debug, Default)]
pub struct Alarm(RefCell<Option<Pin<Box<Sleep>>>>);

impl Alarm {
    /// Ready once this moment has come; wakes the task then, and perhaps once before.
    pub(super) fn poll(&self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut running = self.0.borrow_mut();
        let sleep = running.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            // It was an earlier request's.
            sleep.as_mut().reset(deadline);
        }
    }

    /// Takes it down, where nobody will ask for a while.
    pub fn rest(&self) {
        self.0.borrow_mut().take();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_request_waits_for_its_own_moment_whatever_the_one_before_had_set() {
        let alarm = Alarm::default();
        for (after, before) in [(10, 60), (60, 10), (1, 1)] {
            let begun = Instant::now();
            // An earlier request that was answered at once.
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, begun + before * SECOND))).await.is_pending());
            poll_fn(|cx| alarm.poll(cx, begun + after * SECOND)).await;
            assert_eq!(begun.elapsed().as_secs(), u64::from(after));
        }
        alarm.rest();
        let begun = Instant::now();
        poll_fn(|cx| alarm.poll(cx, begun + SECOND)).await;
        assert_eq!(begun.elapsed(), SECOND);
    }
}
