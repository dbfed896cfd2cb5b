//! The measurement itself: start, interleave, report, end.

use crate::args::Options;
use crate::drive::{GRACE, Round};
use crate::family::{Child, watch_signals};
use crate::peers::{Pinning, Target, end_of, nginx_version, start_nginx, start_proxy, start_role};
use crate::process::{cpu_time, peak_kib, pss_kib, tree};
use crate::report::{Report, Sample, median, spread};
use crate::scenario::Scenario;
use crate::token::token;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(options: &Options) -> ExitCode {
    match measure(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("load: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every request was answered and the ratio, if asked for, held.
fn measure(options: &Options) -> Result<bool, String> {
    let scratch = tempfile::Builder::new().prefix("load-").tempdir().map_err(|e| format!("no directory: {e}"))?;
    watch_signals(scratch.path().to_owned());
    let pinning = Pinning::new(options.workers);
    let nginx = if options.url.is_none() { nginx_version() } else { None };
    if nginx.is_none() && options.check_ratio.is_some() {
        return Err(
            "--check-ratio compares with nginx, which is not installed (Debian: apt-get install nginx-light)".into()
        );
    }
    let setting = setting(options, &pinning, nginx.as_deref());
    println!("{}", describe(&setting));

    let mut report = Report::default();
    if let Some(url) = &options.url {
        for scenario in chosen(options, &[Scenario::Get1k, Scenario::Rate1k]) {
            let targets = [Target::url(url, options.pid)?];
            interleave(options, &pinning, scenario, &targets, &mut report)?;
        }
    } else {
        let (_upstream, upstream) = start_role(&pinning, "upstream")?;
        let (tokens, token_server) = start_role(&pinning, "token")?;
        for scenario in chosen(options, &Scenario::ALL) {
            let mut targets = vec![Target::direct(upstream)];
            targets.push(start_proxy(options, &pinning, scratch.path(), upstream, token_server)?);
            if nginx.is_some() {
                targets.push(start_nginx(options, &pinning, scratch.path(), upstream)?);
            }
            interleave(options, &pinning, scenario, &targets, &mut report)?;
            println!("token requests: {}", tokens.count("token request"));
        }
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json(&setting)).expect("figures are JSON");
        std::fs::write(file, text + "\n").map_err(|e| format!("{}: {e}", file.display()))?;
    }
    for error in report.errors() {
        println!("error: {error}");
    }
    Ok(ratio_holds(options, &report) && report.errors().is_empty())
}

fn chosen(options: &Options, default: &[Scenario]) -> Vec<Scenario> {
    let mut chosen = if options.scenarios.is_empty() { default.to_vec() } else { options.scenarios.clone() };
    if options.check_ratio.is_some() && !chosen.contains(&Scenario::Get1k) {
        chosen.insert(0, Scenario::Get1k);
    }
    chosen
}

fn setting(options: &Options, pinning: &Pinning, nginx: Option<&str>) -> Value {
    json!({
        "proxy": options.proxy.display().to_string(),
        "url": options.url,
        "nginx": nginx,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "rate": options.rate,
        "workers": options.workers,
        "proxies_on_cpu": pinning.proxies,
        "rest_on_cpu": pinning.rest,
    })
}

fn describe(setting: &Value) -> String {
    let pinned = match (&setting["proxies_on_cpu"], &setting["rest_on_cpu"]) {
        (Value::Number(proxies), Value::Number(rest)) => {
            format!("proxies pinned to CPU {proxies}, load and upstream to CPU {rest}")
        }
        _ => "nothing is pinned: figures will swing more".to_owned(),
    };
    let beside = match (&setting["url"], &setting["nginx"]) {
        (Value::String(url), _) => format!("driving {url}"),
        (_, Value::String(version)) => format!("beside {version}"),
        _ => "nginx is not installed: nothing to compare with".to_owned(),
    };
    format!("{} rounds of {} s; {pinned}; {beside}", setting["rounds"], setting["seconds"])
}

/// All rounds of one scenario, taking turns, and its table.
fn interleave(
    options: &Options,
    pinning: &Pinning,
    scenario: Scenario,
    targets: &[Target],
    report: &mut Report,
) -> Result<(), String> {
    for target in targets {
        probe(scenario, target).map_err(|problem| {
            let log = target.log.as_deref().map(end_of).unwrap_or_default();
            format!("{} at {}: {problem}\n{log}", target.name, target.address)
        })?;
    }
    for round in 1..=options.rounds {
        // Every other round backwards, so that no one always comes right after the same one.
        let order: Vec<&Target> =
            if round % 2 == 1 { targets.iter().collect() } else { targets.iter().rev().collect() };
        for target in order {
            let sample = one_round(options, pinning, scenario, target)?;
            let rate = sample.round.requests as f64 / sample.round.seconds;
            let cpu = sample.cpu_us.map(|cpu| format!(", {cpu:.1} us CPU each")).unwrap_or_default();
            eprintln!("{} {round}/{} {}: {rate:.0} requests/s{cpu}", scenario.name(), options.rounds, target.name);
            report.push(sample);
        }
    }
    println!("\n{}", scenario.title(options.connections, options.rate));
    print!("{}", report.table(scenario));
    Ok(())
}

fn one_round(options: &Options, pinning: &Pinning, scenario: Scenario, target: &Target) -> Result<Sample, String> {
    let mut command = pinning.role("drive");
    let path = target.path.as_deref().unwrap_or(scenario.path());
    command.args(["--scenario", scenario.name(), "--host", &target.host, "--path", path]);
    command.args(["--address", &target.address.to_string()]);
    command.args(["--connections", &options.connections.to_string(), "--rate", &options.rate.to_string()]);
    let warm_up = options.seconds / 4.0;
    command.args(["--seconds", &options.seconds.to_string(), "--warm-up", &warm_up.to_string()]);
    if direct(target) {
        command.arg("--with-token");
    }
    let told = |what: String| format!("the load generator: {what}");
    let generator = Child::start(command).map_err(|e| told(e.to_string()))?;
    let patience = Duration::from_secs_f64(options.seconds * 2.0) + 4 * GRACE;
    let pids = target.pid.map(tree).unwrap_or_default();
    generator.line("begin", patience).map_err(told)?;
    let before = cpu_time(&pids);
    generator.line("end", patience).map_err(told)?;
    let cpu = cpu_time(&pids).saturating_sub(before);
    let figures = generator.line("{", patience).map_err(told)?;
    let round: Round = serde_json::from_str(&format!("{{{figures}")).map_err(|e| told(e.to_string()))?;
    let counted = target.pid.is_some();
    Ok(Sample {
        scenario,
        target: target.name,
        cpu_us: (counted && round.requests > 0).then(|| cpu.as_secs_f64() * 1e6 / round.requests as f64),
        busy: counted.then(|| cpu.as_secs_f64() / round.seconds),
        peak_kib: counted.then(|| peak_kib(&pids)),
        pss_kib: counted.then(|| pss_kib(&pids)),
        round,
    })
}

fn direct(target: &Target) -> bool {
    target.name == "direct"
}

/// One request before the measurement, so that a wrong set-up is told plainly and not as a million errors.
fn probe(scenario: Scenario, target: &Target) -> Result<(), String> {
    let path = target.path.as_deref().unwrap_or(scenario.path());
    let token = direct(target).then(token);
    let request = scenario.request(&target.host, path, token.as_deref());
    let answer = exchange(target.address, &request).map_err(|e| e.to_string())?;
    match answer.get(9..12) {
        Some("200") => Ok(()),
        _ => Err(format!("the first request was answered\n{answer}")),
    }
}

/// The beginning of the answer.
fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let patience = Duration::from_secs(20);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request)?;
    let mut answer = vec![0; 2048];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// Says what came out of `--check-ratio`.
fn ratio_holds(options: &Options, report: &Report) -> bool {
    let Some(limit) = options.check_ratio else { return true };
    let ratios = report.ratios(Scenario::Get1k, "tokenferry");
    let holds = median(&ratios).is_some_and(|ratio| ratio <= limit);
    let verdict = if holds { "holds" } else { "FAILED" };
    println!("check: GET 1 KiB costs {} times nginx's CPU time, limit {limit}: {verdict}", spread(&ratios, 2));
    holds
}
