//! The real binary, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::proxy::complete;
use super::secrets;

/// A `tokenferry run` that is killed when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    pub folder: Arc<TempDir>,
}

impl Process {
    /// Starts it with this configuration and these variables, and waits until it listens.
    pub fn start(yaml: &str, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        write(folder.path(), &complete(yaml));
        Self::start_in(folder, variables)
    }

    /// The same, in a folder that has its `proxy.yaml` already.
    pub fn start_in(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let mut command = command(folder.path());
        command.arg("run");
        // What it says is searched for secrets, so that it had better say much.
        let yaml = std::fs::read_to_string(folder.path().join("proxy.yaml")).unwrap_or_default();
        if !yaml.contains("log:") {
            command.env("TOKENFERRY_LOG", "trace");
        }
        command.envs(variables.iter().copied());
        Self::launch(Arc::new(folder), command)
    }

    /// Another one in the same folder, while this one runs. The test's own servers and clients go on
    /// meanwhile.
    pub async fn successor(&self) -> Self {
        let folder = Arc::clone(&self.folder);
        let mut command = command(folder.path());
        command.arg("run");
        tokio::task::spawn_blocking(move || Self::launch(folder, command)).await.unwrap()
    }

    /// Runs a command that becomes the proxy, and waits until it listens.
    pub fn launch(folder: Arc<TempDir>, mut command: Command) -> Self {
        secrets::keep_those_of(&std::fs::read_to_string(folder.path().join("proxy.yaml")).unwrap_or_default());
        let given = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        secrets::keep_variables(given);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut readers = vec![collect(child.stderr.take().unwrap(), Arc::clone(&stderr))];
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no address but {line:?}; stderr: {}", stderr.lock().unwrap()));
        // What else it says there is kept beside the log.
        stderr.lock().unwrap().push_str(&line);
        readers.push(collect(stdout, Arc::clone(&stderr)));
        Self { child, address, stderr, readers, folder }
    }

    /// The admin port's address, once it is told.
    pub async fn admin(&self) -> SocketAddr {
        // Beside the log it may stand in the middle of a line.
        let told = || {
            let log = self.log();
            Some(log.split_once("admin on ")?.1.split_once('\n')?.0.to_owned())
        };
        super::eventually("the admin port's address", || told().is_some()).await;
        told().unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another configuration, by rename, as editors do.
    pub fn rewrite(&self, yaml: &str) {
        secrets::keep_those_of(yaml);
        replace(&self.folder.path().join("proxy.yaml"), &complete(yaml));
    }

    /// How many configurations it has taken, the first included.
    pub fn taken(&self) -> usize {
        self.log().matches("configuration taken").count()
    }

    /// What it has logged until now, and said on stdout.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends a signal by name, as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it runs still.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end without holding up the test's own servers; fails after ten seconds.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.runs() {
            assert!(Instant::now() < deadline, "it does not end; log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.wait()
    }

    /// Waits for its end; all it logged is then in the second part.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        (status, self.log())
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// A figure in KiB of /proc/PID/status, such as `VmRSS` or `VmHWM`.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in std::mem::take(&mut self.readers) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            return;
        }
        if let Some(line) = secrets::line_with_one(&self.log()) {
            panic!("a secret is in the output: {line}");
        }
    }
}

/// Whether a process has a connection to this loopback port.
pub fn holds_connection_to(pid: u32, port: u16) -> bool {
    // Of /proc/net/tcp: the third field is the remote address, the fourth the state, the tenth the inode.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!("0100007F:{port:04X}");
    let inodes: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(2) == Some(&remote.as_str()) && fields.get(3) == Some(&"01"))
        .filter_map(|fields| Some(format!("socket:[{}]", fields.get(9)?)))
        .collect();
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| inodes.iter().any(|inode| target.to_str() == Some(inode)))
}

/// Replaces a file by rename.
pub fn replace(file: &Path, content: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, file).unwrap();
}

/// The binary, in this folder, with an empty environment but for PATH.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenferry"));
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null());
    command
}

/// Writes a `proxy.yaml` in which secrets may stand: not for everyone to read, or it is warned of.
pub fn write(folder: &Path, yaml: &str) {
    let file = folder.join("proxy.yaml");
    std::fs::write(&file, yaml).unwrap();
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
}

/// Runs a command of the binary in a folder that has this `proxy.yaml`.
pub fn run(yaml: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = TempDir::new().unwrap();
    write(folder.path(), yaml);
    command(folder.path()).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    })
}
