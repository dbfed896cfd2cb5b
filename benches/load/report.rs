//! The figures, for people and as JSON.

use crate::drive::Round;
use crate::scenario::Scenario;
use serde_json::{Value, json};

/// One round of one target.
pub(crate) struct Sample {
    pub(crate) scenario: Scenario,
    pub(crate) target: &'static str,
    pub(crate) round: Round,
    /// User and system time a request, in microseconds, where a process is known.
    pub(crate) cpu_us: Option<f64>,
    /// Share of one CPU that was in use.
    pub(crate) busy: Option<f64>,
    pub(crate) peak_kib: Option<u64>,
    pub(crate) pss_kib: Option<u64>,
}

impl Sample {
    fn errors(&self) -> u64 {
        self.round.errors.values().sum()
    }
}

/// All rounds so far, in the order they were run.
#[derive(Default)]
pub(crate) struct Report {
    samples: Vec<Sample>,
}

impl Report {
    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    fn of(&self, scenario: Scenario, target: &str) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.scenario == scenario && sample.target == target).collect()
    }

    fn targets(&self, scenario: Scenario) -> Vec<&'static str> {
        let mut names = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.scenario == scenario) {
            if !names.contains(&sample.target) {
                names.push(sample.target);
            }
        }
        names
    }

    /// The target's CPU time a request over nginx's, round by round.
    pub(crate) fn ratios(&self, scenario: Scenario, target: &str) -> Vec<f64> {
        let pairs = self.of(scenario, target).into_iter().zip(self.of(scenario, "nginx"));
        pairs.filter_map(|(ours, nginx)| Some(ours.cpu_us? / nginx.cpu_us?)).collect()
    }

    /// What went wrong in any round.
    pub(crate) fn errors(&self) -> Vec<String> {
        let of = |sample: &Sample| {
            let line = |(what, count): (&String, &u64)| {
                format!("{} {}: {count} x {what}", sample.scenario.name(), sample.target)
            };
            sample.round.errors.iter().map(line).collect::<Vec<_>>()
        };
        self.samples.iter().flat_map(of).collect()
    }

    /// The scenario's table: medians, with the least and the greatest in brackets.
    pub(crate) fn table(&self, scenario: Scenario) -> String {
        let heading = ["", "CPU us/req", "req/s", "busy %", "p50 us", "p99 us", "p99.9 us"];
        let more = ["peak MiB", "PSS MiB", "errors", "CPU/nginx"];
        let mut rows = vec![heading.iter().chain(&more).map(|&cell| cell.to_owned()).collect::<Vec<_>>()];
        for target in self.targets(scenario) {
            let samples = self.of(scenario, target);
            let column = |of: &dyn Fn(&Sample) -> Option<f64>, digits| {
                spread(&samples.iter().filter_map(|sample| of(sample)).collect::<Vec<_>>(), digits)
            };
            let mib = |kib: Option<u64>| kib.map(|kib| kib as f64 / 1024.0);
            let errors: u64 = samples.iter().map(|sample| sample.errors()).sum();
            rows.push(vec![
                target.to_owned(),
                column(&|sample| sample.cpu_us, 1),
                column(&|sample| Some(sample.round.requests as f64 / sample.round.seconds), 0),
                column(&|sample| sample.busy.map(|busy| busy * 100.0), 0),
                column(&|sample| Some(sample.round.p50_us), 0),
                column(&|sample| Some(sample.round.p99_us), 0),
                column(&|sample| Some(sample.round.p999_us), 0),
                highest(samples.iter().filter_map(|sample| mib(sample.peak_kib))),
                highest(samples.iter().filter_map(|sample| mib(sample.pss_kib))),
                errors.to_string(),
                spread(&self.ratios(scenario, target), 2),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let mut table = String::new();
        for row in &rows {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let cell = if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
                table.push_str(&cell);
            }
            table.truncate(table.trim_end().len());
            table.push('\n');
        }
        table
    }

    /// Every round, and what they were run with.
    pub(crate) fn json(&self, setting: &Value) -> Value {
        let row = |sample: &Sample| {
            json!({
                "scenario": sample.scenario.name(),
                "target": sample.target,
                "cpu_us_per_request": sample.cpu_us,
                "busy": sample.busy,
                "peak_kib": sample.peak_kib,
                "pss_kib": sample.pss_kib,
                "round": sample.round,
            })
        };
        json!({ "setting": setting, "rounds": self.samples.iter().map(row).collect::<Vec<_>>() })
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (Some(&middle), 1) => Some(middle),
        (Some(&upper), _) => Some(f64::midpoint(sorted[half - 1], upper)),
        (None, _) => None,
    }
}

/// `median [least-greatest]`.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    let Some(middle) = median(values) else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() == 1 {
        return format!("{middle:.digits$}");
    }
    format!("{middle:.digits$} [{least:.digits$}-{greatest:.digits$}]")
}

fn highest(values: impl Iterator<Item = f64>) -> String {
    values.reduce(f64::max).map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}
