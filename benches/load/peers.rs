//! Who is measured: the proxy, nginx, and the upstream itself, without either.

use crate::args::Options;
use crate::family::Child;
use crate::process::allowed_cpus;
use crate::token::{CLIENT_ID, CLIENT_SECRET, token};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where requests go in a round.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Sent as `Host`.
    pub(crate) host: String,
    /// Instead of the scenario's path.
    pub(crate) path: Option<String>,
    /// Whose CPU time and memory count.
    pub(crate) pid: Option<u32>,
    /// Where its stderr goes.
    pub(crate) log: Option<PathBuf>,
    _child: Option<Child>,
}

impl Target {
    fn of(name: &'static str, address: SocketAddr, child: Option<Child>, log: Option<PathBuf>) -> Self {
        let pid = child.as_ref().map(Child::pid);
        Self { name, address, host: address.to_string(), path: None, pid, log, _child: child }
    }

    /// The upstream, asked with the right token: what the machine itself costs.
    pub(crate) fn direct(upstream: SocketAddr) -> Self {
        Self::of("direct", upstream, None, None)
    }

    /// What the user runs.
    pub(crate) fn url(url: &str, pid: Option<u32>) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or("--url: only http:// is driven")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        let port = port.parse::<u16>().map_err(|_| format!("--url: no port in {authority:?}"))?;
        let host = if host == "localhost" { "127.0.0.1" } else { host.trim_matches(['[', ']']) };
        let address = host.parse().map_err(|_| format!("--url: {host:?} is not an address"))?;
        let address = SocketAddr::new(address, port);
        if !address.ip().is_loopback() {
            return Err("--url: this is for your own machine: loopback addresses only".into());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { host: authority.to_owned(), path: Some(path), pid, ..Self::of("url", address, None, None) })
    }
}

/// Which CPU the proxies get, and which everything else.
pub(crate) struct Pinning {
    pub(crate) proxies: Option<u32>,
    pub(crate) rest: Option<u32>,
}

impl Pinning {
    pub(crate) fn new(workers: u32) -> Self {
        let cpus = allowed_cpus();
        let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        match (cpus.as_slice(), taskset) {
            ([first, second, ..], Ok(status)) if status.success() && workers == 1 => {
                Self { proxies: Some(*first), rest: Some(*second) }
            }
            _ => Self { proxies: None, rest: None },
        }
    }

    pub(crate) fn command(program: impl AsRef<OsStr>, cpu: Option<u32>) -> Command {
        let Some(cpu) = cpu else { return Command::new(program) };
        // It replaces itself by the program: the id stays.
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpu.to_string()).arg(program);
        command
    }

    /// This very program, in a role.
    pub(crate) fn role(&self, name: &str) -> Command {
        let mut command = Self::command(std::env::current_exe().expect("a program has a path"), self.rest);
        command.arg(name);
        command
    }
}

/// A role that serves, and where.
pub(crate) fn start_role(pinning: &Pinning, name: &str) -> Result<(Child, SocketAddr), String> {
    let child = Child::start(pinning.role(name)).map_err(|e| format!("{name}: {e}"))?;
    let address = child.line("listening on ", PATIENCE).map_err(|e| format!("{name}: {e}"))?;
    Ok((child, address.parse().map_err(|_| format!("{name} listens on {address:?}?"))?))
}

/// The proxy, in front of the upstream.
pub(crate) fn start_proxy(
    options: &Options,
    pinning: &Pinning,
    scratch: &Path,
    upstream: SocketAddr,
    token_server: SocketAddr,
) -> Result<Target, String> {
    let config = include_str!("../peers/proxy.yaml")
        .replace("@WORKERS@", &options.workers.to_string())
        .replace("@TOKEN_SERVER@", &token_server.to_string())
        .replace("@CLIENT_ID@", CLIENT_ID)
        .replace("@CLIENT_SECRET@", CLIENT_SECRET)
        .replace("@UPSTREAM@", &upstream.to_string());
    let file = scratch.join("proxy.yaml");
    fs::write(&file, config).map_err(|e| format!("{}: {e}", file.display()))?;
    let log = scratch.join("tokenferry.log");
    let mut command = Pinning::command(&options.proxy, pinning.proxies);
    command.arg("run").arg("-c").arg(&file).stderr(stderr_to(&log)?);
    let told = |what: String| format!("{}: {what}\n{}", options.proxy.display(), end_of(&log));
    let child = Child::start(command).map_err(|e| told(e.to_string()))?;
    let address = child.line("listening on ", PATIENCE).map_err(told)?;
    let address = address.trim().parse().map_err(|_| format!("the proxy listens on {address:?}?"))?;
    Ok(Target::of("tokenferry", address, Some(child), Some(log)))
}

/// nginx's own account of its version, where it is installed.
pub(crate) fn nginx_version() -> Option<String> {
    let output = Command::new("nginx").arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(text.trim().trim_start_matches("nginx version: ").to_owned())
}

/// nginx, in front of the upstream, with the token written into its configuration.
pub(crate) fn start_nginx(
    options: &Options,
    pinning: &Pinning,
    scratch: &Path,
    upstream: SocketAddr,
) -> Result<Target, String> {
    let log = scratch.join("nginx.log");
    let mut problem = String::new();
    // It cannot take port 0, so somebody may be faster at the port that was found free.
    for _ in 0..3 {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(|e| format!("no free port: {e}"))?;
        let config = include_str!("../peers/nginx.conf")
            .replace("worker_processes 1;", &format!("worker_processes {};", options.workers))
            .replace("@DIR@", &scratch.display().to_string())
            .replace("@LISTEN@", &address.to_string())
            .replace("@UPSTREAM@", &upstream.to_string())
            .replace("@TOKEN@", &token());
        let file = scratch.join("nginx.conf");
        fs::write(&file, config).map_err(|e| format!("{}: {e}", file.display()))?;
        let mut command = Pinning::command("nginx", pinning.proxies);
        command.arg("-p").arg(scratch).arg("-c").arg(&file).arg("-e").arg("stderr").stderr(stderr_to(&log)?);
        let child = Child::start(command).map_err(|e| format!("nginx: {e}"))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && crate::process::alive(child.pid()) {
            if TcpStream::connect(address).is_ok() {
                return Ok(Target::of("nginx", address, Some(child), Some(log)));
            }
            sleep(Duration::from_millis(10));
        }
        problem = end_of(&log);
    }
    Err(format!("nginx does not start\n{problem}"))
}

fn stderr_to(log: &Path) -> Result<File, String> {
    File::create(log).map_err(|e| format!("{}: {e}", log.display()))
}

/// The last lines of a log.
pub(crate) fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
