//! The load harness: what a request through the proxy costs, beside nginx doing the same job.
//!
//! ```text
//! cargo bench --bench load -- --help
//! cargo bench --bench load -- --scenario get-1k --rounds 7 --check-ratio 1.25
//! ```
//!
//! It starts the proxy (one worker), a vendor's token endpoint, an upstream and, where it is
//! installed, nginx, each as a process of its own, and drives them in interleaved rounds, so that
//! what else the machine does hits all of them alike. With two CPUs or more the proxies are
//! pinned to one and everything else to another.
//!
//! The figure to compare is CPU time per request: on a shared machine it moves by a few per cent where requests a
//! second and tail latencies move threefold. The upstream answers 500 to a request without the vendor's
//! token, and any answer but 200 is an error that fails the run.

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
    clippy::cast_sign_loss,
    reason = "figures are rounded for people anyway"
)]

mod args;
mod closed;
mod drive;
mod family;
mod paced;
mod peers;
mod process;
mod report;
mod run;
mod scenario;
mod token;
mod upstream;
mod wire;

use crate::args::{Options, Role};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    match options.role {
        None => run::run(&options),
        Some(Role::Upstream) => upstream::serve(),
        Some(Role::Token) => token::serve(),
        Some(Role::Drive(job)) => drive::drive(&job),
    }
}
