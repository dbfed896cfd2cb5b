//! What idle connections hold, and what is given back once they are closed. One round: memory hardly swings.

use super::progress::Progress;
use super::round::{Load, account, generator, probe, sample};
use crate::args::Options;
use crate::figures::rows::{IDLE, KEPT, REST};
use crate::figures::sample::Run;
use crate::process::{peak_kib, pss_kib, tree};
use crate::targets::Target;
use crate::targets::stage::Stage;
use std::thread::sleep;
use std::time::Duration;

/// How long connections are idle before memory is looked at: connections are idle for minutes, and an
/// allocator may keep what their beginning took for a moment (jemalloc gives it back over ten seconds).
const SETTLE: Duration = Duration::from_secs(15);

/// How long all of them may take to be opened.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn seconds(options: &Options, targets: usize) -> f64 {
    let one = f64::from(options.idle) * 0.0005 + SETTLE.as_secs_f64() + 1.0;
    targets as f64 * one + options.give_back
}

pub(crate) fn measure(
    stage: &Stage<'_>,
    targets: &[Target],
    progress: &mut Progress,
    run: &mut Run,
) -> Result<(), String> {
    let count = stage.options.idle;
    let load = Load { connections: count, rate: 1, seconds: 1.0 };
    let mut held = Vec::new();
    for target in targets {
        probe(stage, target)?;
        // The probe's connection goes first.
        sleep(Duration::from_secs(1));
        let pids = target.pid.map(tree).unwrap_or_default();
        let rest = pss_kib(&pids);
        let holder = generator(stage, target, load)?;
        let round = account(&holder, "held ", PATIENCE)?;
        sleep(SETTLE);
        let full = pss_kib(&pids);
        let each = (full as f64 - rest as f64) / f64::from(count);
        let text = format!("{}: {} connections, {each:.2} KiB each", target.name, round.requests);
        progress.tell(f64::from(count) * 0.0005 + SETTLE.as_secs_f64() + 1.0, &text);
        held.push((target, pids, rest, full, round, holder));
    }
    // All are closed together, so that the minute is waited for once.
    let mut closed = Vec::new();
    for (target, pids, rest, full, round, holder) in held {
        drop(holder);
        closed.push((target, pids, rest, full, round));
    }
    sleep(Duration::from_secs_f64(stage.options.give_back));
    for (target, pids, rest, full, round) in closed {
        let kept = pss_kib(&pids) as f64 - rest as f64;
        let took = full as f64 - rest as f64;
        let mut sample = sample(stage, target, round);
        sample.peak_kib = Some(peak_kib(&pids));
        sample.pss_kib = Some(full);
        sample.own.insert(REST.to_owned(), rest as f64 / 1024.0);
        sample.own.insert(IDLE.to_owned(), took / f64::from(count));
        sample.own.insert(KEPT.to_owned(), if took > 0.0 { 100.0 * kept.max(0.0) / took } else { 0.0 });
        run.rounds.push(sample);
    }
    progress.tell(stage.options.give_back, "what was given back");
    Ok(())
}
