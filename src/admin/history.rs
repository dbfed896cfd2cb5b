//! How the traffic went: each route's last quarter of an hour in steps, and its last minute.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::telemetry::metrics::{HistogramTotals, RouteTotals};

/// From one sample to the next.
pub(super) const STEP: Duration = Duration::from_secs(15);
/// A quarter of an hour.
const STEPS: usize = 60;
/// Samples that span a minute.
const MINUTE: usize = 5;

/// Samples of the counters. Routes that nobody asked cost nothing.
#[derive(Debug, Default)]
pub(super) struct History {
    /// When the latest samples were taken, a minute's worth.
    sampled: VecDeque<Instant>,
    /// Whole steps until now.
    steps: usize,
    rows: HashMap<String, Row>,
}

#[derive(Debug, Default)]
struct Row {
    /// Requests and errors of each step.
    steps: VecDeque<(u64, u64)>,
    /// The counters at the latest samples; there are fewer than [`History::sampled`] where they were 0 before.
    samples: VecDeque<Sample>,
}

#[derive(Clone, Debug, Default)]
struct Sample {
    requests: u64,
    errors: u64,
    duration: Option<HistogramTotals>,
}

impl History {
    /// Takes a sample. The first is what the first step begins with.
    pub(super) fn sample(&mut self, now: Instant, totals: Vec<RouteTotals>) {
        let first = self.sampled.is_empty();
        let before = self.steps;
        if !first {
            self.steps = (self.steps + 1).min(STEPS);
        }
        keep(&mut self.sampled, now, MINUTE);
        let mut seen = HashSet::new();
        for route in totals.into_iter().filter(|route| route.requests > 0) {
            let row = self.rows.entry(route.name.clone()).or_insert_with(|| Row {
                steps: std::iter::repeat_n((0, 0), before).collect(),
                samples: VecDeque::new(),
            });
            let last = row.samples.back().cloned().unwrap_or_default();
            if !first {
                let step = (since(route.requests, last.requests), since(route.errors, last.errors));
                keep(&mut row.steps, step, STEPS);
            }
            let sample = Sample { requests: route.requests, errors: route.errors, duration: Some(route.duration) };
            keep(&mut row.samples, sample, MINUTE);
            seen.insert(route.name);
        }
        // A route that is in no configuration any more has no counters.
        self.rows.retain(|name, _| seen.contains(name));
    }

    /// What is told of a route beside its place, by its counters now.
    pub(super) fn told(&self, now: Instant, route: Option<&RouteTotals>) -> Value {
        let row = route.and_then(|route| self.rows.get(&route.name));
        let (requests, errors) = route.map_or((0, 0), |route| (route.requests, route.errors));
        // A minute ago, or when there was nothing yet.
        let base = row.filter(|row| row.samples.len() == self.sampled.len()).and_then(|row| row.samples.front());
        let base = base.cloned().unwrap_or_default();
        let window = self.sampled.front().map_or(Duration::ZERO, |then| now.saturating_duration_since(*then));
        let (recent, failed) = (since(requests, base.requests), since(errors, base.errors));
        let duration = route.filter(|_| recent > 0).map(|route| match &base.duration {
            Some(earlier) => route.duration.since(earlier),
            None => route.duration.clone(),
        });
        let millis = |q: f64| duration.as_ref().and_then(|duration| duration.quantile(q)).map(|time| rounded(time * 1e3, 10.0));
        let step = |of: fn(&(u64, u64)) -> u64| -> Vec<u64> {
            match row {
                Some(row) => row.steps.iter().map(of).collect(),
                None => vec![0; self.steps],
            }
        };
        json!({
            "requests": requests,
            "errors": errors,
            "requests_per_second": if window.is_zero() { 0.0 } else { rounded(ratio(recent, window.as_secs_f64()), 100.0) },
            "error_share": (recent > 0).then(|| rounded(ratio(failed, ratio(recent, 1.0)), 10_000.0)),
            "p50_ms": millis(0.5),
            "p99_ms": millis(0.99),
            "history": {
                "step_seconds": STEP.as_secs(),
                "requests": step(|step| step.0),
                "errors": step(|step| step.1),
            },
        })
    }
}

fn keep<T>(queue: &mut VecDeque<T>, next: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(next);
}

/// Counters only grow, but for a route that was gone in between and began anew.
fn since(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[allow(clippy::cast_precision_loss, reason = "beyond 2^53 requests the last digits do not matter")]
fn ratio(count: u64, by: f64) -> f64 {
    count as f64 / by
}

fn rounded(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}
