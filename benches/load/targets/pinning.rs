//! Who runs on which CPU.

use crate::process::allowed_cpus;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static SETPRIV: LazyLock<bool> = LazyLock::new(|| there("setpriv"));

/// Whether this tool of util-linux is there.
fn there(tool: &str) -> bool {
    let status = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

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
        if cpus.len() < workers * 2 || !there("taskset") {
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

    /// A program that is measured. It ends with the harness even where that is killed and can end nothing any more.
    pub(crate) fn proxy(&self, program: impl AsRef<OsStr>) -> Command {
        let pinned = Self::command(program, self.proxies.as_deref());
        if !*SETPRIV {
            return pinned;
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(pinned.get_program()).args(pinned.get_args());
        command
    }

    /// This very program, in a role.
    pub(crate) fn role(&self, name: &str) -> Command {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Self::command(program, self.rest.as_deref());
        command.arg(name);
        command
    }
}
