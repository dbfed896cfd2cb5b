//! What callgrind writes: instructions, and who called whom how often.

use std::collections::HashMap;

/// The allocator's entry points. Those of Rust before them are inlined in an optimised build; these are C, and stay.
/// Valgrind's own tools for the heap know nothing of an allocator that is built in.
const ALLOCATES: [&str; 5] = ["_rjem_malloc", "_rjem_mallocx", "_rjem_calloc", "_rjem_realloc", "_rjem_rallocx"];

/// All threads together, from one dump to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) instructions: u64,
    /// What grows in place or moves counts as another one.
    pub(crate) allocations: u64,
}

impl Profile {
    /// The lesser of each figure.
    pub(crate) fn least(self, other: Self) -> Self {
        Self {
            instructions: self.instructions.min(other.instructions),
            allocations: self.allocations.min(other.allocations),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // A function's name stands beside its number where that comes first: `fn=(12) name`, and then `fn=(12)`.
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut calls: HashMap<&str, u64> = HashMap::new();
        let (mut called, mut instructions) = ("", None);
        for line in text.lines() {
            if let Some((keyword @ ("" | "c"), rest)) = line.split_once("fn=") {
                let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
                if !name.is_empty() {
                    names.insert(number, name);
                }
                if keyword == "c" {
                    called = number;
                }
            } else if let Some(rest) = line.strip_prefix("calls=") {
                *calls.entry(called).or_default() += first_number(rest).ok_or("calls without a number")?;
            } else if let Some(rest) = line.strip_prefix("totals: ") {
                instructions = first_number(rest);
            }
        }
        let allocates = |number: &&str| names.get(*number).is_some_and(|name| ALLOCATES.contains(name));
        if !calls.keys().any(&allocates) {
            return Err("no call of the allocator has a name: is the program stripped?".into());
        }
        let allocations = calls.iter().filter(|(number, _)| allocates(number)).map(|(_, calls)| calls).sum();
        Ok(Self { instructions: instructions.ok_or("no totals")?, allocations })
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
