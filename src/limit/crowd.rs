//! How many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What is under way, counted by whoever is part of it.
#[derive(Default, Debug)]
pub struct Crowd(AtomicU32);

impl Crowd {
    /// One more, unless there are `most` already. It is one less again when what is returned is dropped.
    pub fn enter(self: &Arc<Self>, most: u32) -> Option<Present> {
        let more = |present: u32| present.checked_add(1).filter(|next| *next <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Present(Arc::clone(self)))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of a crowd, until dropped: by its end, by its client's going away, or by a panic.
#[derive(Debug)]
pub struct Present(Arc<Crowd>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_never_larger_than_it_may_be_and_whoever_goes_makes_room() {
        let crowd = Arc::<Crowd>::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let present = crowd.enter(3);
                        assert!(crowd.count() <= 3);
                        drop(present);
                    }
                });
            }
        });
        assert_eq!(crowd.count(), 0);
        let three: Vec<_> = (0..5).filter_map(|_| crowd.enter(3)).collect();
        assert_eq!(three.len(), 3);
    }

    #[test]
    fn a_panic_leaves_nobody_behind() {
        let crowd = Arc::<Crowd>::default();
        let its = Arc::clone(&crowd);
        let ended = std::thread::spawn(move || {
            let _present = its.enter(1).unwrap();
            panic!("on purpose");
        });
        assert!(ended.join().is_err());
        assert!(crowd.enter(1).is_some());
    }
}
