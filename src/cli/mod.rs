//! The command line: one file a command.
//!
//! Results go to stdout, diagnostics to stderr. Exit status: 0 done, 1 failed, 2 usage, 78 the
//! configuration is invalid (`EX_CONFIG` of sysexits.h).

mod demo;
mod run;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The configuration is invalid.
const INVALID: u8 = 78;

/// An authenticating reverse proxy: point an application's base URL at it, and it logs in to the
/// modern API for the application.
#[derive(Debug, Parser)]
#[command(name = "tokenferry", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration file.
    #[arg(short, long, env = "TOKENFERRY_CONFIG", default_value = "proxy.yaml", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. Reloads on SIGHUP and when the file changes; drains on SIGTERM and SIGINT, and a
    /// second one ends it at once.
    Run(ConfigArg),
    /// Show it at work: the vendors' simulators on loopback, and the proxy in front of them. Prints
    /// requests to try.
    Demo,
}

/// Whether to write colours: only on a terminal, and not where `NO_COLOR` is set.
fn colour(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(config) => run::run(&config.config),
        Command::Demo => demo::demo(),
    }
}

/// Says on stderr what went wrong.
fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "tokenferry: {message}");
    ExitCode::from(code)
}
