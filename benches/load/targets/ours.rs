//! The proxy.

use super::stage::Stage;
use super::{PATIENCE, Target, stderr_to, write};
use crate::args::Options;
use crate::counts::callgrind::Callgrind;
use crate::family::Child;
use crate::figures::rows::{OURS, THOUSAND};
use crate::scenario::{Client, Scenario};
use crate::targets::pinning::Pinning;
use crate::token::{CLIENT_ID, CLIENT_SECRET};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// In front of the vendor.
pub(crate) fn start(stage: &Stage<'_>) -> Result<Target, String> {
    start_with(stage, OURS, &configuration(stage, 1, 0), false)
}

/// The same with a thousand routes, of which the middle one is used, and an admin port.
pub(crate) fn start_with_routes(stage: &Stage<'_>) -> Result<Target, String> {
    let target = start_with(stage, THOUSAND, &configuration(stage, 1000, 0), true)?;
    Ok(Target { path: Some(format!("/r0500{}", stage.traffic.path)), ..target })
}

/// To be counted, by callgrind or from outside: a thousand routes, of which the last one is used, and an admin port.
pub(crate) fn start_counted(stage: &Stage<'_>, callgrind: Option<&Callgrind>) -> Result<Target, String> {
    let program = &stage.options.proxy;
    let Some(callgrind) = callgrind else {
        return start_as(stage, OURS, stage.pinning.proxy(program), &configuration(stage, 1000, 0), true);
    };
    let watched = callgrind.command(program);
    let mut command = stage.pinning.proxy(watched.get_program());
    command.args(watched.get_args()).envs(watched.get_envs().filter_map(|(name, value)| Some((name, value?))));
    start_as(stage, OURS, command, &configuration(stage, 1000, 0), true)
}

fn start_with(stage: &Stage<'_>, name: &str, configuration: &str, admin: bool) -> Result<Target, String> {
    start_as(stage, name, stage.pinning.proxy(&stage.options.proxy), configuration, admin)
}

fn start_as(
    stage: &Stage<'_>,
    name: &str,
    command: Command,
    configuration: &str,
    admin: bool,
) -> Result<Target, String> {
    let file = file(stage, name);
    write(&file, configuration)?;
    run(&stage.options.proxy, command, name, &file, &stage.scratch.join(format!("{name}.log")), admin)
}

fn file(stage: &Stage<'_>, name: &str) -> PathBuf {
    stage.scratch.join(format!("{name}.yaml"))
}

/// What the operator's file says, and nothing of ours.
pub(crate) fn start_own(options: &Options, pinning: &Pinning, scratch: &Path, file: &Path) -> Result<Target, String> {
    let target = run(&options.proxy, pinning.proxy(&options.proxy), OURS, file, &scratch.join("own.log"), false)?;
    let mut address = target.address;
    // What listens everywhere listens here.
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let (path, headers, host) = (options.path.clone(), options.headers.clone(), address.to_string());
    Ok(Target { address, host, path, headers, ..target })
}

/// By the command that is the program, or becomes it.
fn run(
    program: &Path,
    mut command: Command,
    name: &str,
    file: &Path,
    log: &Path,
    admin: bool,
) -> Result<Target, String> {
    command.arg("run").arg("-c").arg(file).stderr(stderr_to(log)?);
    let told = |what: String| format!("{}: {what}\n{}", program.display(), super::end_of(log));
    let child = Child::start(command).map_err(|e| told(e.to_string()))?;
    let address = |line: String| line.trim().parse::<SocketAddr>().map_err(|_| told(format!("{line:?} is no address")));
    let listener = child.line("listening on ", PATIENCE).map_err(told).and_then(address)?;
    let admin = if admin { Some(child.line("admin on ", PATIENCE).map_err(told).and_then(address)?) } else { None };
    Ok(Target { admin, ..Target::of(name, listener, Some(child), Some(log.to_owned())) })
}

/// Writes the file anew, so that it differs; taken once it is counted by [`taken`].
pub(crate) fn rewrite(stage: &Stage<'_>, revision: u32) -> Result<(), String> {
    let file = file(stage, OURS);
    let beside = file.with_extension("new");
    write(&beside, &configuration(stage, 1, revision))?;
    fs::rename(&beside, &file).map_err(|e| format!("{}: {e}", file.display()))
}

/// How many configurations the proxy has taken, the first included.
pub(crate) fn taken(target: &Target) -> usize {
    let log = target.log.as_deref().and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
    log.matches("configuration taken").count()
}

fn configuration(stage: &Stage<'_>, routes: u32, revision: u32) -> String {
    let certificates = stage.certificates;
    let (certificate, key) = (certificates.certificate.display(), certificates.key.display());
    let upstream = format!("{}://{}", stage.scheme(), stage.upstream());
    let mut more = String::new();
    for number in 1..routes {
        let _ = writeln!(
            more,
            "  - {{name: r{number:04}, match: {{path: /r{number:04}}}, upstream: '{upstream}', credential: bench, access: public}}"
        );
    }
    if revision > 0 {
        let _ = writeln!(more, "  - {{name: revision, match: {{path: /revision-{revision}}}, respond: 404}}");
    }
    let when = |condition: bool, text: String| if condition { text } else { String::new() };
    let waiting = stage.options.waiting;
    let access_log = stage.options.access_log.as_deref().unwrap_or(if routes > 1 { "errors" } else { "off" });
    include_str!("../../peers/proxy.yaml")
        .replace("@WORKERS@", &stage.workers.to_string())
        .replace(
            "@LISTENER_TLS@",
            &when(
                stage.traffic.client == Client::Tls,
                format!(", tls: {{cert: '{certificate}', key: '{key}', session_tickets: false}}"),
            ),
        )
        .replace("@ADMIN@", &when(routes > 1, "admin: {address: '127.0.0.1:0'}".to_owned()))
        .replace("@ACCESS_LOG@", access_log)
        .replace("@CONNECTIONS@", &stage.connections().to_string())
        .replace(
            "@DEFAULTS@",
            &when(stage.scenario == Scenario::ColdStart, format!("defaults: {{limits: {{waiting: {waiting}}}}}")),
        )
        .replace("@TOKEN_SERVER@", &stage.vendor.token.to_string())
        .replace("@CLIENT_ID@", CLIENT_ID)
        .replace("@CLIENT_SECRET@", CLIENT_SECRET)
        .replace("@EXCLUSIVE@", if stage.scenario == Scenario::Rotation { "true" } else { "false" })
        .replace("@MORE_ROUTES@\n", &more)
        .replace("@UPSTREAM@", &upstream)
        .replace("@UPSTREAM_CA@", &when(stage.traffic.upstream_tls, format!(", ca: '{certificate}'")))
}
