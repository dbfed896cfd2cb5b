//! What operators see of a running proxy: log lines on stderr, and what is counted.

mod logs;
pub mod metrics;

pub use logs::{LogError, LogSink, apply_logs, dropped_log_lines, init_logs, settle_logs};
