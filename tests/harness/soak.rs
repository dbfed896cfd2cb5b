//! What `make test` does for a moment and `make soak` for minutes.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `TOKENFERRY_SOAK_SECONDS`: how long a long run is; `None` in `make test`.
pub fn seconds() -> Option<u64> {
    std::env::var("TOKENFERRY_SOAK_SECONDS").ok()?.parse().ok()
}

/// One or the other.
pub fn long_or<T>(long: T, short: T) -> T {
    if seconds().is_some() { long } else { short }
}

/// So many seconds in a long run, less where all are to be shorter, and else so many milliseconds.
pub fn time(long: u64, short: u64) -> Duration {
    seconds().map_or(Duration::from_millis(short), |most| Duration::from_secs(most.min(long)))
}

/// Prints a figure that the summary of `make soak` repeats.
pub fn figure(text: impl std::fmt::Display) {
    println!("soak: {text}");
}

/// Lets this process, and those that it starts from now on, open as many files as the host allows;
/// says how many.
pub fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
    most
}
