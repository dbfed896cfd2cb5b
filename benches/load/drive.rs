//! The load generator: one round, told over stdout.
//!
//! It prints `begin` when the warm-up is over and `end` when the measured time is, so that its parent can read
//! the proxy's CPU time at both moments, and then its [`Round`] as one line of JSON.

use crate::args::Job;
use crate::token::token;
use crate::{closed, paced};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// How long after the end an answer may still arrive before it counts as lost.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// What one round saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Answered with 200 between `begin` and `end`.
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// What went wrong, and how often, the warm-up included.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Latencies in nanoseconds, and errors.
pub(crate) struct Tally {
    pub(crate) latency: Histogram<u64>,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        // Up to a minute, to three digits; of a fixed size, so that recording never allocates.
        Self { latency: Histogram::new_with_max(60_000_000_000, 3).unwrap(), errors: BTreeMap::new() }
    }

    pub(crate) fn answered(&mut self, took: Duration) {
        self.latency.saturating_record(took.as_nanos() as u64);
    }

    pub(crate) fn error(&mut self, what: &str) {
        self.errors(what, 1);
    }

    pub(crate) fn errors(&mut self, what: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(what.to_owned()).or_default() += count;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).unwrap();
        for (what, count) in &other.errors {
            self.errors(what, *count);
        }
    }

    pub(crate) fn round(self, requests: u64, seconds: f64) -> Round {
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        Round {
            requests,
            seconds,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latency.max() as f64 / 1000.0,
            errors: self.errors,
        }
    }
}

pub(crate) fn drive(job: &Job) -> ExitCode {
    std::thread::spawn(|| {
        crate::family::outlive_no_parent();
        // The parent is gone, and with it whoever wanted the figures.
        std::process::exit(1);
    });
    let token = job.with_token.then(token);
    let request = job.scenario.request(&job.host, &job.path, token.as_deref());
    let round = if job.scenario.paced() { paced::run(job, request) } else { closed::run(job, request) };
    println!("{}", serde_json::to_string(&round).unwrap());
    ExitCode::SUCCESS
}
