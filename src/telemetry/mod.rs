//! What operators see of a running proxy: log lines on stderr, and what is counted.

mod logs;
pub mod metrics;

pub use logs::{LogError, init_logs};
