//! What operators see of a running proxy: log lines on stderr, traces at a collector.

mod logs;
pub mod traces;

pub use logs::{LogError, init_logs};
