//! Who runs on which CPU.

use crate::process::allowed_cpus;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Which CPUs the proxies get, and which everything else; none where nothing is pinned.
#[derive(Clone)]
pub(crate) struct Pinning {
    pub(crate) proxies: Option<String>,
    pub(crate) rest: Option<String>,
}

impl Pinning {
    /// A CPU for each worker, and the others for the rest. Of several workers only where as many CPUs are left for
    /// the rest: load and upstream would hold them up.
    pub(crate) fn new(workers: u32) -> Self {
        let cpus = allowed_cpus();
        let workers = workers as usize;
        let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if cpus.len() < workers * 2 || !taskset.is_ok_and(|status| status.success()) {
            return Self { proxies: None, rest: None };
        }
        let list = |cpus: &[u32]| Some(cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
        let (proxies, rest) = cpus.split_at(workers);
        Self { proxies: list(proxies), rest: list(rest) }
    }

    fn command(program: impl AsRef<OsStr>, cpus: Option<&str>) -> Command {
        let Some(cpus) = cpus else { return Command::new(program) };
        // It replaces itself by the program: the id stays.
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpus).arg(program);
        command
    }

    /// A program that is measured.
    pub(crate) fn proxy(&self, program: impl AsRef<OsStr>) -> Command {
        Self::command(program, self.proxies.as_deref())
    }

    /// This very program, in a role.
    pub(crate) fn role(&self, name: &str) -> Command {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Self::command(program, self.rest.as_deref());
        command.arg(name);
        command
    }
}
