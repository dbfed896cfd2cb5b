//! How the traffic went: each route's last quarter of an hour in steps, and its last minute.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

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
    rows: HashMap<Arc<str>, Row>,
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
    /// When the latest sample was taken.
    pub(super) fn latest(&self) -> Option<Instant> {
        self.sampled.back().copied()
    }

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
            let row = self.rows.entry(Arc::clone(&route.name)).or_insert_with(|| Row {
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
    pub(super) fn told(&self, now: Instant, route: Option<&RouteTotals>) -> Map<String, Value> {
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
        let millis =
            |q: f64| duration.as_ref().and_then(|duration| duration.quantile(q)).map(|time| rounded(time * 1e3, 10.0));
        let step = |of: fn(&(u64, u64)) -> u64| -> Vec<u64> {
            match row {
                Some(row) => row.steps.iter().map(of).collect(),
                None => vec![0; self.steps],
            }
        };
        let told = [
            ("requests", json!(requests)),
            ("errors", json!(errors)),
            ("requests_per_second", json!(rounded(ratio(recent, window.as_secs_f64()), 100.0))),
            ("error_share", json!((recent > 0).then(|| rounded(ratio(failed, ratio(recent, 1.0)), 10_000.0)))),
            ("p50_ms", json!(millis(0.5))),
            ("p99_ms", json!(millis(0.99))),
            (
                "history",
                json!({
                    "step_seconds": STEP.as_secs(),
                    "requests": step(|step| step.0),
                    "errors": step(|step| step.1),
                }),
            ),
        ];
        told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 requests the last digits do not matter")]
fn ratio(count: u64, by: f64) -> f64 {
    if by > 0.0 { count as f64 / by } else { 0.0 }
}

fn rounded(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    /// A route's counters, of which nothing but these numbers matters here.
    fn totals(name: &str, requests: u64, errors: u64) -> RouteTotals {
        let metrics = Metrics::new();
        let sheet = metrics.sheet();
        let _meter = sheet.route(name);
        let totals = metrics.routes().pop().unwrap();
        RouteTotals { requests, errors, ..totals }
    }

    fn numbers(told: &Map<String, Value>, of: &str) -> Vec<u64> {
        told["history"][of].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
    }

    #[test]
    fn a_step_has_what_came_in_it() {
        let (mut history, begun) = (History::default(), Instant::now());
        let at = |steps: u32| begun + steps * STEP;
        history.sample(at(0), vec![totals("a", 7, 1)]);
        assert_eq!(numbers(&history.told(at(0), Some(&totals("a", 7, 1))), "requests"), [0; 0]);
        history.sample(at(1), vec![totals("a", 10, 1), totals("b", 4, 4)]);
        history.sample(at(2), vec![totals("a", 10, 1), totals("b", 5, 4)]);
        let a = history.told(at(2), Some(&totals("a", 12, 1)));
        assert_eq!((numbers(&a, "requests"), numbers(&a, "errors")), (vec![3, 0], vec![0, 0]));
        let b = history.told(at(2), Some(&totals("b", 5, 4)));
        assert_eq!((numbers(&b, "requests"), numbers(&b, "errors")), (vec![4, 1], vec![4, 0]));
        assert_eq!(numbers(&history.told(at(2), None), "requests"), [0, 0], "one that nobody asked");
        assert_eq!((a["requests"].as_u64(), a["requests_per_second"].as_f64()), (Some(12), Some(0.17)), "5 in 30 s");
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_a_minute_judged() {
        let (mut history, begun) = (History::default(), Instant::now());
        for step in 0..100_u32 {
            let count = u64::from(step) * 30;
            history.sample(begun + step * STEP, vec![totals("a", count, count / 2)]);
        }
        let told = history.told(begun + 99 * STEP, Some(&totals("a", 99 * 30, 99 * 15)));
        assert_eq!(numbers(&told, "requests"), [30; 60]);
        assert_eq!(told["requests_per_second"], 2.0);
        assert_eq!(told["error_share"], 0.5);
        let quiet = history.told(begun + 99 * STEP, Some(&totals("a", 95 * 30, 0)));
        assert_eq!((&quiet["error_share"], &quiet["p50_ms"]), (&Value::Null, &Value::Null), "no request in it");
    }

    #[test]
    fn a_route_that_went_and_came_back_begins_anew() {
        let (mut history, begun) = (History::default(), Instant::now());
        history.sample(begun, vec![totals("a", 100, 0)]);
        history.sample(begun + STEP, Vec::new());
        history.sample(begun + 2 * STEP, vec![totals("a", 3, 0)]);
        let told = history.told(begun + 2 * STEP, Some(&totals("a", 3, 0)));
        assert_eq!(numbers(&told, "requests"), [0, 3]);
    }
}
