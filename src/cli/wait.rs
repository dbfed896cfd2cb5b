//! What a person waits for, said while it lasts: on stderr, only where that is a terminal, and gone
//! when it is over.
//!
//! A line of our own: what a library would add here is a moving picture, at five crates.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use super::Format;

/// A wait that is shorter needs no sign of life.
const SHORT: Duration = Duration::from_millis(400);

/// What a narrow terminal still has on one line, beside the seconds: only the last line is erased.
const MOST: usize = 60;

/// Waits, and says for what: `obtaining a token of crm, 3s`. Says nothing to programs, which ask for JSON.
pub(super) async fn shown<T>(what: &str, format: Format, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    if format == Format::Json || !io::stderr().is_terminal() {
        return future.await;
    }
    let what: String = what.chars().take(MOST).collect();
    let (began, mut line) = (Instant::now(), Line { is_shown: false });
    loop {
        tokio::select! {
            result = &mut future => return result,
            () = tokio::time::sleep(SHORT) => line.write(&format!("{what}, {}s ", began.elapsed().as_secs())),
        }
    }
}

/// Erased however the wait ends.
struct Line {
    is_shown: bool,
}

impl Line {
    fn write(&mut self, text: &str) {
        // A terminal that went away is nobody to tell.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
        self.is_shown = true;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
