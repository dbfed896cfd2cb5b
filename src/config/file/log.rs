//! What is written to the log, and how.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{AccessLog, LogFormat, LogLevel, LogSettings};

/// What is written to the log (stderr), and how. Changes live; the environment's `TOKENFERRY_LOG` and
/// `TOKENFERRY_LOG_FORMAT` go before `level` and `format`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// How lines are written.
    #[schemars(extend("default" = "text"))]
    pub(crate) format: Option<Format>,
    /// From how grave an event on it is written.
    #[schemars(extend("default" = "info"))]
    pub(crate) level: Option<Level>,
    /// Which requests have a line of their own.
    #[schemars(extend("default" = "off"))]
    pub(crate) access: Option<Access>,
}

impl Log {
    /// As meant.
    pub(crate) fn settings(&self) -> LogSettings {
        LogSettings {
            format: self.format.map(Into::into).unwrap_or_default(),
            level: self.level.map(Into::into).unwrap_or_default(),
            access: self.access.map(Into::into).unwrap_or_default(),
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

/// From how grave an event on it is written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// What needs somebody.
    Error,
    /// What may need somebody soon.
    Warn,
    /// Every change of a credential's or the configuration's state.
    Info,
    /// What was refused, and why.
    Debug,
    /// Everything.
    Trace,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// Which requests have a line of their own.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    /// None.
    Off,
    /// Those that failed: answered with 5xx, refused by the proxy, or broken off.
    Errors,
    /// All.
    All,
}

impl From<Access> for AccessLog {
    fn from(access: Access) -> Self {
        match access {
            Access::Off => Self::Off,
            Access::Errors => Self::Errors,
            Access::All => Self::All,
        }
    }
}
