//! What operators see of a running proxy: log lines on stderr, what is counted, traces at a collector.

mod logs;
pub mod metrics;
pub mod traces;

pub use logs::{LogError, LogSink, apply_logs, dropped_log_lines, init_logs, settle_logs};
