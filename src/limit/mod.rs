//! Bounds on what clients may ask of this process: how often, how many at once, and what is refused
//! while it has too little left. Pure, but for `descriptors`, which asks the kernel: the time is an
//! argument.
//!
//! `bucket` is the measure of a rate (GCRA: one number a bucket), `table` has one for each of many
//! clients in bounded memory, `limiter` is a rule with its buckets (those of all clients of all rules in one table), `crowd` counts what is under way,
//! and `bounds` is all that holds of a route. `frames` bounds what HTTP/2 frames may cost, and `guesses`
//! slows those who try keys. `strain` says what
//! this process has too little of, and `memory` when that is memory.

mod bounds;
mod bucket;
mod crowd;
pub mod descriptors;
pub mod frames;
mod guesses;
mod limiter;
mod memory;
mod strain;
mod table;

pub use bounds::{Bounds, Over};
pub use bucket::{Bucket, Pace, seconds_up};
pub use crowd::{Crowd, Present};
pub use guesses::{Fingerprint, Guess, Guesses, Slowed};
pub use limiter::{Clients, Limiter, Who, group};
pub use memory::{MemoryGauge, MemoryNews};
pub use strain::{Sign, Strain};
