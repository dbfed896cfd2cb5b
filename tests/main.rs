//! The one integration binary: a module a promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests may panic and print, and clippy.toml's leave for that does not reach their helper functions"
)]

mod access;
mod answers_of_its_own;
mod harness;
mod house;
mod injection;
mod protocols;
mod routes;
mod sending_again;
mod slow_clients;
mod streaming;
mod tls;
mod upgrades;
mod wire_requests;
