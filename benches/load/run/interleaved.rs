//! All rounds of one scenario, taking turns.

use super::calls;
use super::progress::Progress;
use super::round::{Load, measure as measure_round, probe};
use crate::figures::sample::{Run, Sample};
use crate::figures::spread::median;
use crate::scenario::{Pace, Scenario};
use crate::targets::Target;
use crate::targets::stage::Stage;

pub(crate) fn measure(
    stage: &Stage<'_>,
    targets: &[Target],
    progress: &mut Progress,
    run: &mut Run,
) -> Result<(), String> {
    for target in targets {
        probe(stage, target)?;
    }
    let options = stage.options;
    let rate = match stage.traffic.pace {
        Pace::Half => half(stage, targets, run)?,
        _ => options.rate,
    };
    let load = Load { connections: options.connections, rate, seconds: options.seconds };
    for round in 1..=options.rounds {
        // Every other round backwards, so that no one always comes right after the same one.
        let order: Vec<&Target> =
            if round % 2 == 1 { targets.iter().collect() } else { targets.iter().rev().collect() };
        for target in order {
            let mut sample = measure_round(stage, target, load)?;
            if sample.round.answered == 0 {
                let errors = &sample.round.errors;
                return Err(format!("{} gave no answer: {errors:?}\n{}", target.name, target.last_words()));
            }
            let text = format!("{} {round}/{} {}", stage.traffic.name, options.rounds, told(&sample));
            progress.tell(options.seconds * 1.25 + 0.1, &text);
            if round == options.rounds && options.syscalls && target.pid.is_some() {
                sample.syscalls = calls::count(stage, target, load)?;
                progress.tell(calls::SECONDS + 1.0, &format!("system calls of {}", target.name));
            }
            run.rounds.push(sample);
        }
    }
    Ok(())
}

/// A round in a line.
pub(crate) fn told(sample: &Sample) -> String {
    let rate = sample.rate().unwrap_or(0.0);
    let cpu = sample.cpu_us.map(|cpu| format!(", {cpu:.1} us CPU each")).unwrap_or_default();
    let errors = if sample.errors() > 0 { format!(", {} ERRORS", sample.errors()) } else { String::new() };
    format!("{}: {rate:.0} requests/s{cpu}{errors}", sample.target)
}

/// Half of what the slowest of the proxies managed in `get-1k`: as measured before, else in a short round each.
fn half(stage: &Stage<'_>, targets: &[Target], run: &Run) -> Result<u32, String> {
    let mut slowest = f64::INFINITY;
    for target in targets.iter().filter(|target| !target.is_direct()) {
        let before = run.figures(Scenario::Get1k.name(), &target.name, Sample::rate);
        let rate = match median(&before) {
            Some(rate) => rate,
            None => calibrate(stage, target)?,
        };
        slowest = slowest.min(rate);
    }
    let half = ((slowest / 2.0) as u32).clamp(100, 200_000);
    println!("\nhalf-load is at {half} requests/s");
    Ok(half)
}

fn calibrate(stage: &Stage<'_>, target: &Target) -> Result<f64, String> {
    let closed = stage.played_as(Scenario::Get1k);
    let load = Load { connections: stage.options.connections, rate: 1, seconds: stage.options.seconds.min(1.0) };
    let sample = measure_round(&closed, target, load)?;
    Ok(sample.rate().unwrap_or(0.0))
}
