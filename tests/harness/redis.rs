//! A real `redis-server` of a test's own.
#![allow(dead_code, reason = "each binary that includes this uses its own part of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How a server is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Every write goes to disk, and is there again after a restart.
    pub append_only: bool,
    /// What clients must say.
    pub password: Option<String>,
    /// Certificate and key: TLS, and nothing else.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// A `redis-server` on a free loopback port, killed when dropped.
pub struct RedisServer {
    pub port: u16,
    options: Options,
    child: Child,
    folder: TempDir,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts one; where another has taken the port meanwhile, on another.
    pub fn start_with(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(port, &options, folder.path()) {
                return Self { port, options, child, folder };
            }
        }
        panic!("redis-server does not start: {}", log(folder.path()));
    }

    /// Its URL, with the password where it asks for one.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let password = self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let host = if self.options.tls.is_some() { "localhost" } else { "127.0.0.1" };
        format!("{scheme}://{password}{host}:{}/0", self.port)
    }

    /// Whether a token lies in it; for a server that asks for neither a password nor TLS.
    pub fn has_token(&self) -> bool {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"KEYS *:token\r\n").unwrap();
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap();
        !answer[..length].starts_with(b"*0")
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(child) = launch(self.port, &self.options, self.folder.path()) {
                self.child = child;
                return;
            }
            assert!(Instant::now() < deadline, "not started again: {}", log(self.folder.path()));
        }
    }

    /// Stops it from answering, with every connection open, until [`RedisServer::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// What it was told to keep on disk.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that answers on this port; `None` where it ended, most often since the port was taken.
fn launch(port: u16, options: &Options, folder: &Path) -> Option<Child> {
    let mut command = Command::new("redis-server");
    let port_text = port.to_string();
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--logfile", "redis.log", "--dir"])
        .arg(folder);
    command.args(["--appendonly", if options.append_only { "yes" } else { "no" }, "--appendfsync", "always"]);
    match &options.tls {
        None => command.args(["--port", &port_text]),
        Some((cert, key)) => command
            .args(["--port", "0", "--tls-port", &port_text, "--tls-auth-clients", "no", "--tls-cert-file"])
            .arg(cert)
            .arg("--tls-key-file")
            .arg(key)
            .arg("--tls-ca-cert-file")
            .arg(cert),
    };
    if let Some(password) = &options.password {
        command.args(["--requirepass", password]);
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("redis-server cannot be run ({error}): these tests need it; `make test-tools` installs it")
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if answers(port, options.tls.is_some()) {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Whether it is past loading: any answer to PING will do, also that a password is needed.
fn answers(port: u16, tls: bool) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    if tls {
        return true;
    }
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = [0; 16];
    let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read(&mut answer));
    matches!(asked, Ok(1..)) && !answer.starts_with(b"-LOADING")
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}
