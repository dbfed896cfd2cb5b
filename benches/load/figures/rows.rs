//! What must hold. Every bound stands here and nowhere else.

use super::sample::{CPU, Figure, Run, Sample};
use super::spread::{Spread, median};
use std::fmt::Display;

/// The proxy's name among the targets, and that of the one with a thousand routes.
pub(crate) const OURS: &str = "tokenferry";
pub(crate) const THOUSAND: &str = "tokenferry-1000";

/// Names of the figures that only one scenario has.
pub(crate) const REST: &str = "PSS at rest MiB";
pub(crate) const IDLE: &str = "KiB a connection";
pub(crate) const KEPT: &str = "% kept after a minute";
pub(crate) const STORM: &str = "ms after the token";
pub(crate) const HAPPENED: &str = "changes";
pub(crate) const INSTRUCTIONS: &str = "user instructions/req";
pub(crate) const ALLOCATIONS: &str = "heap allocations/req";
pub(crate) const ALONE: &str = "system calls/req";

/// A bound.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) scenario: &'static str,
    of: Of,
    /// At most that many times nginx's figure.
    nginx: Option<f64>,
    /// At most that many times `HAProxy`'s figure.
    haproxy: Option<f64>,
}

/// Of which figure.
#[derive(Clone, Copy)]
enum Of {
    /// CPU time a request.
    Cpu,
    /// CPU time a request with a thousand routes over that with one, at most.
    Routes(f64),
    /// A latency less that without a proxy, round by round.
    Added(Figure),
    /// How many times the work of one worker two do, at least.
    Workers(f64),
    /// A figure that only this scenario has, at most that much in every round.
    Own(&'static str, f64),
    /// Errors: none; and so many changes under load at least.
    Errors(f64),
    /// System calls a request, where they were counted, at most.
    Calls(f64),
}

const fn cpu(name: &'static str, scenario: &'static str, nginx: f64, haproxy: f64) -> Row {
    Row { name, scenario, of: Of::Cpu, nginx: Some(nginx), haproxy: Some(haproxy) }
}

const fn own(name: &'static str, scenario: &'static str, of: Of) -> Row {
    Row { name, scenario, of, nginx: None, haproxy: None }
}

const fn added(name: &'static str, figure: Figure) -> Row {
    Row { name, scenario: "half-load", of: Of::Added(figure), nginx: None, haproxy: Some(1.00) }
}

/// In the order in which they are told.
pub(crate) const ROWS: [Row; 23] = [
    cpu("GET 1 KiB, keep-alive, one worker", "get-1k", 1.12, 1.00),
    cpu("GET 1 KiB, two workers", "get-1k-two-workers", 1.05, 0.92),
    cpu("GET 64 KiB", "get-64k", 0.75, 0.98),
    cpu("GET 1 MiB", "get-1m", 0.80, 0.63),
    cpu("POST 64 KiB", "post-64k", 0.65, 0.80),
    cpu("TLS in, 1 KiB", "tls-in", 0.91, 0.85),
    cpu("TLS out, 1 KiB", "tls-out", 0.93, 0.88),
    cpu("full TLS handshake", "tls-handshake", 0.50, 0.45),
    // Both together: at most the better one's.
    cpu("HTTP/2 in, 100 streams", "h2-in", 1.00, 1.00),
    own("1,000 routes, metrics, access log: CPU over one route's", "routes-1000", Of::Routes(1.05)),
    added("half load, added p50 us", |sample| Some(sample.round.p50_us)),
    added("half load, added p99 us", |sample| Some(sample.round.p99_us)),
    own("two workers, times the work of one", "get-1k-two-workers", Of::Workers(1.8)),
    own("PSS at rest, MiB", "idle", Of::Own(REST, 12.0)),
    own("PSS an idle connection, KiB", "idle", Of::Own(IDLE, 3.0)),
    // "What a burst took is given back": a tenth of it may stay.
    own("PSS of the burst kept after a minute, %", "idle", Of::Own(KEPT, 10.0)),
    own("cold start, last answer, ms after the token", "cold-start", Of::Own(STORM, 250.0)),
    own("errors while an exclusive token changes", "rotation", Of::Errors(1.0)),
    own("errors while the configuration changes", "reloads", Of::Errors(1.0)),
    own("system calls a request at load", "get-1k", Of::Calls(4.2)),
    own("counted: system calls a request on one connection", "counts", Of::Own(ALONE, 6.0)),
    own("counted: user instructions a warm request", "counts", Of::Own(INSTRUCTIONS, 30_000.0)),
    own("counted: heap allocations a warm request", "counts", Of::Own(ALLOCATIONS, 8.0)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Failed,
    /// The figure or what it is compared with is missing.
    NotMeasured,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Failed => "FAILED",
            Self::NotMeasured => "not measured",
        }
    }

    /// Of two bounds of one row: both must hold.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::NotMeasured, _) | (_, Self::NotMeasured) => Self::NotMeasured,
            _ => Self::Holds,
        }
    }
}

/// A row with its figures.
pub(crate) struct Judged {
    pub(crate) cells: Vec<String>,
    pub(crate) verdict: Verdict,
}

const HEADING: [&str; 8] = ["", "figure", "bound", "of nginx", "at most", "of HAProxy", "at most", ""];

pub(crate) fn heading() -> Vec<String> {
    HEADING.map(str::to_owned).to_vec()
}

/// The rows of the scenarios that were run.
pub(crate) fn judge(run: &Run) -> Vec<Judged> {
    let scenarios = run.scenarios();
    ROWS.iter().filter(|row| scenarios.contains(&row.scenario)).map(|row| row.judge(run)).collect()
}

impl Row {
    fn judge(&self, run: &Run) -> Judged {
        let (figure, bound, mut verdict) = self.figure(run);
        let mut cells = vec![self.name.to_owned(), figure, bound];
        for (peer, most) in [("nginx", self.nginx), ("haproxy", self.haproxy)] {
            let ratio = Spread::of(&self.over(run, peer));
            cells.push(or_dash(ratio));
            cells.push(or_dash(most.map(|most| format!("{most:.2}"))));
            if let Some(most) = most {
                verdict = verdict.and(at_most(ratio.map(|ratio| ratio.median), most));
            }
        }
        if run.of(self.scenario, OURS).any(|sample| sample.errors() > 0) {
            verdict = Verdict::Failed;
        }
        cells.push(verdict.word().to_owned());
        Judged { cells, verdict }
    }

    /// The figure itself and its own bound; it holds where it has none.
    fn figure(&self, run: &Run) -> (String, String, Verdict) {
        let ours = |figure: Figure| run.figures(self.scenario, OURS, figure);
        let spread =
            |values: &[f64], digits: usize| or_dash(Spread::of(values).map(|spread| format!("{spread:.digits$}")));
        match self.of {
            Of::Cpu => (format!("{} us", spread(&ours(CPU), 1)), "-".to_owned(), Verdict::Holds),
            Of::Routes(most) => {
                let ratios = run.ratios(self.scenario, THOUSAND, OURS, CPU);
                (spread(&ratios, 2), format!("<= {most:.2}"), at_most(median(&ratios), most))
            }
            Of::Added(figure) => {
                (spread(&added_latency(run, self.scenario, OURS, figure), 0), "-".to_owned(), Verdict::Holds)
            }
            Of::Workers(least) => {
                let (times, how) = worth_of_two(run);
                let holds = times.map_or(Verdict::NotMeasured, |times| at_most(Some(-times), -least));
                (or_dash(times.map(|times| format!("{times:.2} ({how})"))), format!(">= {least:.1}"), holds)
            }
            Of::Own(name, most) => {
                let values = run.figures(self.scenario, OURS, |sample| sample.own.get(name).copied());
                let greatest = values.iter().copied().reduce(f64::max);
                (spread(&values, 1), format!("<= {most}"), as_printed(greatest, most, 1))
            }
            Of::Errors(least) => {
                let errors: u64 = run.of(self.scenario, OURS).map(Sample::errors).sum();
                let changes: f64 =
                    run.figures(self.scenario, OURS, |sample| sample.own.get(HAPPENED).copied()).iter().sum();
                let verdict = at_most(Some(errors as f64), 0.0).and(at_most(Some(-changes), -least));
                (format!("{errors} in {changes:.0} changes"), "0".to_owned(), verdict)
            }
            Of::Calls(most) => {
                let calls = ours(|sample| sample.syscalls);
                (spread(&calls, 2), format!("<= {most:.1}"), at_most(median(&calls), most))
            }
        }
    }

    /// Our figure over the peer's, round by round.
    fn over(&self, run: &Run, peer: &str) -> Vec<f64> {
        match self.of {
            Of::Cpu => run.ratios(self.scenario, OURS, peer, CPU),
            Of::Added(figure) => {
                let ours = added_latency(run, self.scenario, OURS, figure);
                let theirs = added_latency(run, self.scenario, peer, figure);
                // A peer that adds nothing can't be divided by: the round is no evidence.
                let pairs = ours.into_iter().zip(theirs).filter(|(_, theirs)| *theirs > 0.0);
                pairs.map(|(ours, theirs)| ours / theirs).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What the target adds to the latency without a proxy, round by round.
pub(crate) fn added_latency(run: &Run, scenario: &str, target: &str, figure: Figure) -> Vec<f64> {
    let pairs = run.of(scenario, target).zip(run.of(scenario, "direct"));
    pairs.filter_map(|(with, without)| Some(figure(with)? - figure(without)?)).collect()
}

/// How many times the work of one worker two do. Where load generator and upstream have CPUs of their own, by
/// requests a second; else they take from the second worker, and CPU time a request tells: twice the CPUs, and
/// what a request costs on each.
fn worth_of_two(run: &Run) -> (Option<f64>, &'static str) {
    let own_cpus = run.setting["cpus"].as_u64().is_some_and(|cpus| cpus >= 4);
    let middle = |scenario, figure: Figure| median(&run.figures(scenario, OURS, figure));
    let (figure, how): (Figure, _) = if own_cpus { (Sample::rate, "by rate") } else { (CPU, "by CPU time") };
    let (Some(one), Some(two)) = (middle("get-1k", figure), middle("get-1k-two-workers", figure)) else {
        return (None, how);
    };
    (Some(if own_cpus { two / one } else { 2.0 * one / two }), how)
}

fn at_most(figure: Option<f64>, most: f64) -> Verdict {
    as_printed(figure, most, 2)
}

/// Judges a figure by so many digits behind the point as are printed of it.
fn as_printed(figure: Option<f64>, most: f64, digits: i32) -> Verdict {
    let scale = 10_f64.powi(digits);
    match figure {
        None => Verdict::NotMeasured,
        Some(figure) if (figure * scale).round() <= (most * scale).round() => Verdict::Holds,
        Some(_) => Verdict::Failed,
    }
}

fn or_dash(told: Option<impl Display>) -> String {
    told.map_or_else(|| "-".to_owned(), |told| told.to_string())
}

/// How far nginx's rounds lie from their own median: what the machine does by itself.
pub(crate) fn noise(run: &Run, scenario: &str) -> Option<Spread> {
    let rounds = run.figures(scenario, "nginx", CPU);
    let middle = median(&rounds)?;
    Spread::of(&rounds.iter().map(|round| round / middle).collect::<Vec<_>>())
}
