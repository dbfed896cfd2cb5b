//! How far it is, on stderr.

use crate::scenario::Scenario;
use std::time::{Duration, Instant};

pub(crate) struct Progress {
    /// Each scenario, and about how many seconds it takes.
    weights: Vec<(Scenario, f64)>,
    /// Which one runs; none before the first.
    current: usize,
    /// Expected seconds of the current one that are over.
    within: f64,
    begun: Instant,
}

impl Progress {
    pub(crate) fn new(weights: Vec<(Scenario, f64)>) -> Self {
        Self { weights, current: 0, within: 0.0, begun: Instant::now() }
    }

    /// The next scenario begins.
    pub(crate) fn next(&mut self, scenario: Scenario) {
        self.current += 1;
        self.within = 0.0;
        self.tell(0.0, &scenario.title());
    }

    /// So many of the expected seconds are over since the last time.
    pub(crate) fn tell(&mut self, seconds: f64, text: &str) {
        self.within += seconds;
        let (scenarios, number) = (self.weights.len(), self.current);
        let before: f64 = self.weights.iter().take(number.saturating_sub(1)).map(|(_, weight)| weight).sum();
        let here = self.weights.get(number.saturating_sub(1)).map_or(0.0, |(_, weight)| *weight);
        let all: f64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let done = before + self.within.min(here);
        // As slow as it was so far, once that says something.
        let pace = if done > 5.0 { self.begun.elapsed().as_secs_f64() / done } else { 1.1 };
        let left = Duration::from_secs_f64(((all - done) * pace).max(0.0));
        eprintln!("[{number}/{scenarios}] {text}; {} left", words(left));
    }
}

fn words(left: Duration) -> String {
    match left.as_secs() {
        seconds @ ..100 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
