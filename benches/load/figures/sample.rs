//! One round of one target, and all of them: what `--json` writes and `--baseline` reads.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The width of a bucket of [`Round::series`], in seconds.
pub(crate) const BUCKET: f64 = 0.1;

/// What the load generator saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Round {
    /// Answered with 200 in the measured time.
    pub(crate) requests: u64,
    /// And with those before and after it.
    pub(crate) answered: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// Of how many requests (a share) the latency in microseconds was at most that.
    pub(crate) latency: Vec<(f64, f64)>,
    /// Answers in each 100 ms of the measured time.
    pub(crate) series: Vec<u64>,
    /// What happened meanwhile.
    pub(crate) marks: Vec<Mark>,
    /// What went wrong, and how often, the warm-up included.
    pub(crate) errors: BTreeMap<String, u64>,
    /// By the machine's monotonic clock, in nanoseconds: when the measured time began, when the last request
    /// left, and when the last answer came.
    pub(crate) began_ns: u64,
    pub(crate) sent_ns: u64,
    pub(crate) last_ns: u64,
}

/// Something that happened in a round, such as a reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Seconds from the beginning of the measured time.
    pub(crate) at: f64,
    pub(crate) what: String,
}

/// One round of one target, with what the kernel knows of its processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sample {
    pub(crate) scenario: String,
    pub(crate) target: String,
    pub(crate) round: Round,
    /// User and system time a request, in microseconds, where a process is known.
    pub(crate) cpu_us: Option<f64>,
    /// How many CPUs were in use, on average.
    pub(crate) busy: Option<f64>,
    pub(crate) peak_kib: Option<u64>,
    pub(crate) pss_kib: Option<u64>,
    /// System calls a request, counted in a stretch of its own.
    pub(crate) syscalls: Option<f64>,
    /// What only this scenario has, by the names of [`super::rows`].
    pub(crate) own: BTreeMap<String, f64>,
}

impl Sample {
    pub(crate) fn errors(&self) -> u64 {
        self.round.errors.values().sum()
    }

    pub(crate) fn rate(&self) -> Option<f64> {
        (self.round.seconds > 0.0).then(|| self.round.requests as f64 / self.round.seconds)
    }
}

/// A figure of a sample.
pub(crate) type Figure = fn(&Sample) -> Option<f64>;

pub(crate) const CPU: Figure = |sample| sample.cpu_us;

/// All rounds so far, in the order they were run, and what they were run with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) setting: Value,
    pub(crate) rounds: Vec<Sample>,
}

impl Run {
    /// The target's rounds.
    pub(crate) fn of(&self, scenario: &str, target: &str) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().filter(move |sample| sample.scenario == scenario && sample.target == target)
    }

    /// A figure of each of the target's rounds that has it.
    pub(crate) fn figures(&self, scenario: &str, target: &str, figure: impl Fn(&Sample) -> Option<f64>) -> Vec<f64> {
        self.of(scenario, target).filter_map(figure).collect()
    }

    /// The target's figure over the other's, round by round.
    pub(crate) fn ratios(&self, scenario: &str, target: &str, other: &str, figure: Figure) -> Vec<f64> {
        let pairs = self.of(scenario, target).zip(self.of(scenario, other));
        let ratio = |(ours, theirs)| Some(figure(ours)? / figure(theirs)?);
        pairs.filter_map(ratio).filter(|ratio| ratio.is_finite()).collect()
    }

    /// In the order of their first rounds.
    pub(crate) fn scenarios(&self) -> Vec<&str> {
        distinct(self.rounds.iter().map(|sample| sample.scenario.as_str()))
    }

    /// In the order of their first rounds.
    pub(crate) fn targets(&self, scenario: &str) -> Vec<&str> {
        distinct(self.rounds.iter().filter(|sample| sample.scenario == scenario).map(|sample| sample.target.as_str()))
    }

    /// What went wrong in any round, each kind once.
    pub(crate) fn errors(&self) -> Vec<String> {
        let mut sums = BTreeMap::<_, u64>::new();
        for sample in &self.rounds {
            for (what, count) in &sample.round.errors {
                *sums.entry((&sample.scenario, &sample.target, what)).or_default() += count;
            }
        }
        let line = |((scenario, target, what), count)| format!("{scenario} {target}: {count} x {what}");
        sums.into_iter().map(line).collect()
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
