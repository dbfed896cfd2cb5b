//! The command line: one file a command.
//!
//! Results go to stdout, diagnostics to stderr. Exit status: 0 done, 1 failed, 2 usage, 78 the
//! configuration is invalid (`EX_CONFIG` of sysexits.h).
//!
//! `ready` reads the configuration for commands that do one thing and end, `login` obtains tokens
//! for them, `ask` puts questions to the running proxy, `wait` shows that it waits, `out` is the way to
//! stdout, `words` how durations and the like are written.

mod ask;
mod check;
mod completions;
mod config;
mod demo;
mod explain;
mod hash_password;
mod healthcheck;
mod login;
mod man;
mod out;
mod ready;
mod reload;
mod run;
mod schema;
mod token;
mod wait;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::app;

/// The configuration is invalid.
const INVALID: u8 = 78;

/// The command line asks for what cannot be.
const USAGE: u8 = 2;

/// An authenticating reverse proxy: point an application's base URL at it, and it logs in to the
/// modern API for the application.
#[derive(Debug, Parser)]
#[command(
    name = "tokenferry",
    version,
    about,
    propagate_version = true,
    after_help = "\
Exit status: 0 done, 1 failed, 2 wrong usage, 78 the configuration is invalid.

Begin with `tokenferry demo`. What is logged the configuration says (`log`); TOKENFERRY_LOG=debug
goes before its level and adds what was refused and why, TOKENFERRY_LOG_FORMAT=json writes JSON.
TOKENFERRY_DUMPABLE=1 lets a debugger in, and core dumps be written, which may hold secrets."
)]
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

/// How a result is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object.
    Json,
}

/// How a result is written.
#[derive(Debug, clap::Args)]
struct FormatArg {
    /// How the result is written.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop.
    ///
    /// Prints `listening on ADDRESS` for each listener once it accepts. Reloads on SIGHUP and when the
    /// configuration, or a file that it names, changes; a bad one is reported and changes nothing.
    /// Drains on SIGTERM and SIGINT; a second one ends it at once.
    #[command(after_help = "\
Examples:
  tokenferry run
  tokenferry run -c /etc/tokenferry/proxy.yaml
  TOKENFERRY_LOG=debug tokenferry run")]
    Run(ConfigArg),
    /// Check the configuration, and tell every problem of it at once.
    ///
    /// Each problem comes with its line and column, the line itself (secrets blanked) and the mend.
    #[command(after_help = "\
Examples:
  tokenferry check
  tokenferry check -c new.yaml && mv new.yaml proxy.yaml
  tokenferry check --connect")]
    Check(check::Args),
    /// Say which route takes a request, why the others do not, and what would be sent.
    ///
    /// Nothing is sent, and no token is fetched: `***` stands in its place.
    #[command(after_help = "\
Examples:
  tokenferry explain GET '/crm/contacts?page=2'
  tokenferry explain POST http://crm.internal/contacts -H 'Content-Type: application/json' -d '{}'
  tokenferry explain GET /crm/contacts -H 'X-Api-Key: abc' --peer 10.1.2.3")]
    Explain(explain::Args),
    /// Tell a credential's token: its lifetime, where it came from, and how far the vendor's clock is off.
    ///
    /// The token of the running proxy where the configuration has a `handover` socket, else that of the
    /// `store` that replicas share, else a fresh login. A login that might kill a live exclusive token is
    /// made with --force only.
    #[command(after_help = "\
Examples:
  tokenferry token crm
  tokenferry token crm --reveal
  tokenferry token crm --reveal --format json | jq -r .token")]
    Token(token::Args),
    /// Print the configuration as it is in force: defaults filled in, secrets masked.
    #[command(after_help = "\
Examples:
  tokenferry config
  tokenferry config --format json | jq '.routes[0].timeouts'")]
    Config(config::Args),
    /// Have the running proxy read its configuration again, and tell what it says.
    ///
    /// Asks it by its admin port, which is read from the configuration, also where the rest of that is invalid.
    /// Exit status: 0 taken or unchanged, 78 invalid, with every problem as `check` tells it; the proxy then keeps the
    /// configuration that it has.
    #[command(after_help = "\
Examples:
  tokenferry reload
  tokenferry reload -c /etc/tokenferry/proxy.yaml
  tokenferry reload --format json | jq .restart_needed")]
    Reload(ask::AskArg),
    /// Ask the running proxy whether it is ready; the exit status says.
    ///
    /// Asks its admin port, which is read from the configuration, also where the rest of that is invalid. Not ready is a
    /// proxy that drains, and with `ready_when: tokens` one without a live token of each credential.
    #[command(after_help = "\
Examples:
  tokenferry healthcheck
  tokenferry healthcheck --live
  tokenferry healthcheck --admin 127.0.0.1:9901")]
    Healthcheck(healthcheck::Args),
    /// Make an argon2 hash of a password, for `access.users` of a route.
    ///
    /// Reads the password from stdin: from a terminal, where it is not shown, twice; else all of it, less one line break
    /// at its end.
    #[command(after_help = "\
Examples:
  tokenferry hash-password
  tokenferry hash-password < password.txt")]
    HashPassword,
    /// Print the JSON Schema of the configuration, for editors.
    #[command(after_help = "\
Example:
  tokenferry schema > proxy.schema.json

Editors with a YAML language server find it by the first line of proxy.yaml:
  # yaml-language-server: $schema=proxy.schema.json")]
    Schema,
    /// Show it at work: the vendors' simulators on loopback, and the proxy in front of them.
    ///
    /// Runs the shipped proxy.yaml with the simulators in the vendors' place, and prints requests to
    /// try. Needs no account anywhere, and ends with Ctrl-C.
    #[command(after_help = "\
Examples:
  tokenferry demo
  TOKENFERRY_LOG=debug tokenferry demo")]
    Demo,
    /// Print completions for a shell.
    #[command(after_help = "\
Examples:
  tokenferry completions bash > /etc/bash_completion.d/tokenferry
  tokenferry completions zsh > \"${fpath[1]}/_tokenferry\"
  tokenferry completions fish > ~/.config/fish/completions/tokenferry.fish")]
    Completions(completions::Args),
    /// Print the manual: a page a command, for man.
    #[command(after_help = "\
Examples:
  tokenferry man | man -l -
  tokenferry man explain | man -l -
  tokenferry man --out /usr/local/share/man/man1")]
    Man(man::Args),
}

/// Whether to write colours: only on a terminal, and not where `NO_COLOR` is set.
fn colour(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Each of them may read the configuration's secrets.
    app::seclude(|name| std::env::var(name).ok());
    match cli.command {
        Command::Run(config) => run::run(&config.config),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Token(args) => token::token(&args),
        Command::Config(args) => config::config(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
        Command::HashPassword => hash_password::hash_password(),
        Command::Schema => schema::schema(),
        Command::Demo => demo::demo(),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    }
}

/// Says something on stderr.
fn say(message: &str) {
    // A closed stderr is nobody to tell.
    let _ = writeln!(io::stderr(), "tokenferry: {message}");
}

/// Says on stderr what went wrong.
fn fail(message: &str, code: u8) -> ExitCode {
    say(message);
    ExitCode::from(code)
}
