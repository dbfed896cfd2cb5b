//! What is counted. Each worker counts for itself, in memory that no other one writes; whoever asks
//! gets the sums.
//!
//! `count` is a number with one writer, `histogram` a distribution of durations, `tally` counts by
//! the values of a label, and `label` bounds those. `route` is what one worker counts of one route,
//! `sheet` what it counts in all; `ledger` has the sheets of all workers, and `refused` the connections
//! that came to nothing.

mod count;
mod histogram;
mod label;
mod ledger;
mod refused;
mod route;
mod sheet;
mod tally;
#[cfg(test)]
mod tests;

pub use histogram::{BOUNDS, HistogramTotals};
pub use label::status_word;
pub use ledger::{Connections, Metrics};
pub use route::{Again, Finished, Replayed, RouteMeter, RouteTotals};
pub use sheet::{Connected, Sheet, Side};

/// The name under which requests are counted that no route took.
pub const NO_ROUTE: &str = "none";
