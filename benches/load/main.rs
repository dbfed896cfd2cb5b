//! The load harness: what a request through the proxy costs, beside nginx and `HAProxy` doing the same job.
//!
//! ```text
//! make bench ARGS="--scenario get-1k --rounds 7 --html report.html"    the proxy as it is released
//! cargo bench --bench load -- --help
//! ```
//!
//! It starts the proxy, a vendor (API and token endpoint) and, where they are installed, nginx and `HAProxy`, each as
//! a process of its own, and drives them in interleaved rounds, so that what else the machine does hits all of them
//! alike. With two CPUs or more the proxies are pinned to one and everything else to the others.
//!
//! The figure to compare is CPU time per request: on a shared machine it moves by a few per cent where requests a
//! second and tail latencies move threefold. The upstream answers 500 to a request without the vendor's
//! token, and any answer but 200 is an error that fails the run.
//!
//! - `args`, `scenario`: what to do
//! - `run`: the measurement itself
//! - `targets`: who is measured, and how each is started
//! - `drive`: the load generator, in a process of its own
//! - `vendor`, `token`: the API and its token endpoint, in another
//! - `counts`: instructions and allocations a request, by valgrind
//! - `poll`, `line`, `wire`: sockets, TLS and HTTP/1.1, as much as those two need
//! - `figures`: what is made of what was measured, without any I/O
//! - `family`, `process`: processes, and what the kernel knows of them

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench has nobody to report to but the one who started it"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "results go to stdout, progress to stderr")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "figures are rounded for people anyway"
)]

mod args;
mod counts;
mod drive;
mod family;
mod figures;
mod line;
mod poll;
mod process;
mod run;
mod scenario;
mod targets;
mod token;
mod vendor;
mod wire;

use crate::args::{Options, Role};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    process::raise_file_limit();
    match &options.role {
        None => run::run(&options),
        Some(Role::Vendor(vendor)) => vendor::serve(vendor),
        Some(Role::Drive(job)) => drive::drive(job),
    }
}
