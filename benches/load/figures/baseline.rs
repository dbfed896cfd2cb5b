//! An earlier run beside this one.

use super::sample::{CPU, Figure, Run, Sample};
use super::spread::Spread;

/// What is compared, and with how many digits it is told.
const COMPARED: [(&str, Figure, usize); 3] =
    [("CPU us/req", CPU, 1), ("req/s", Sample::rate, 0), ("p99 us", |sample| p99(sample), 0)];

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
            for (name, figure, digits) in COMPARED {
                let now = Spread::of(&run.figures(scenario, target, figure));
                let before = Spread::of(&earlier.figures(scenario, target, figure));
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
