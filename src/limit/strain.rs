//! What this process has too little of, for all threads to see.

use std::sync::atomic::{AtomicU32, Ordering};

/// What there is too little of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// More memory is in use than `limits.memory`.
    Memory,
    /// Nearly as many files are open as may be.
    Descriptors,
    /// As many connections are open as may be, on a listener or in all.
    Connections,
}

/// Read with every request, written when something changes.
#[derive(Default, Debug)]
pub struct Strain {
    memory: AtomicU32,
    descriptors: AtomicU32,
    connections: AtomicU32,
}

/// A sign, until dropped.
#[derive(Debug)]
pub struct Shown<'a>(&'a AtomicU32);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Strain {
    /// All signs.
    pub const SIGNS: [Sign; 3] = [Sign::Memory, Sign::Descriptors, Sign::Connections];

    fn of(&self, sign: Sign) -> &AtomicU32 {
        match sign {
            Sign::Memory => &self.memory,
            Sign::Descriptors => &self.descriptors,
            Sign::Connections => &self.connections,
        }
    }

    /// Shows a sign for as long as what is returned is held.
    #[must_use]
    pub fn show(&self, sign: Sign) -> Shown<'_> {
        let shown = self.of(sign);
        shown.fetch_add(1, Ordering::Relaxed);
        Shown(shown)
    }

    /// Shows a sign, or no longer; for one that a single place judges.
    pub fn set(&self, sign: Sign, shown: bool) {
        self.of(sign).store(shown.into(), Ordering::Relaxed);
    }

    /// Whether it shows.
    pub fn shows(&self, sign: Sign) -> bool {
        self.of(sign).load(Ordering::Relaxed) > 0
    }

    /// Whether connections that nobody uses are in somebody's way.
    pub fn wants_room(&self) -> bool {
        Self::SIGNS.iter().any(|sign| self.shows(*sign))
    }
}

impl Sign {
    /// As the metrics' label says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Connections => "connections",
        }
    }
}
