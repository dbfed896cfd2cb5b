//! The processes that the harness starts, and their end: on every way out, by their ids.

use crate::process;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long a child may take to end by itself when asked to.
const PATIENCE: Duration = Duration::from_secs(3);

static LIVING: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static SCRATCH: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Survives a panic elsewhere: that is when it is needed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process of ours. Dropping it ends it.
pub(crate) struct Child {
    child: std::process::Child,
    /// Shared by those who watch it from several threads.
    lines: Mutex<Receiver<String>>,
}

impl Child {
    /// Starts it with stdin held open (a role of ours ends when that closes) and reads its stdout by lines.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Held while it starts, so that a signal cannot come between its birth and its entry.
        let mut living = locked(&LIVING);
        let mut child = command.spawn()?;
        living.push(child.id());
        drop(living);
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Read to the end whether or not somebody listens: a full pipe would stop the child.
                let _ = sender.send(line);
            }
        });
        Ok(Self { child, lines: Mutex::new(lines) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that starts with `prefix`, without it.
    pub(crate) fn line(&self, prefix: &str, patience: Duration) -> Result<String, String> {
        let deadline = Instant::now() + patience;
        loop {
            match locked(&self.lines).recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return Ok(rest.to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(format!("no line {prefix:?} within {patience:?}")),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("ended without a line {prefix:?}")),
            }
        }
    }

    /// What stood behind this prefix in lines that have come since the last look.
    pub(crate) fn rest(&self, prefix: &str) -> Vec<String> {
        locked(&self.lines).try_iter().filter_map(|line| line.strip_prefix(prefix).map(str::to_owned)).collect()
    }

    /// Asks it to end, as by Ctrl-C, and waits until it has.
    pub(crate) fn interrupt(self, patience: Duration) {
        send(self.pid(), Signal::INT);
        let deadline = Instant::now() + patience;
        while process::alive(self.pid()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        end(&[self.pid()]);
        let _ = self.child.wait();
        locked(&LIVING).retain(|&pid| pid != self.child.id());
    }
}

/// Asks, waits, and then insists.
fn end(roots: &[u32]) {
    let all: Vec<u32> = roots.iter().flat_map(|&root| process::tree(root)).collect();
    for &pid in roots {
        send(pid, Signal::TERM);
    }
    let deadline = Instant::now() + PATIENCE;
    while all.iter().any(|&pid| process::alive(pid)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    for pid in all.into_iter().filter(|&pid| process::alive(pid)) {
        send(pid, Signal::KILL);
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// From now on an interrupt ends the children, and the directory, before the harness.
pub(crate) fn watch_signals(scratch: PathBuf) {
    *locked(&SCRATCH) = Some(scratch);
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut hangup = signal(SignalKind::hangup()).unwrap();
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        // Held to the end: nobody is born any more.
        let living = locked(&LIVING);
        end(&living);
        for &pid in living.iter() {
            // The main thread may be faster, or never come to it.
            let _ = waitpid(raw(pid), WaitOptions::NOHANG);
        }
        if let Some(scratch) = locked(&SCRATCH).take() {
            let _ = std::fs::remove_dir_all(scratch);
        }
        eprintln!("interrupted");
        std::process::exit(130);
    });
}

/// For a role of ours: returns when the parent has closed stdin, or is gone.
pub(crate) fn outlive_no_parent() -> ExitCode {
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
