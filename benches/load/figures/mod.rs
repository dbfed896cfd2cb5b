//! What was measured, and what is made of it. Nothing here does any I/O. The integration tests take it in as a module
//! of theirs (`tests/load_harness.rs`), so it names its neighbours by `super`.
//!
//! - `sample`: a round of a target, and all of them
//! - `spread`: medians and ranges
//! - `table`: columns for a terminal
//! - `rows`: what must hold, and whether it does
//! - `summary`: a scenario's table
//! - `baseline`: an earlier run beside this one
//! - `plot`, `page`: the report as a page

pub(crate) mod baseline;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod rows;
pub(crate) mod sample;
pub(crate) mod spread;
pub(crate) mod summary;
pub(crate) mod table;
