//! `tokenferry healthcheck`: whether the running proxy is ready, or alive.

use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::ask::AskArg;
use super::{Format, fail, out, words};

/// Probes of containers give up after half a minute by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ask: AskArg,
    /// Only ask whether it is alive, as when it drains.
    #[arg(long)]
    live: bool,
}

/// Runs the command.
pub(super) fn healthcheck(args: &Args) -> ExitCode {
    let path = if args.live { "/healthz" } else { "/readyz" };
    let asked = args.ask.port(false).and_then(|port| port.ask(Method::GET, path, PATIENCE));
    let answer = match asked {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let well = answer.status.is_success();
    let text = String::from_utf8_lossy(&answer.body);
    let said = words::plain(text.lines().next().unwrap_or_default());
    let code = if well { ExitCode::SUCCESS } else { ExitCode::from(1) };
    match args.ask.format.format {
        Format::Json => {
            let told = json!({ "ok": well, "status": answer.status.as_u16(), "detail": said });
            out::finish(&out::json(&told), code)
        }
        Format::Text if well => out::finish(&format!("{said}\n"), code),
        Format::Text => fail(&format!("not {}: {said}", if args.live { "alive" } else { "ready" }), 1),
    }
}
