//! What operators see of a running proxy: log lines on stderr.

mod logs;

pub use logs::{LogError, init_logs};
