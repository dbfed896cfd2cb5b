//! `tokenferry explain`: what would become of a request. What it tells is decided by the walk's own
//! code (`proxy::preview`); here it is put into words.
//!
//! `request` reads the arguments, `account` collects what there is to tell, `back` of it what answers
//! do, `verdict` has the words for routes, `print` writes it for people and for programs.

mod account;
mod back;
mod print;
mod request;
mod verdict;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use account::Account;

use super::{ConfigArg, Format, FormatArg, USAGE, fail, out, ready::ready};
use crate::config::ListenAddress;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The request's method.
    method: String,
    /// A path such as `/crm/contacts?page=2`, or a URL such as `http://crm.internal/contacts`.
    url: String,
    /// A header of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The request's body; its type goes into `-H 'Content-Type: ...'`.
    #[arg(short, long, value_name = "BODY")]
    data: Option<String>,
    /// The address that the request comes from; default: this machine's own.
    #[arg(long, value_name = "IP")]
    peer: Option<IpAddr>,
    /// A subject alternative name of the client's certificate, which is taken for one that is vouched for; may be
    /// given several times.
    #[arg(long = "certificate-name", value_name = "NAME")]
    certificate_names: Vec<String>,
    #[command(flatten)]
    format: FormatArg,
}

/// Runs the command.
pub(super) fn explain(args: &Args) -> ExitCode {
    let mut request = match request::read(args) {
        Ok(request) => request,
        Err(complaint) => return fail(&complaint, USAGE),
    };
    let ready = match ready(&args.config.config) {
        Ok(ready) => ready,
        Err(not_ready) => return not_ready.refuse(&args.config.config, args.format.format),
    };
    // On a Unix socket a client has no address.
    let local =
        ready.loaded.settings.listeners.iter().any(|listener| matches!(listener.address, ListenAddress::Tcp(_)));
    if let Some(asked) = &mut request.asked {
        asked.peer = args.peer.or(local.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    let account = Account::of(request, &ready);
    let told = match args.format.format {
        Format::Text => print::text(&account),
        Format::Json => out::json(&print::json(&account)),
    };
    out::finish(&told, ExitCode::SUCCESS)
}
