//! System calls a request, by strace, in a stretch of its own: counting makes everything many times slower.

use super::round::{Load, account, generator};
use crate::family::Child;
use crate::process::tree;
use crate::targets::Target;
use crate::targets::stage::Stage;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// How long a stretch is.
pub(crate) const SECONDS: f64 = 2.0;

/// How long strace may take to take hold, and to let go.
const PATIENCE: Duration = Duration::from_millis(500);

/// None where strace is not there, or may not look.
pub(crate) fn count(stage: &Stage<'_>, target: &Target, load: Load) -> Result<Option<f64>, String> {
    let Some(pid) = target.pid else { return Ok(None) };
    let file = stage.scratch.join("calls");
    let mut command = Command::new("strace");
    command.args(["-q", "-c", "-f", "-o"]).arg(&file).stderr(Stdio::null());
    for pid in tree(pid) {
        command.arg("-p").arg(pid.to_string());
    }
    let Ok(strace) = Child::start(command) else {
        eprintln!("strace is not installed: system calls are not counted (Debian: apt-get install strace)");
        return Ok(None);
    };
    // Both the calls and the answers are of the generator's whole life, its connections included.
    sleep(PATIENCE);
    let generator = generator(stage, target, Load { seconds: SECONDS, ..load })?;
    let round = account(&generator, "{", Duration::from_secs(30))?;
    strace.interrupt(PATIENCE * 4);
    let calls = fs::read_to_string(&file).ok().as_deref().and_then(total);
    if calls.is_none() {
        eprintln!("strace has nothing to say of {}: it may not be allowed to look", target.name);
    }
    Ok(calls.filter(|_| round.answered > 0).map(|calls| calls / round.answered as f64))
}

/// The calls in the last line: `100.00    1.234567           3    400000        12 total`.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
