//! The way to stdout.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use super::fail;

/// Writes a part of the result. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(fail(&format!("cannot write the result: {error}"), 1))
        }
        _ => Ok(()),
    }
}

/// Writes the result and ends with this status.
pub(super) fn finish(text: &str, code: ExitCode) -> ExitCode {
    print(text).err().unwrap_or(code)
}

/// JSON as it is printed: on several lines, ended by one more.
pub(super) fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
