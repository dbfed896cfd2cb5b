//! The load generator: one round, told over stdout.
//!
//! It prints `begin` when the warm-up is over and `end` when the measured time is, so that its parent can read
//! the proxy's CPU time at both moments, and then its [`Round`] as one line of JSON.
//!
//! - `closed`: as fast as it goes, HTTP/1.1, plain or TLS, on kept or new connections
//! - `streams`: the same over HTTP/2
//! - `paced`: by the clock
//! - `once`: one request a connection: all at once, or one after the other and then idle
//! - `tally`: latencies, answers over time, errors

mod closed;
mod once;
mod paced;
mod streams;
mod tally;

use crate::args::Job;
use crate::line::client_config;
use crate::scenario::{Client, Pace};
use crate::token::{FIXED, token};
use std::process::ExitCode;
use std::time::Duration;

/// How long after the end an answer may still arrive before it counts as lost.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

pub(crate) fn drive(job: &Job) -> ExitCode {
    std::thread::spawn(|| {
        crate::family::outlive_no_parent();
        // The parent is gone, or wants the connections closed.
        std::process::exit(1);
    });
    let traffic = job.scenario.traffic();
    let token = job.with_token.then(|| token(FIXED));
    let request = traffic.request(&job.host, &job.path, &job.headers, token.as_deref());
    let tls = (traffic.client == Client::Tls).then(|| client_config(&job.certificate).unwrap());
    let round = match (traffic.pace, traffic.client) {
        (Pace::Closed, Client::H2c) => streams::run(job),
        (Pace::Closed, _) => closed::run(job, &request, tls, false),
        (Pace::Fresh, _) => closed::run(job, &request, tls, true),
        (Pace::Rate | Pace::Half, _) => paced::run(job, request),
        (Pace::Once, _) => return once::hold(job, &request),
        (Pace::Storm, _) => once::storm(job, &request),
    };
    println!("{}", serde_json::to_string(&round).unwrap());
    ExitCode::SUCCESS
}
