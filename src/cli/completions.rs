//! `tokenferry completions`: what a shell needs to complete this program's arguments.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, out};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub(super) fn completions(args: &Args) -> ExitCode {
    // Not straight to stdout: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tokenferry", &mut script);
    out::finish(&String::from_utf8_lossy(&script), ExitCode::SUCCESS)
}
