//! Latencies, answers over time, errors.

use crate::figures::sample::{BUCKET, Round};
use crate::process::monotonic_ns;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How finely the latency's distribution is told: so many steps for each power of ten, up to 99.99 %.
const STEPS: u32 = 20;
const POWERS: u32 = 4;

/// What an error is counted as: its kind, or where that says nothing its text.
pub(crate) fn kind(error: &io::Error) -> String {
    if error.kind() == ErrorKind::Other { error.to_string() } else { error.kind().to_string() }
}

pub(crate) struct Tally {
    /// In nanoseconds.
    latency: Histogram<u64>,
    series: Vec<u64>,
    /// Before that, answers warm up and are counted no further.
    begin: Option<Instant>,
    buckets: usize,
    pub(crate) answered: u64,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new(seconds: f64) -> Self {
        let buckets = (seconds / BUCKET).ceil().max(1.0) as usize;
        Self {
            // Up to a minute, to three digits; of a fixed size, so that recording never allocates.
            latency: Histogram::new_with_max(60_000_000_000, 3).unwrap(),
            series: vec![0; buckets],
            begin: None,
            buckets,
            answered: 0,
            errors: BTreeMap::new(),
        }
    }

    /// From now on answers are measured.
    pub(crate) fn begin(&mut self, begin: Instant) {
        self.begin = Some(begin);
    }

    /// Answered now, after so long.
    pub(crate) fn answered(&mut self, now: Instant, took: Duration) {
        self.answered += 1;
        let Some(begin) = self.begin else { return };
        let bucket = (now.saturating_duration_since(begin).as_secs_f64() / BUCKET) as usize;
        // What comes in the grace behind the end has a latency, but no time.
        if let Some(answers) = self.series.get_mut(bucket) {
            *answers += 1;
        }
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
        self.answered += other.answered;
        for (sum, more) in self.series.iter_mut().zip(&other.series) {
            *sum += more;
        }
        for (what, count) in &other.errors {
            self.errors(what, *count);
        }
    }

    /// So many were answered in the measured time, which was so long.
    pub(crate) fn round(mut self, requests: u64, seconds: f64) -> Round {
        self.series.truncate(self.buckets);
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let began_ns = self.begin.map_or(0, |begin| monotonic_ns() - begin.elapsed().as_nanos() as u64);
        Round {
            requests,
            answered: self.answered,
            seconds,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latency.max() as f64 / 1000.0,
            latency: self.distribution(),
            series: self.series,
            errors: self.errors,
            began_ns,
            ..Round::default()
        }
    }

    /// As far up as there were requests enough to tell.
    fn distribution(&self) -> Vec<(f64, f64)> {
        let count = self.latency.len() as f64;
        let shares = (0..=STEPS * POWERS).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / f64::from(STEPS)));
        let told = shares.take_while(|share| (1.0 - share) * count >= 1.0);
        told.map(|share| (share, self.latency.value_at_quantile(share) as f64 / 1000.0)).collect()
    }
}
