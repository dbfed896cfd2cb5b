//! The measurement itself: start, interleave, report, end.
//!
//! - `plan`: which scenarios, with which targets
//! - `round`: one round of one target
//! - `interleaved`: all rounds of a scenario, taking turns
//! - `changes`: one target while something changes
//! - `idle`, `cold_start`: what is not measured by requests a second
//! - `calls`, `counted`: system calls, instructions, allocations
//! - `progress`: how far it is
//! - `outputs`: tables and files

mod calls;
mod changes;
mod cold_start;
mod counted;
mod idle;
mod interleaved;
mod outputs;
mod plan;
mod progress;
mod round;

use crate::args::Options;
use crate::family::watch_signals;
use crate::figures::sample::Run;
use crate::process::{allowed_cpus, raise_file_limit};
use crate::scenario::Scenario;
use crate::targets::certificates::Certificates;
use crate::targets::others::{haproxy_version, nginx_version};
use crate::targets::pinning::Pinning;
use crate::targets::stage::{Stage, workers};
use crate::targets::{Target, ours};
use plan::Plan;
use progress::Progress;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(options: &Options) -> ExitCode {
    match measure(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("load: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every request was answered and every row holds.
fn measure(options: &Options) -> Result<bool, String> {
    let earlier = options.baseline.as_deref().map(outputs::read).transpose()?;
    let scratch = tempfile::Builder::new().prefix("load-").tempdir().map_err(|e| format!("no directory: {e}"))?;
    watch_signals(scratch.path().to_owned());
    let files = raise_file_limit();
    let mut run = Run { setting: setting(options), rounds: Vec::new() };
    println!("{}", outputs::describe(&run.setting));
    let problems = if options.url.is_some() || options.config.is_some() {
        own(options, scratch.path(), &mut run).map(|()| Vec::new())?
    } else {
        staged(options, scratch.path(), files, &mut run)?
    };
    let well = outputs::tell(options, &run, earlier.as_ref())?;
    for problem in &problems {
        println!("not measured: {problem}");
    }
    Ok(well && problems.is_empty())
}

/// Every scenario on a stage of its own; those that could not be measured, and why. What the others took a quarter
/// of an hour for is not thrown away with them.
fn staged(options: &Options, scratch: &Path, files: u64, run: &mut Run) -> Result<Vec<String>, String> {
    let certificates = Certificates::make(scratch)?;
    let plan = Plan::new(options, &run.setting);
    for (scenario, why) in plan.left_out(files) {
        println!("{} is left out: {why}", scenario.name());
    }
    let mut progress = Progress::new(plan.weights(files));
    let mut problems = Vec::new();
    for scenario in plan.scenarios(files) {
        progress.next(scenario);
        let stage = Stage::set(options, scenario, scratch, &certificates, files)?;
        match on_stage(&plan, &stage, &mut progress, run) {
            Ok(()) => outputs::table(run, scenario),
            Err(problem) => {
                eprintln!("load: {problem}");
                problems.push(format!("{}: {problem}", scenario.name()));
            }
        }
    }
    Ok(problems)
}

fn on_stage(plan: &Plan<'_>, stage: &Stage<'_>, progress: &mut Progress, run: &mut Run) -> Result<(), String> {
    match stage.scenario {
        // They start proxies of their own.
        Scenario::ColdStart => return cold_start::measure(stage, progress, run),
        Scenario::Counts => return counted::measure(stage, progress, run),
        _ => {}
    }
    let targets = plan.targets(stage)?;
    match stage.scenario {
        Scenario::Idle => idle::measure(stage, &targets, progress, run),
        Scenario::Rotation | Scenario::Reloads => changes::measure(stage, &targets, progress, run),
        _ => interleaved::measure(stage, &targets, progress, run),
    }
}

/// What the operator runs, or has configured.
fn own(options: &Options, scratch: &Path, run: &mut Run) -> Result<(), String> {
    let chosen =
        if options.scenarios.is_empty() { vec![Scenario::Get1k, Scenario::Rate1k] } else { options.scenarios.clone() };
    if let Some(scenario) = chosen.iter().find(|scenario| !plan::fits_any_target(**scenario)) {
        return Err(format!("{} needs a vendor of ours: not with --url or --config", scenario.name()));
    }
    let certificates = Certificates::make(scratch)?;
    let files = raise_file_limit();
    let mut progress =
        Progress::new(chosen.iter().map(|&scenario| (scenario, plan::closed_seconds(options, 1))).collect());
    for scenario in chosen {
        progress.next(scenario);
        let stage = Stage::set(options, scenario, scratch, &certificates, files)?;
        let target = match (&options.url, &options.config) {
            (Some(url), _) => Target::url(url, options.pid, &options.headers)?,
            (None, Some(file)) => ours::start_own(options, &Pinning::new(workers(options, scenario)), scratch, file)?,
            (None, None) => return Err("nothing to drive".into()),
        };
        interleaved::measure(&stage, &[target], &mut progress, run)?;
        outputs::table(run, scenario);
    }
    Ok(())
}

fn setting(options: &Options) -> Value {
    let pinning = Pinning::new(options.workers.unwrap_or(1));
    let beside = options.url.is_none() && options.config.is_none();
    json!({
        "proxy": options.proxy.display().to_string(),
        "url": options.url,
        "config": options.config,
        "nginx": nginx_version().filter(|_| beside),
        "haproxy": haproxy_version().filter(|_| beside),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "rate": options.rate,
        "workers": options.workers,
        "access_log": options.access_log,
        "cpus": allowed_cpus().len(),
        "proxies_on_cpu": pinning.proxies,
        "rest_on_cpu": pinning.rest,
    })
}
