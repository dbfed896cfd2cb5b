//! The command line. The roles are hidden: the harness starts itself again with them.

use crate::scenario::Scenario;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Measures what a request through the proxy costs, beside nginx.
#[derive(Parser)]
#[command(name = "load", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,

    /// What to measure; may be given several times [default: all]
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    pub(crate) scenarios: Vec<Scenario>,

    /// Rounds of each scenario; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Measured seconds of each round, after a warm-up of a quarter of that
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Keep-alive connections of the load generator
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) connections: u32,

    /// Requests a second of the scenarios with a fixed rate
    #[arg(long, default_value_t = 6000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) rate: u32,

    /// Workers of the proxy and of nginx; with more than one nothing is pinned
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) workers: u32,

    /// Writes every round's figures there, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Fails when GET 1 KiB costs more than this many times nginx's CPU (median of the rounds)
    #[arg(long, value_name = "RATIO", conflicts_with = "url")]
    pub(crate) check_ratio: Option<f64>,

    /// Drives what already runs at this address, on loopback, instead of starting anything
    #[arg(long, value_name = "http://127.0.0.1:PORT/PATH")]
    pub(crate) url: Option<String>,

    /// With --url: the process whose CPU time and memory to count, with its children
    #[arg(long, requires = "url")]
    pub(crate) pid: Option<u32>,

    /// Another build of the proxy to measure
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_tokenferry"), hide_default_value = true)]
    pub(crate) proxy: PathBuf,

    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
pub(crate) enum Role {
    /// The API behind the proxy
    #[command(hide = true)]
    Upstream,
    /// The vendor's token endpoint
    #[command(hide = true)]
    Token,
    /// The load generator
    #[command(hide = true)]
    Drive(Job),
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
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=3600.0).contains(&value) => Ok(value),
        _ => Err("a number from 0.1 to 3600".into()),
    }
}
