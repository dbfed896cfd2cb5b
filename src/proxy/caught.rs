//! A panic in one request is one request that fails, not its connection and not its worker.
//!
//! What a panic says is not told: it may hold what the client sent.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

/// Something panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Panicked;

/// Drives a future to its end, or to its panic; it is not driven any further then, and what it held
/// is dropped.
///
/// It is lent, not given, or it would stand in the caller's future twice.
pub(super) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    // What a request shares with others is whole between any two steps: cells that are borrowed are
    // given back as the panic unwinds, and shared memory is written by atomics and short locks.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => std::task::Poll::Ready(Err(Panicked)),
    })
    .await
}

/// The same for one step.
pub(super) fn caught_now<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| Panicked)
}

/// A client of this name makes its request panic, in unit tests only: no build that anybody runs has
/// a way to provoke one.
#[cfg(test)]
pub(super) fn on_purpose(headers: &http::HeaderMap) {
    assert!(!headers.contains_key("x-panic-on-purpose"), "CANARY-of-a-panic");
}

/// The same once it has been let in and counts among those under way.
#[cfg(test)]
pub(super) fn on_purpose_under_way(headers: &http::HeaderMap) {
    assert!(!headers.contains_key("x-panic-under-way"), "CANARY-of-a-panic");
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_result_and_what_was_held_is_let_go() {
        let held = std::rc::Rc::new(());
        let its = std::rc::Rc::clone(&held);
        let mut panics = Box::pin(async move {
            tokio::task::yield_now().await;
            assert_eq!(std::rc::Rc::strong_count(&its), 0, "on purpose");
        });
        assert_eq!(caught(panics.as_mut()).await, Err::<(), _>(Panicked));
        drop(panics);
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
        assert_eq!(caught(pin!(async { 7 })).await, Ok(7));
    }
}
