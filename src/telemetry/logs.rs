//! Log lines: structured, on stderr, filtered by `TOKENFERRY_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Every change of a credential's or the configuration's state, and no line a request.
const DEFAULT: &str = "info,access=off";

/// What of the log settings cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not parts with commas.
    #[error("TOKENFERRY_LOG is not understood: {0}; {MEND}")]
    Syntax(#[source] ParseError),
    /// A word that is neither a level nor a target of ours: taken for a target, it would turn the log off.
    #[error("TOKENFERRY_LOG is not understood: `{0}` is no level; {MEND}")]
    Word(String),
    /// A format that there is not.
    #[error("TOKENFERRY_LOG_FORMAT is not understood: write text or json")]
    Format,
}

const MEND: &str = "write a level (error, warn, info, debug, trace) or targets, as in info,access=off";

/// Begins logging. `filter` is the value of `TOKENFERRY_LOG`: a level, or `target=level` parts with
/// commas; the target `access` has one line a request. `format` is that of `TOKENFERRY_LOG_FORMAT`:
/// `text`, or `json` for a JSON object a line.
pub fn init_logs(filter: Option<&str>, format: Option<&str>) -> Result<(), LogError> {
    let targets = targets(filter.filter(|f| !f.trim().is_empty()).unwrap_or(DEFAULT))?;
    let json = match format.unwrap_or_default() {
        "" | "text" => false,
        "json" => true,
        _ => return Err(LogError::Format),
    };
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

/// A bare level is ours alone; libraries say what they have to warn of, and more only where they are
/// named. One of them tells of every event in the folders that are watched, in which the log itself
/// may lie.
fn targets(filter: &str) -> Result<Targets, LogError> {
    let ours = |word: &str| word == "access" || word.starts_with("tokenferry");
    let parts = filter.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains('='));
    for word in parts {
        if word.parse::<LevelFilter>().is_err() && !ours(word) {
            return Err(LogError::Word(word.to_owned()));
        }
    }
    let asked: Targets = filter.parse().map_err(LogError::Syntax)?;
    let Some(level) = asked.default_level() else { return Ok(asked) };
    let base = Targets::new().with_default(level.min(LevelFilter::WARN));
    let base = base.with_target("tokenferry", level).with_target("access", level);
    Ok(base.with_targets(asked.iter().map(|(target, level)| (target.to_owned(), level))))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_bare_level_is_ours_and_a_library_is_heard_where_it_is_named() {
        let trace = targets("trace").unwrap();
        assert!(trace.would_enable("tokenferry::app", &Level::TRACE) && trace.would_enable("access", &Level::INFO));
        assert!(trace.would_enable("notify", &Level::WARN) && !trace.would_enable("notify", &Level::INFO));
        let named = targets("info,hyper=debug,access=off").unwrap();
        assert!(named.would_enable("hyper::proto", &Level::DEBUG) && !named.would_enable("access", &Level::ERROR));
        assert!(named.would_enable("tokenferry::app", &Level::INFO));
        let quiet = targets(DEFAULT).unwrap();
        assert!(quiet.would_enable("tokenferry", &Level::INFO) && !quiet.would_enable("access", &Level::INFO));
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_what_to_write() {
        for filter in ["verbose", "info,acess", "loud,access=info"] {
            let error = targets(filter).unwrap_err().to_string();
            assert!(error.contains("write a level"), "{error}");
        }
    }
}
