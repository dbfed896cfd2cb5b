//! A scenario's table: medians, with the least and the greatest in brackets.

use super::sample::{CPU, Run, Sample};
use super::spread::told;

const HEADING: [&str; 15] = [
    "",
    "CPU us/req",
    "CPU/nginx",
    "CPU/haproxy",
    "CPUs",
    "req/s",
    "p50 us",
    "p90 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "peak MiB",
    "PSS MiB",
    "calls/req",
    "errors",
];

/// The heading first, then a row a target. Columns that no target has are left out.
pub(crate) fn summary(run: &Run, scenario: &str) -> Vec<Vec<String>> {
    let mut rows = vec![HEADING.map(str::to_owned).to_vec()];
    rows.extend(run.targets(scenario).into_iter().map(|target| row(run, scenario, target)));
    let own = run.rounds.iter().filter(|sample| sample.scenario == scenario).flat_map(|sample| sample.own.keys());
    let mut own: Vec<&String> = own.collect();
    own.sort();
    own.dedup();
    for name in own {
        rows[0].push(name.clone());
        for (target, row) in run.targets(scenario).into_iter().zip(rows.iter_mut().skip(1)) {
            row.push(told(&run.figures(scenario, target, |sample| sample.own.get(name).copied()), 1));
        }
    }
    let empty = |column: usize| column > 0 && rows.iter().skip(1).all(|row| row[column] == "-");
    let full: Vec<bool> = (0..rows[0].len()).map(|column| !empty(column)).collect();
    let kept = |row: Vec<String>| row.into_iter().zip(&full).filter(|(_, full)| **full).map(|(cell, _)| cell).collect();
    rows.into_iter().map(kept).collect()
}

fn row(run: &Run, scenario: &str, target: &str) -> Vec<String> {
    let column = |figure: &dyn Fn(&Sample) -> Option<f64>, digits| told(&run.figures(scenario, target, figure), digits);
    let latency =
        |figure: fn(&Sample) -> f64| column(&|sample: &Sample| (sample.round.max_us > 0.0).then(|| figure(sample)), 0);
    let highest = |kib: fn(&Sample) -> Option<u64>| {
        let all = run.of(scenario, target).filter_map(kib).max();
        all.map_or_else(|| "-".to_owned(), |kib| format!("{:.1}", kib as f64 / 1024.0))
    };
    let over = |peer| if target == peer { "-".to_owned() } else { told(&run.ratios(scenario, target, peer, CPU), 2) };
    vec![
        target.to_owned(),
        column(&CPU, 1),
        over("nginx"),
        over("haproxy"),
        column(&|sample| sample.busy, 2),
        column(&|sample| sample.rate(), 0),
        latency(|sample| sample.round.p50_us),
        latency(|sample| sample.round.p90_us),
        latency(|sample| sample.round.p99_us),
        latency(|sample| sample.round.p999_us),
        latency(|sample| sample.round.max_us),
        highest(|sample| sample.peak_kib),
        highest(|sample| sample.pss_kib),
        column(&|sample| sample.syscalls, 2),
        run.of(scenario, target).map(Sample::errors).sum::<u64>().to_string(),
    ]
}
