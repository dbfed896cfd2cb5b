//! The door: arguments, logs, the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenferry::cli::main()
}
