//! Counts by the values of a label.

use std::sync::OnceLock;

use super::count::Count;

/// Counts by key, with one writer. A chain that grows by one row when a key is first seen and never
/// shrinks: of the thousands of rows that method and status could make, a route sees a handful, and
/// the one that it sees most is among the first. `K` has few values.
#[derive(Debug)]
pub(super) struct Tally<K>(OnceLock<Box<Row<K>>>);

#[derive(Debug)]
struct Row<K> {
    key: K,
    count: Count,
    next: Tally<K>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + Eq> Tally<K> {
    /// Allocates where the key is new.
    pub(super) fn add(&self, key: K) {
        let mut chain = self;
        loop {
            let row = chain.0.get_or_init(|| Box::new(Row { key, count: Count::default(), next: Self::default() }));
            if row.key == key {
                return row.count.add(1);
            }
            chain = &row.next;
        }
    }

    /// Each key that was seen, with its count.
    pub(super) fn rows(&self) -> impl Iterator<Item = (K, u64)> {
        std::iter::successors(self.0.get(), |row| row.next.0.get()).map(|row| (row.key, row.count.read()))
    }
}
