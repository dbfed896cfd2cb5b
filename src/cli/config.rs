//! `tokenferry config`: the configuration as it is in force.

use std::process::ExitCode;

use clap::ValueEnum;

use super::{ConfigArg, out, ready};
use crate::config;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// How it is written.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// How the configuration is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Format {
    /// YAML, as proxy.yaml is.
    #[default]
    #[value(alias = "yaml")]
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub(super) fn config(args: &Args) -> ExitCode {
    let format = match args.format {
        Format::Text => config::Format::Yaml,
        Format::Json => config::Format::Json,
    };
    match ready::load(&args.config.config) {
        Ok(loaded) => out::finish(&config::effective(&loaded, format), ExitCode::SUCCESS),
        Err(problems) => {
            let format = if args.format == Format::Json { super::Format::Json } else { super::Format::Text };
            ready::refuse_as(&args.config.config, format, &problems)
        }
    }
}
