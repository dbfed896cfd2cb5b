//! The command line. The roles are hidden: the harness starts itself again with them.

use crate::scenario::Scenario;
use crate::targets::peer::Peer;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  load                                        every row of what must hold, beside nginx and HAProxy
  load --scenario get-1k --rounds 7
  load --html report.html --json now.json --baseline before.json
  load --config proxy.yaml --path /crm/customers --header 'X-Api-Key: secret'
  load --scenario get-1k --peer 'caddy=caddy reverse-proxy --from http://127.0.0.1:{port} --to {upstream},{port}'

A peer is NAME=COMMAND,PORT: the command is run by `sh -c` and has to stay in the foreground; what follows the last
comma is the port that it listens on, on 127.0.0.1: a number, or {port} for one that is found free. In the command
{port} is that port, {upstream} the API's HOST:PORT, {token} the token that the API wants as `Authorization: Bearer`,
{workers} how many workers it should have, and {dir} an empty directory of its own. It takes part where clients and
upstream speak plain HTTP/1.1.";

/// Measures what a request through the proxy costs, beside others that do the same job.
#[derive(Parser)]
#[command(name = "load", args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,

    /// What to measure; may be given several times [default: all but rate-1k]
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    pub(crate) scenarios: Vec<Scenario>,

    /// Rounds of each scenario, interleaved; tables show medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Measured seconds of each round, after a warm-up of a quarter of that
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Keep-alive connections of the load generator
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) connections: u32,

    /// Requests a second of rate-1k
    #[arg(long, default_value_t = 6000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) rate: u32,

    /// Workers of every proxy, in place of the scenario's
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) workers: Option<u32>,

    /// Which requests the proxy logs, in place of the scenario's; its peers log none
    #[arg(long, value_parser = ["off", "errors", "all"], value_name = "REQUESTS")]
    pub(crate) access_log: Option<String>,

    /// Seconds of rotation: an exclusive token of two seconds at full load
    #[arg(long, default_value_t = 20.0, value_parser = seconds, value_name = "SECONDS")]
    pub(crate) rotation: f64,

    /// How often the file is rewritten in reloads
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "COUNT")]
    pub(crate) reloads: u32,

    /// Connections of idle
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "COUNT")]
    pub(crate) idle: u32,

    /// Seconds after which idle looks what was given back
    #[arg(long, default_value_t = 60.0, value_parser = seconds, value_name = "SECONDS")]
    pub(crate) give_back: f64,

    /// Requests of cold-start
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "COUNT")]
    pub(crate) waiting: u32,

    /// Counts system calls a request too, by strace, in a short stretch that is not measured
    #[arg(long)]
    pub(crate) syscalls: bool,

    /// Another proxy to measure beside the others; may be given several times (see below)
    #[arg(long = "peer", value_name = "NAME=COMMAND,PORT", conflicts_with_all = ["url", "config"])]
    pub(crate) peers: Vec<Peer>,

    /// The build of the proxy to measure; of `cargo bench` its own
    #[arg(long, env = "TOKENFERRY_BIN", hide_env_values = true, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_tokenferry"), hide_default_value = true)]
    pub(crate) proxy: PathBuf,

    /// Drives the proxy with this configuration, and with the upstreams that it names
    #[arg(long, value_name = "proxy.yaml", conflicts_with = "url", requires = "path")]
    pub(crate) config: Option<PathBuf>,

    /// With --config: the path to ask for
    #[arg(long, requires = "config", value_parser = path)]
    pub(crate) path: Option<String>,

    /// With --config or --url: a header to send, as `Name: value`; may be given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    pub(crate) headers: Vec<String>,

    /// Drives what already runs at this address, on loopback, instead of starting anything
    #[arg(long, value_name = "http://127.0.0.1:PORT/PATH")]
    pub(crate) url: Option<String>,

    /// With --url: the process whose CPU time and memory to count, with its children
    #[arg(long, requires = "url")]
    pub(crate) pid: Option<u32>,

    /// Writes every round's figures there, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Compares with what --json wrote earlier
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,

    /// Writes a report with plots there, as one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Ends well also where a row does not hold
    #[arg(long)]
    pub(crate) report_only: bool,

    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
pub(crate) enum Role {
    /// The API behind the proxy, and its token endpoint
    #[command(hide = true)]
    Vendor(Vendor),
    /// The load generator
    #[command(hide = true)]
    Drive(Job),
}

#[derive(Args, Clone)]
pub(crate) struct Vendor {
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// Whether a new token kills the one before
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Seconds that a token lives
    #[arg(long, default_value_t = 3600)]
    pub(crate) lifetime: u64,
    /// How long a login takes
    #[arg(long, default_value_t = 0.0)]
    pub(crate) login_seconds: f64,
}

/// One round of one target, for the load generator.
#[derive(Args, Clone)]
pub(crate) struct Job {
    #[arg(long, value_enum)]
    pub(crate) scenario: Scenario,
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Sent as `Host`
    #[arg(long)]
    pub(crate) host: String,
    #[arg(long)]
    pub(crate) path: String,
    #[arg(long = "header")]
    pub(crate) headers: Vec<String>,
    #[arg(long)]
    pub(crate) connections: u32,
    #[arg(long)]
    pub(crate) rate: u32,
    /// Measured seconds
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Seconds before that
    #[arg(long)]
    pub(crate) warm_up: f64,
    /// Sends the vendor's token itself: the upstream without a proxy in between
    #[arg(long)]
    pub(crate) with_token: bool,
    /// What to trust
    #[arg(long)]
    pub(crate) certificate: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=3600.0).contains(&value) => Ok(value),
        _ => Err("a number from 0.1 to 3600".into()),
    }
}

fn path(text: &str) -> Result<String, String> {
    let plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err("a path as it goes over the wire, from its / on".into()) }
}

fn header(text: &str) -> Result<String, String> {
    let (name, value) = text.split_once(':').ok_or("a header is Name: value")?;
    let whole = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if whole && !value.contains(['\r', '\n']) { Ok(text.to_owned()) } else { Err("a header is Name: value".into()) }
}
