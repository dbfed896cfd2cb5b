//! Who is measured, and how each is started.
//!
//! - `pinning`: who runs on which CPU
//! - `certificates`: made anew for each run
//! - `stage`: the vendor behind them all
//! - `ours`: the proxy
//! - `others`: nginx, `HAProxy` and what `--peer` names
//! - `peer`: what `--peer` is told

pub(crate) mod certificates;
pub(crate) mod others;
pub(crate) mod ours;
pub(crate) mod peer;
pub(crate) mod pinning;
pub(crate) mod stage;

use crate::family::Child;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where requests go in a round.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Sent as `Host`.
    pub(crate) host: String,
    /// Instead of the scenario's path.
    pub(crate) path: Option<String>,
    pub(crate) headers: Vec<String>,
    /// Whose CPU time and memory count.
    pub(crate) pid: Option<u32>,
    /// Whose metrics are read every second.
    pub(crate) admin: Option<SocketAddr>,
    /// Where its stderr goes.
    pub(crate) log: Option<PathBuf>,
    child: Option<Child>,
}

impl Target {
    fn of(name: &str, address: SocketAddr, child: Option<Child>, log: Option<PathBuf>) -> Self {
        let (name, host, pid) = (name.to_owned(), address.to_string(), child.as_ref().map(Child::pid));
        Self { name, address, host, path: None, headers: Vec::new(), pid, admin: None, log, child }
    }

    /// The upstream, asked with the right token: what the machine itself costs.
    pub(crate) fn direct(upstream: SocketAddr) -> Self {
        Self::of("direct", upstream, None, None)
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.name == "direct"
    }

    /// Whether it still runs, if it was started here.
    pub(crate) fn runs(&self) -> bool {
        self.child.as_ref().is_none_or(|child| crate::process::alive(child.pid()))
    }

    /// What the user runs.
    pub(crate) fn url(url: &str, pid: Option<u32>, headers: &[String]) -> Result<Self, String> {
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
        let (host, headers) = (authority.to_owned(), headers.to_vec());
        Ok(Self { host, path: Some(path), headers, pid, ..Self::of("url", address, None, None) })
    }

    /// The end of what it has to say.
    pub(crate) fn last_words(&self) -> String {
        self.log.as_deref().map(end_of).unwrap_or_default()
    }
}

/// Starts what can't take port 0: on ports that were free a moment ago, again where somebody was faster. The
/// first of the ports tells when it listens.
fn start_on_free_ports<const N: usize>(
    what: &str,
    log: &Path,
    mut command: impl FnMut([SocketAddr; N]) -> Result<Command, String>,
) -> Result<(Child, [SocketAddr; N]), String> {
    for _ in 0..3 {
        let ports = free_ports::<N>()?;
        let mut command = command(ports)?;
        command.stderr(stderr_to(log)?);
        let child = Child::start(command).map_err(|e| format!("{what}: {e}"))?;
        if listens(&child, ports[0]) {
            return Ok((child, ports));
        }
        // One that lives and does not listen has lost no race.
        if crate::process::alive(child.pid()) {
            return Err(format!("{what} does not listen on {} within {PATIENCE:?}\n{}", ports[0], end_of(log)));
        }
    }
    Err(format!("{what} does not start\n{}", end_of(log)))
}

fn free_ports<const N: usize>() -> Result<[SocketAddr; N], String> {
    let told = |e: std::io::Error| format!("no free port: {e}");
    // Held together, so that no two are the same.
    let mut held = Vec::new();
    let mut ports = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for port in &mut ports {
        let listener = TcpListener::bind(*port).map_err(told)?;
        *port = listener.local_addr().map_err(told)?;
        held.push(listener);
    }
    Ok(ports)
}

fn listens(child: &Child, address: SocketAddr) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && crate::process::alive(child.pid()) {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    false
}

fn stderr_to(log: &Path) -> Result<File, String> {
    File::create(log).map_err(|e| format!("{}: {e}", log.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

/// The last lines of a log.
fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
