//! One round of one target.

use crate::drive::GRACE;
use crate::family::Child;
use crate::figures::sample::{Round, Sample};
use crate::process::{cpu_time, peak_kib, pss_kib, tree};
use crate::scenario::Client;
use crate::targets::Target;
use crate::targets::stage::Stage;
use crate::token::{FIXED, token};
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Scope, scope};
use std::time::Duration;

/// How often metrics are read where they are.
const SCRAPE: Duration = Duration::from_secs(1);

/// What the load generator is to do.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) rate: u32,
    pub(crate) seconds: f64,
}

/// Starts the load generator.
pub(crate) fn generator(stage: &Stage<'_>, target: &Target, load: Load) -> Result<Child, String> {
    let mut command = stage.pinning.role("drive");
    let path = target.path.as_deref().unwrap_or(stage.traffic.path);
    command.args(["--scenario", stage.traffic.name, "--host", &target.host, "--path", path]);
    for header in &target.headers {
        command.args(["--header", header]);
    }
    command.args(["--address", &target.address.to_string()]);
    command.args(["--connections", &load.connections.to_string(), "--rate", &load.rate.to_string()]);
    let warm_up = load.seconds / 4.0;
    command.args(["--seconds", &load.seconds.to_string(), "--warm-up", &warm_up.to_string()]);
    command.arg("--certificate").arg(&stage.certificates.certificate);
    if target.is_direct() {
        command.arg("--with-token");
    }
    Child::start(command).map_err(|e| told(&e))
}

fn told(what: &dyn Display) -> String {
    format!("the load generator: {what}")
}

/// The generator's own account, when it is done.
pub(crate) fn account(generator: &Child, prefix: &str, patience: Duration) -> Result<Round, String> {
    let figures = generator.line(prefix, patience).map_err(|e| told(&e))?;
    let json = if prefix == "{" { format!("{{{figures}") } else { figures };
    serde_json::from_str(&json).map_err(|e| told(&e))
}

pub(crate) fn measure(stage: &Stage<'_>, target: &Target, load: Load) -> Result<Sample, String> {
    scope(|scope| {
        let _scraper = target.admin.map(|admin| scrape(scope, admin));
        let generator = generator(stage, target, load)?;
        let patience = Duration::from_secs_f64(load.seconds * 2.0) + 10 * GRACE;
        generator.line("begin", patience).map_err(|e| told(&e))?;
        let pids = target.pid.map(tree).unwrap_or_default();
        let before = cpu_time(&pids);
        generator.line("end", patience).map_err(|e| told(&e))?;
        let cpu = cpu_time(&pids).saturating_sub(before);
        let round = account(&generator, "{", patience)?;
        if !target.runs() {
            return Err(format!("{} has ended\n{}", target.name, target.last_words()));
        }
        let counted = target.pid.is_some();
        Ok(Sample {
            cpu_us: (counted && round.requests > 0).then(|| cpu.as_secs_f64() * 1e6 / round.requests as f64),
            busy: counted.then(|| cpu.as_secs_f64() / round.seconds),
            peak_kib: counted.then(|| peak_kib(&pids)),
            pss_kib: counted.then(|| pss_kib(&pids)),
            ..sample(stage, target, round)
        })
    })
}

/// Without what the kernel knows.
pub(crate) fn sample(stage: &Stage<'_>, target: &Target, round: Round) -> Sample {
    let (scenario, target) = (stage.traffic.name.to_owned(), target.name.clone());
    Sample { scenario, target, round, ..Sample::default() }
}

/// Reads the metrics every second until what it returns is dropped.
fn scrape<'scope>(scope: &'scope Scope<'scope, '_>, admin: SocketAddr) -> Sender<()> {
    let (stop, stopped) = channel();
    scope.spawn(move || {
        while stopped.recv_timeout(SCRAPE) == Err(RecvTimeoutError::Timeout) {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
            let read = TcpStream::connect(admin).and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                let mut text = Vec::new();
                stream.read_to_end(&mut text).map(|_| text)
            });
            match read {
                Ok(text) if text.starts_with(b"HTTP/1.1 200") => {}
                Ok(text) => panic!("the metrics: {}", String::from_utf8_lossy(&text)),
                Err(error) => panic!("the metrics: {error}"),
            }
        }
    });
    stop
}

/// One request before the measurement, so that a wrong set-up is told plainly and not as a million errors.
pub(crate) fn probe(stage: &Stage<'_>, target: &Target) -> Result<(), String> {
    if stage.traffic.client != Client::Plain {
        return Ok(());
    }
    let path = target.path.as_deref().unwrap_or(stage.traffic.path);
    let token = target.is_direct().then(|| token(FIXED));
    let request = stage.traffic.request(&target.host, path, &target.headers, token.as_deref());
    let answer = exchange(target.address, &request).map_err(|e| e.to_string());
    let problem = match answer {
        Ok(answer) if answer.get(9..12) == Some("200") => return Ok(()),
        Ok(answer) => format!("the first request was answered\n{answer}"),
        Err(problem) => problem,
    };
    Err(format!("{} at {}: {problem}\n{}", target.name, target.address, target.last_words()))
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
