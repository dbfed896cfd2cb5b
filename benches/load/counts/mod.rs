//! What a warm request costs in user instructions and heap allocations: counted, not timed, so that what else
//! the machine does hardly moves it. The integration tests take this in as a module of theirs (`tests/cost.rs`), so it names its
//! neighbours by `super`.
//!
//! - `callgrind`: the proxy under valgrind's callgrind, asked for more and more
//! - `profile`: what callgrind writes

pub(crate) mod callgrind;
pub(crate) mod profile;
