//! What a request costs that can be counted: instructions and allocations by callgrind, system calls by strace, each
//! of a proxy of its own. Counted once: what else the machine does hardly changes it.

use super::calls;
use super::progress::Progress;
use super::round::{Load, probe, sample};
use crate::counts::callgrind::{Callgrind, Lots, MISSING};
use crate::figures::rows::{ALLOCATIONS, ALONE, INSTRUCTIONS};
use crate::figures::sample::{Round, Run};
use crate::targets::ours;
use crate::targets::stage::Stage;

/// About how long it takes.
pub(crate) const SECONDS: f64 = 25.0;

const LOTS: Lots = Lots { warm_up: 500, small: 200, large: 1200 };

pub(crate) fn measure(stage: &Stage<'_>, progress: &mut Progress, run: &mut Run) -> Result<(), String> {
    let target = ours::start_counted(stage, None)?;
    probe(stage, &target)?;
    let load = Load { connections: 1, rate: 1, seconds: stage.options.seconds };
    let mut sample = sample(stage, &target, Round::default());
    if let Some(calls) = calls::count(stage, &target, load)? {
        sample.own.insert(ALONE.to_owned(), calls);
    }
    drop(target);
    if Callgrind::is_there() {
        let callgrind = Callgrind::new(stage.scratch)?;
        let target = ours::start_counted(stage, Some(&callgrind))?;
        probe(stage, &target)?;
        let pid = target.pid.ok_or("the proxy has no process")?;
        let request = stage.traffic.request(&target.host, stage.traffic.path, &[], None);
        let cost = callgrind
            .cost(pid, target.address, &request, LOTS)
            .map_err(|problem| format!("{problem}\n{}", target.last_words()))?;
        sample.own.insert(INSTRUCTIONS.to_owned(), cost.instructions);
        sample.own.insert(ALLOCATIONS.to_owned(), cost.allocations);
    } else {
        eprintln!("instructions and allocations are not counted: {MISSING}");
    }
    progress.tell(SECONDS, "what a request costs is counted");
    run.rounds.push(sample);
    Ok(())
}
