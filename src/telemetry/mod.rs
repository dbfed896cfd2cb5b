//! What operators see of a running proxy: log lines on stderr, traces at a collector.

mod logs;
pub mod traces;

pub use logs::{LogError, LogSink, apply_logs, dropped_log_lines, init_logs, settle_logs};
