//! One target under full load while something changes: its token, or its configuration. One round: it is about
//! errors, and has to be long.

use super::interleaved::told;
use super::progress::Progress;
use super::round::{Load, measure as measure_round, probe};
use crate::args::Options;
use crate::figures::rows::HAPPENED;
use crate::figures::sample::{Mark, Run, Sample};
use crate::process::monotonic_ns;
use crate::scenario::Scenario;
use crate::targets::stage::Stage;
use crate::targets::{Target, ours};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

/// A reload takes that long at most, on average: the proxy waits for 150 ms of quiet before it looks.
const RELOAD: f64 = 0.3;

/// Measured seconds.
pub(crate) fn seconds(options: &Options, scenario: Scenario) -> f64 {
    if scenario == Scenario::Reloads { f64::from(options.reloads) * RELOAD } else { options.rotation }
}

pub(crate) fn measure(
    stage: &Stage<'_>,
    targets: &[Target],
    progress: &mut Progress,
    run: &mut Run,
) -> Result<(), String> {
    let [target] = targets else { return Err("changes are of one target".into()) };
    probe(stage, target)?;
    let seconds = seconds(stage.options, stage.scenario);
    let load = Load { connections: stage.options.connections, rate: stage.options.rate, seconds };
    stage.vendor.child.rest("token request ");
    let reloads = stage.scenario == Scenario::Reloads;
    let (mut sample, moments) =
        if reloads { with_reloads(stage, target, load)? } else { with_rotations(stage, target, load)? };
    let what = if reloads { "reload" } else { "rotation" };
    let at = |moment: u64| (moment as f64 - sample.round.began_ns as f64) / 1e9;
    let marks = moments.iter().map(|&moment| Mark { at: at(moment), what: what.to_owned() });
    let marks: Vec<Mark> = marks.filter(|mark| (0.0..=sample.round.seconds).contains(&mark.at)).collect();
    sample.own.insert(HAPPENED.to_owned(), marks.len() as f64);
    sample.round.marks = marks;
    if reloads {
        let missing = u64::from(stage.options.reloads).saturating_sub(sample.round.marks.len() as u64);
        if missing > 0 {
            sample.round.errors.insert("reload not taken in time".to_owned(), missing);
        }
    }
    progress.tell(seconds * 1.25, &told(&sample));
    run.rounds.push(sample);
    Ok(())
}

/// The round, and when each token was given out.
fn with_rotations(stage: &Stage<'_>, target: &Target, load: Load) -> Result<(Sample, Vec<u64>), String> {
    let sample = measure_round(stage, target, load)?;
    let answered = stage.vendor.child.rest("token request 200 ");
    Ok((sample, answered.iter().filter_map(|moment| moment.parse().ok()).collect()))
}

/// The round, and when each configuration was taken.
fn with_reloads(stage: &Stage<'_>, target: &Target, load: Load) -> Result<(Sample, Vec<u64>), String> {
    let over = AtomicBool::new(false);
    scope(|scope| {
        let rewriter = scope.spawn(|| -> Result<Vec<u64>, String> {
            // Behind the warm-up.
            sleep(Duration::from_secs_f64(load.seconds / 4.0 + 0.1));
            let mut moments = Vec::new();
            for revision in 1..=stage.options.reloads {
                let before = ours::taken(target);
                ours::rewrite(stage, revision)?;
                while ours::taken(target) == before {
                    if over.load(Ordering::Relaxed) {
                        return Ok(moments);
                    }
                    sleep(Duration::from_millis(5));
                }
                moments.push(monotonic_ns());
            }
            Ok(moments)
        });
        let sample = measure_round(stage, target, load);
        over.store(true, Ordering::Relaxed);
        let moments = rewriter.join().expect("the rewriter does not panic");
        Ok((sample?, moments?))
    })
}
