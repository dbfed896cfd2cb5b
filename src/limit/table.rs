//! Buckets of many clients in bounded memory.
//!
//! A table of small sets, each with a lock of its own. Who is in no slot of his set takes the one
//! that will be empty first; so who has used up his bucket is the last to go, and whoever would free
//! him must have as many others of the same set use up theirs. Which those are he can't know: places
//! come of a hash with a secret.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::bucket::Pace;

/// Slots of a set: all are looked at, so few.
const WAYS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Whose it is; 0 is nobody's.
    key: u64,
    /// When it will be empty.
    due: u64,
}

type Set = Mutex<[Slot; WAYS]>;

/// Buckets by key. Takes memory with use, and never more than [`Table::most`] says.
pub(super) struct Table {
    secret: RandomState,
    sets: OnceLock<Box<[OnceLock<Box<Set>>]>>,
    size: usize,
}

impl Table {
    /// For about this many clients.
    pub(super) fn new(clients: usize) -> Self {
        Self { secret: RandomState::new(), sets: OnceLock::new(), size: (clients / WAYS).max(1) }
    }

    /// What it may take of memory, in bytes.
    #[cfg(test)]
    pub(super) fn most(&self) -> usize {
        self.size * (size_of::<OnceLock<Box<Set>>>() + size_of::<Set>())
    }

    /// Takes one from this client's bucket, or says how long until there is one.
    pub(super) fn take(&self, client: impl Hash, pace: Pace, now: u64) -> Result<(), Duration> {
        self.with(client, |slots, key| {
            let its = slots.iter().position(|slot| slot.key == key);
            let place = its.unwrap_or_else(|| {
                let first = slots.iter().enumerate().min_by_key(|(_, slot)| slot.due);
                let place = first.map_or(0, |(place, _)| place);
                slots[place] = Slot { key, due: 0 };
                place
            });
            slots[place].due = pace.after(slots[place].due, now)?;
            Ok(())
        })
    }

    /// Puts back one that this client took.
    pub(super) fn give_back(&self, client: impl Hash, pace: Pace) {
        self.with(client, |slots, key| {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.key == key) {
                slot.due = pace.before(slot.due);
            }
        });
    }

    fn with<T>(&self, client: impl Hash, then: impl FnOnce(&mut [Slot; WAYS], u64) -> T) -> T {
        let hash = self.secret.hash_one(client);
        let sets = self.sets.get_or_init(|| (0..self.size).map(|_| OnceLock::new()).collect());
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a size")]
        let set = sets[(hash % self.size as u64) as usize].get_or_init(Box::default);
        // Whole between calls, also when one of them panicked.
        let mut slots = set.lock().unwrap_or_else(PoisonError::into_inner);
        then(&mut slots, hash | 1)
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("clients", &(self.size * WAYS)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::limit::Bucket;
    use crate::model::Rate;

    proptest! {
        #[test]
        fn a_few_clients_have_each_a_bucket_of_their_own(
            steps in prop::collection::vec((0..6_u32, 0..2_000_000_000_u64), 1..300),
        ) {
            let (pace, table) = (Pace::new(Rate::parse("2/s").unwrap(), 3), Table::new(64));
            let mut oracle: HashMap<u32, Bucket> = HashMap::new();
            let mut now = 0;
            for (client, step) in steps {
                now += step;
                let expected = oracle.entry(client).or_default().take(pace, now);
                prop_assert_eq!(table.take(client, pace, now), expected);
                if expected.is_ok() {
                    // What is given back can be taken again, and no more than that.
                    table.give_back(client, pace);
                    prop_assert_eq!(table.take(client, pace, now), expected);
                }
            }
        }
    }

    #[test]
    fn any_number_of_clients_takes_no_more_memory_and_free_nobody_who_is_throttled() {
        let (pace, table) = (Pace::new(Rate::parse("1/m").unwrap(), 10), Table::new(4096));
        let throttled: Vec<u64> = (0..64).map(|n| u64::MAX - n).collect();
        for client in &throttled {
            while table.take(client, pace, 0).is_ok() {}
        }
        for client in 0..200_000_u64 {
            assert!(table.take(client, pace, 1).is_ok(), "a new one is let through");
        }
        let still = throttled.iter().filter(|client| table.take(client, pace, 2).is_err()).count();
        // With 64 among 512 sets, hardly ever do more than eight share one.
        assert_eq!(still, throttled.len());
        let used = table.sets.get().unwrap().iter().filter(|set| set.get().is_some()).count();
        assert_eq!(used, 512);
        assert!(table.most() < 128 << 10, "{} bytes", table.most());
    }

    #[test]
    fn a_table_that_nobody_used_takes_next_to_nothing() {
        let table = Table::new(1 << 20);
        assert!(table.sets.get().is_none());
    }
}
