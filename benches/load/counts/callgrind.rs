//! The proxy under valgrind's callgrind. It starts without being watched, which is slow enough; once it is warm,
//! `vgdb` turns the counting on, and has what was counted written between one lot of requests and the next. What each
//! lot costs beside its requests (a connection that is parked and taken up again, ticks) goes away in the
//! difference of a small lot and a large one. What happens now and then only adds: of two lots the lesser counts.

use super::super::process::cpu_time;
use super::super::wire::{Intake, answer};
use super::profile::Profile;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const MISSING: &str =
    "valgrind cannot be run; `make test-tools` installs it (Debian: apt-get install valgrind)";

/// How long anything may take that is not counted by requests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Behind each lot: an unused connection is parked after a second, and that is to lie in every lot alike.
const QUIET: Duration = Duration::from_millis(1500);

/// As much of a CPU as a process may use in [`QUIET`] and be called at rest. Its ticks take less under valgrind.
const AT_REST: Duration = Duration::from_millis(250);

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

/// Requests before the first that counts, of a small lot, and of a large one.
#[derive(Clone, Copy)]
pub(crate) struct Lots {
    pub(crate) warm_up: u32,
    pub(crate) small: u32,
    pub(crate) large: u32,
}

/// A program to be counted, and where that leaves its files.
pub(crate) struct Callgrind {
    folder: PathBuf,
}

impl Callgrind {
    /// In a folder of its own below this one: the proxy watches that of its configuration, and looks at it anew when
    /// something is written there.
    pub(crate) fn new(below: &Path) -> Result<Self, String> {
        let folder = below.join("callgrind");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self { folder })
    }

    pub(crate) fn is_there() -> bool {
        Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
    }

    /// The program under callgrind: arguments of its own may follow.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("valgrind");
        command.args(["-q", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no"]);
        command.arg(self.option("--callgrind-out-file=", "callgrind")).arg(self.pipe()).arg(program);
        // vgdb has to wake it where it waits for the network, as debuggers do.
        command.env("TOKENFERRY_DUMPABLE", "1");
        command
    }

    /// Where vgdb and valgrind meet.
    fn pipe(&self) -> String {
        self.option("--vgdb-prefix=", "vgdb")
    }

    fn option(&self, name: &str, file: &str) -> String {
        format!("{name}{}", self.folder.join(file).display())
    }

    /// What a request costs on one connection, of the process that listens there.
    pub(crate) fn cost(&self, pid: u32, address: SocketAddr, request: &[u8], lots: Lots) -> Result<Cost, String> {
        let mut client = Client::connect(address)?;
        client.ask(request, lots.warm_up)?;
        rest(pid)?;
        self.tell(pid, &["instrumentation", "on"])?;
        let mut dumps = 0;
        let mut lot = |count: u32| {
            client.ask(request, count)?;
            rest(pid)?;
            dumps += 1;
            self.tell(pid, &["dump"])?;
            let file = self.folder.join(format!("callgrind.{dumps}"));
            let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            Profile::parse(&text)
        };
        // The first one begins without being parked, and is thrown away.
        lot(lots.small)?;
        let (small, large) = (lot(lots.small)?, lot(lots.large)?);
        let (small, large) = (small.least(lot(lots.small)?), large.least(lot(lots.large)?));
        let each = |figure: fn(&Profile) -> u64| {
            (figure(&large) as f64 - figure(&small) as f64) / f64::from(lots.large - lots.small)
        };
        Ok(Cost {
            instructions: each(|profile| profile.instructions),
            allocations: each(|profile| profile.allocations),
        })
    }

    fn tell(&self, pid: u32, words: &[&str]) -> Result<(), String> {
        let told = |what: String| format!("vgdb {}: {what}", words.join(" "));
        let mut command = Command::new("vgdb");
        command.arg(format!("--pid={pid}")).arg(self.pipe()).args(["--wait=10", "--cmd-time-out=60"]).args(words);
        let output = command.output().map_err(|e| told(e.to_string()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(told(said.into_owned())) }
    }
}

/// Waits until the process has nothing to do: after its start the configuration is looked at once more.
fn rest(pid: u32) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = cpu_time(&[pid]);
    while Instant::now() < deadline {
        sleep(QUIET);
        let now = cpu_time(&[pid]);
        if now.saturating_sub(before) < AT_REST {
            return Ok(());
        }
        before = now;
    }
    Err(format!("it does not come to rest within {PATIENCE:?}"))
}

/// One connection, one request at a time.
struct Client {
    stream: TcpStream,
    intake: Intake,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self, String> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|e: std::io::Error| format!("{address}: {e}"))?;
        Ok(Self { stream, intake: Intake::new(answer) })
    }

    fn ask(&mut self, request: &[u8], times: u32) -> Result<(), String> {
        for _ in 0..times {
            self.stream.write_all(request).map_err(|e| e.to_string())?;
            let verdict = loop {
                let count = self.stream.read(self.intake.space()).map_err(|e| e.to_string())?;
                if let Some(verdict) = self.intake.took(count)? {
                    break verdict;
                }
            };
            if verdict.code != 200 {
                return Err(format!("a request was answered {}", verdict.code));
            }
        }
        Ok(())
    }
}
