//! Log lines: structured, on stderr. The configuration says how and which; the environment's
//! `TOKENFERRY_LOG` and `TOKENFERRY_LOG_FORMAT` go before it.

mod pipe;

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use self::pipe::Pipe;
pub use self::pipe::{dropped_log_lines, settle_logs};
use crate::model::{LogFormat, LogLevel, LogSettings};

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
    /// The thread that writes the log.
    #[error("the log cannot be begun: {0}")]
    Begin(#[source] std::io::Error),
}

const MEND: &str = "write a level (error, warn, info, debug, trace) or targets, as in info,hyper=debug";

/// How lines get to stderr.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogSink {
    /// At once: for commands that end soon.
    Direct,
    /// In the background: for whoever serves, and must not wait for a reader.
    Background,
}

type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// What a reload changes. The subscriber is the process's, and so is this.
struct Running {
    filter: Option<Handle<Targets, Registry>>,
    lines: Option<Handle<Lines, Filtered>>,
    sink: Sink,
}

#[derive(Clone)]
enum Sink {
    Direct,
    Background(Pipe),
}

static RUNNING: OnceLock<Running> = OnceLock::new();

/// Begins logging. `filter` is the value of `TOKENFERRY_LOG`: a level, or `target=level` parts with
/// commas. `format` is that of `TOKENFERRY_LOG_FORMAT`: `text`, or `json` for a JSON object a line.
/// Where one of them is given, [`apply_logs`] leaves it as it is.
pub fn init_logs(filter: Option<&str>, format: Option<&str>, sink: LogSink) -> Result<(), LogError> {
    let asked = filter.filter(|filter| !filter.trim().is_empty()).map(targets).transpose()?;
    let format = match format.unwrap_or_default() {
        "" => None,
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => return Err(LogError::Format),
    };
    let sink = match sink {
        LogSink::Direct => Sink::Direct,
        LogSink::Background => Sink::Background(Pipe::to_stderr().map_err(LogError::Begin)?),
    };
    let (fixed_filter, fixed_format) = (asked.is_some(), format.is_some());
    let (filter, filter_handle) = reload::Layer::new(asked.unwrap_or_else(|| of_level(LogLevel::default())));
    let (lines, lines_handle) = reload::Layer::new(sink.lines(format.unwrap_or_default()));
    // A second call in one process (tests) leaves the first in force.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let filter = (!fixed_filter).then_some(filter_handle);
        let lines = (!fixed_format).then_some(lines_handle);
        drop(RUNNING.set(Running { filter, lines, sink }));
    }
    Ok(())
}

/// Goes on as the configuration says. Nothing where logging was not begun.
pub fn apply_logs(settings: &LogSettings) {
    let Some(running) = RUNNING.get() else { return };
    // The subscriber that they belong to lives as long as the process.
    if let Some(filter) = &running.filter {
        drop(filter.reload(of_level(settings.level)));
    }
    if let Some(lines) = &running.lines {
        drop(lines.reload(running.sink.lines(settings.format)));
    }
}

impl Sink {
    fn lines(&self, format: LogFormat) -> Lines {
        match self {
            Self::Direct => lines(format, std::io::stderr),
            Self::Background(pipe) => lines(format, pipe.clone()),
        }
    }
}

fn lines(format: LogFormat, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Lines {
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(is_coloured()).boxed(),
    }
}

/// Only on a terminal, and not where `NO_COLOR` is set (no-color.org).
fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn of_level(level: LogLevel) -> Targets {
    ours(match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    })
}

/// A bare level is ours alone; libraries say what they have to warn of, and more only where they are
/// named. One of them tells of every event in the folders that are watched, in which the log itself
/// may lie. Access lines have no level: they are written where they are asked for.
fn ours(level: LevelFilter) -> Targets {
    let base = Targets::new().with_default(level.min(LevelFilter::WARN));
    base.with_target("tokenferry", level).with_target("access", LevelFilter::INFO)
}

fn targets(filter: &str) -> Result<Targets, LogError> {
    let known = |word: &str| word == "access" || word.starts_with("tokenferry");
    let parts = filter.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains('='));
    for word in parts {
        if word.parse::<LevelFilter>().is_err() && !known(word) {
            return Err(LogError::Word(word.to_owned()));
        }
    }
    let asked: Targets = filter.parse().map_err(LogError::Syntax)?;
    let Some(level) = asked.default_level() else { return Ok(asked) };
    Ok(ours(level).with_targets(asked.iter().map(|(target, level)| (target.to_owned(), level))))
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
        let quiet = of_level(LogLevel::Error);
        assert!(quiet.would_enable("tokenferry", &Level::ERROR) && !quiet.would_enable("tokenferry", &Level::WARN));
        assert!(quiet.would_enable("access", &Level::INFO), "whether there are access lines is said elsewhere");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_what_to_write() {
        for filter in ["verbose", "info,acess", "loud,access=info"] {
            let error = targets(filter).unwrap_err().to_string();
            assert!(error.contains("write a level"), "{error}");
        }
    }
}
