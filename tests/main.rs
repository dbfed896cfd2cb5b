//! The one integration binary: a module a promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests may panic and print, and clippy.toml's leave for that does not reach their helper functions"
)]

mod cli;
mod harness;
mod house;
