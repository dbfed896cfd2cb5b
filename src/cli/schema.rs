//! `tokenferry schema`: the JSON Schema of the configuration.

use std::process::ExitCode;

use super::out;
use crate::config;

/// Runs the command.
pub(super) fn schema() -> ExitCode {
    out::finish(&out::json(&config::schema()), ExitCode::SUCCESS)
}
