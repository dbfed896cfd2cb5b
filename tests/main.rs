//! The one integration binary: a module a promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::large_futures,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "tests may panic and print, and clippy.toml's leave for that does not reach their helper functions"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are printed with a digit or two")]
#![allow(unreachable_pub, reason = "nothing outside this binary reaches anything")]

mod access;
mod admin;
mod answers_of_its_own;
mod cli;
mod client_address;
mod client_certificates;
mod cost;
mod demo;
mod docs;
mod egress;
mod fuzzing;
mod handover;
mod harness;
mod house;
mod idle;
mod injection;
mod limits;
mod load_harness;
mod logins;
mod logs;
mod memory;
mod metrics;
mod own_logins;
mod parking;
mod pgo;
mod protocols;
mod release;
mod reload;
mod replicas;
mod revoked;
mod rotation;
mod routes;
mod sending_again;
mod service;
mod skew;
mod store;
mod streaming;
mod supply_chain;
mod threats;
mod tls;
mod traces;
mod upgrades;
mod vendors;
mod wire_requests;
