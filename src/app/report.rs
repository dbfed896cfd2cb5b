//! What the log is told of configurations.

use super::control::Reloaded;
use super::{AppError, warnings};
use crate::assemble::Assembled;
use crate::config::{Loaded, Settings};
use crate::model::{Problem, Severity};

pub(super) fn tell_warnings(loaded: &Loaded, assembled: &Assembled) {
    warnings(loaded, assembled).iter().for_each(tell_problem);
    for change in &assembled.restart_needed {
        tracing::warn!("{change}: this needs a restart; the rest of the change is applied");
    }
}

fn tell_problem(problem: &Problem) {
    let Problem { message, mend, .. } = problem;
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

pub(super) fn tell_reloaded(reloaded: &Reloaded, asked: bool, settings: &Settings) {
    match reloaded {
        Reloaded::Taken(generation) => tell_taken(*generation, settings),
        Reloaded::Unchanged if asked => tracing::info!("configuration unchanged"),
        Reloaded::Unchanged => tracing::debug!("configuration unchanged"),
        Reloaded::Refused(AppError::Config(problems)) => {
            problems.list.iter().for_each(tell_problem);
            tracing::error!("configuration refused; the one before stays in force");
        }
        Reloaded::Refused(error) => {
            tracing::error!(%error, "configuration refused; the one before stays in force");
        }
    }
}
