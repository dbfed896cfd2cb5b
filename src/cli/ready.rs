//! The configuration, made ready as `run` makes it, for a command that does one thing and ends.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::{Format, INVALID, USAGE, colour, fail, out, words};
use crate::app::{assemble, process_environment};
use crate::assemble::{Assembled, Assembly};
use crate::config::{self, Loaded, Problems, render, to_json};
use crate::model::{Problem, Severity};
use crate::telemetry::{LogSink, init_logs};

/// Only what the command does not tell by itself.
const LOGS: &str = "warn,tokenferry::credential=off";

/// A configuration that could be run.
pub(super) struct Ready {
    /// What it says.
    pub(super) loaded: Loaded,
    /// What it would be run as.
    pub(super) assembled: Assembled,
    /// Where its logins run.
    pub(super) runtime: Runtime,
}

/// Why there is none.
pub(super) enum NotReady {
    /// The configuration is invalid.
    Invalid(Problems),
    /// Something else, which has been told.
    Told(ExitCode),
}

/// Reads a configuration.
pub(super) fn load(path: &Path) -> Result<Loaded, Problems> {
    config::load(path, &*process_environment())
}

/// Reads a configuration and makes it ready, without listening and without a login.
pub(super) fn ready(path: &Path) -> Result<Ready, NotReady> {
    let filter = std::env::var("TOKENFERRY_LOG").ok().filter(|filter| !filter.trim().is_empty());
    init_logs(filter.as_deref().or(Some(LOGS)), None, LogSink::Direct)
        .map_err(|error| NotReady::Told(fail(&error.to_string(), USAGE)))?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NotReady::Told(fail(&format!("cannot start: {error}"), 1)))?;
    let loaded = load(path).map_err(NotReady::Invalid)?;
    let mut assembly = Assembly::new(runtime.handle().clone());
    let (loaded, assembled) = assemble(loaded, &mut assembly).map_err(NotReady::Invalid)?;
    Ok(Ready { loaded, assembled, runtime })
}

impl NotReady {
    /// Tells it, and gives the exit status.
    pub(super) fn refuse(&self, path: &Path, format: Format) -> ExitCode {
        match self {
            Self::Invalid(problems) => refuse_as(path, format, problems),
            Self::Told(code) => *code,
        }
    }
}

/// Tells every problem of a configuration that is invalid: to a program on stdout, as `check` does.
pub(super) fn refuse_as(path: &Path, format: Format, problems: &Problems) -> ExitCode {
    if format == Format::Text {
        return refuse(problems);
    }
    let answer = json!({ "file": path.display().to_string(), "ok": false, "problems": to_json(&problems.list) });
    out::finish(&out::json(&answer), ExitCode::from(INVALID))
}

/// Tells every problem of a configuration that is invalid.
pub(super) fn refuse(problems: &Problems) -> ExitCode {
    show(&problems.list);
    let file = problems.list.first().map_or("the configuration", |problem| problem.file.as_str());
    fail(&format!("{file} is invalid: {}", count(&problems.list)), INVALID)
}

/// Tells problems on stderr.
pub(super) fn show(problems: &[Problem]) {
    // A closed stderr is nobody to tell.
    let _ = io::stderr().write_all(render(problems, colour(&io::stderr())).as_bytes());
}

/// `2 errors, 1 warning`.
pub(super) fn count(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    let errors = words::number(errors, "error");
    if warnings == 0 { errors } else { format!("{errors}, {}", words::number(warnings, "warning")) }
}
