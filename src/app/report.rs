//! What the log is told of configurations.

use crate::config::Settings;
use crate::live::{Outcome, Reload};
use crate::model::{Problem, Severity};

pub(super) fn tell_warnings(warnings: &[Problem], restart_needed: &[String]) {
    warnings.iter().for_each(tell_problem);
    for change in restart_needed {
        tracing::warn!("{change}: this needs a restart; the rest of the change is applied");
    }
}

fn tell_problem(problem: &Problem) {
    let Problem { message, mend, path, .. } = problem;
    let message = if path.is_empty() { message.clone() } else { format!("{path}: {message}") };
    let at = format!("{}:{}:{}", problem.file, problem.line, problem.column);
    match problem.severity {
        Severity::Error => tracing::error!(at, mend, "configuration: {message}"),
        Severity::Warning => tracing::warn!(at, mend, "configuration: {message}"),
    }
}

pub(super) fn tell_taken(generation: u64, settings: &Settings) {
    tracing::info!(
        generation,
        routes = settings.routes.len(),
        credentials = settings.credentials.len(),
        workers = settings.workers,
        version = env!("CARGO_PKG_VERSION"),
        "configuration taken"
    );
}

/// `told` is what was asked to be told of: a change of a file that changed nothing is not.
pub(super) fn tell_reloaded(reload: &Reload, told: bool, settings: &Settings) {
    match (reload.outcome, &reload.error) {
        (Outcome::Taken, _) => tell_taken(reload.generation, settings),
        (Outcome::Unchanged, _) if told => tracing::info!("configuration unchanged"),
        (Outcome::Unchanged, _) => tracing::debug!("configuration unchanged"),
        (Outcome::Refused, None) => {
            reload.problems.iter().for_each(tell_problem);
            tracing::error!("configuration refused; the one before stays in force");
        }
        (Outcome::Refused, Some(error)) => {
            tracing::error!(%error, "configuration refused; the one before stays in force");
        }
    }
}
