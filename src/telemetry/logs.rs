//! Log lines: structured, on stderr, filtered by `TOKENFERRY_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Every change of a credential's or the configuration's state, and no line a request.
const DEFAULT: &str = "info,access=off";

/// What `TOKENFERRY_LOG` says that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error(
    "TOKENFERRY_LOG is not understood: {0}; write a level (error, warn, info, debug, trace) or targets, as in info,access=off"
)]
pub struct FilterError(#[source] tracing_subscriber::filter::ParseError);

/// Begins logging. `filter` is the value of `TOKENFERRY_LOG`: a level, or `target=level` parts with
/// commas; the target `access` has one line a request. `json` writes a JSON object a line.
pub fn init_logs(filter: Option<&str>, json: bool) -> Result<(), FilterError> {
    let targets: Targets = filter.filter(|f| !f.trim().is_empty()).unwrap_or(DEFAULT).parse().map_err(FilterError)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(targets);
    // A second call in one process (tests) leaves the first in force.
    drop(if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()
    });
    Ok(())
}
