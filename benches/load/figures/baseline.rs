//! An earlier run beside this one.

use super::sample::{CPU, Run, Sample};
use super::spread::Spread;

/// A figure's name, its values round by round, and with how many digits it is told.
type Compared = (&'static str, fn(&Run, &str, &str) -> Vec<f64>, usize);

const COMPARED: [Compared; 4] = [
    ("CPU us/req", |run, scenario, target| run.figures(scenario, target, CPU), 1),
    // Less at the mercy of what else the machine did then and now.
    ("CPU/nginx", over_nginx, 2),
    ("req/s", |run, scenario, target| run.figures(scenario, target, Sample::rate), 0),
    ("p99 us", |run, scenario, target| run.figures(scenario, target, p99), 0),
];

fn over_nginx(run: &Run, scenario: &str, target: &str) -> Vec<f64> {
    if target == "nginx" { Vec::new() } else { run.ratios(scenario, target, "nginx", CPU) }
}

fn p99(sample: &Sample) -> Option<f64> {
    (sample.round.p99_us > 0.0).then_some(sample.round.p99_us)
}

/// The heading first; a row for each figure that both runs have. One is marked where no round of the one run lies
/// among those of the other: that is more than noise.
pub(crate) fn compare(run: &Run, earlier: &Run) -> Vec<Vec<String>> {
    let heading = ["scenario", "target", "figure", "before", "now", "now/before", ""];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for scenario in run.scenarios() {
        for target in run.targets(scenario) {
            for (name, values, digits) in COMPARED {
                let now = Spread::of(&values(run, scenario, target));
                let before = Spread::of(&values(earlier, scenario, target));
                let (Some(now), Some(before)) = (now, before) else { continue };
                rows.push(vec![
                    scenario.to_owned(),
                    target.to_owned(),
                    name.to_owned(),
                    format!("{before:.digits$}"),
                    format!("{now:.digits$}"),
                    format!("{:.2}", now.median / before.median),
                    if now.apart(&before) { "beyond the spread" } else { "" }.to_owned(),
                ]);
            }
        }
    }
    rows
}
