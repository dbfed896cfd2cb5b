//! What a warm request costs in instructions and allocations grows only where somebody says so: it is counted, and
//! held against `benches/cost.json`. Both are of the build that the tests use anyway; what the figures of an
//! optimised one have to be is `make bench`'s business (`--scenario counts`).

#[path = "../benches/load/counts/mod.rs"]
mod counts;
#[path = "../benches/load/process.rs"]
#[allow(dead_code, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the harness uses the rest")]
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::harness::process::{Process, write};
use crate::harness::proxy::complete;
use crate::harness::raw::Wire;
use crate::load_harness::wire;
use counts::callgrind::{Callgrind, Cost, Lots, MISSING};
use counts::profile::Profile;

/// Instructions may grow by that share. Three runs on a busy machine lay 2.0 % apart: how often the proxy wakes up for as
/// many requests depends on when their parts arrive.
const GROWTH: f64 = 0.03;

/// What is lower by more than that share is to be kept.
const FALL: f64 = 0.05;

/// Less than one allocation a request is none: a table grows now and then.
const ALLOCATION: f64 = 0.5;

/// The C library copies by what the CPU can do, which is seven per cent of the figure: here as any x86-64 can.
const PLAIN_COPIES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX,-AVX_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,\
                            -SSSE3,-Fast_Unaligned_Copy";

/// Reading more of them twice takes this build the better part of half a minute.
const ROUTES: usize = 200;

/// What a request through this build costs, and by which compiler that was built.
#[derive(Serialize, Deserialize)]
struct Baseline {
    rustc: String,
    instructions: f64,
    allocations: f64,
}

impl Baseline {
    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cost.json")
    }

    fn read() -> Self {
        serde_json::from_str(&std::fs::read_to_string(Self::file()).unwrap()).unwrap()
    }

    fn of(cost: Cost) -> Self {
        let instructions = cost.instructions.round();
        Self { rustc: rustc(), instructions, allocations: (cost.allocations * 10.0).round() / 10.0 }
    }

    fn write(&self) {
        std::fs::write(Self::file(), serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
    }

    /// What is to be said of a request that costs so much now.
    fn complaint(&self, now: Cost) -> Option<String> {
        let share = now.instructions / self.instructions - 1.0;
        let more = now.allocations - self.allocations;
        let what = if share > GROWTH || more >= ALLOCATION {
            "a warm request has become dearer: find out why"
        } else if share < -FALL || more <= -ALLOCATION {
            "a warm request has become cheaper: keep it"
        } else {
            return None;
        };
        let (before, after) = (self.instructions, now.instructions);
        let mut text = format!(
            "{what}\n  instructions {before:.0} -> {after:.0} ({:+.1} %)\n  allocations {:.1} -> {:.1} ({more:+.1})\n\
             Where it has to be so, `UPDATE_COST=1 cargo test --test tests -- cost::` writes benches/cost.json anew; \
             its commit says why.",
            share * 100.0,
            self.allocations,
            now.allocations
        );
        if self.rustc != rustc() {
            text += &format!("\nThe figures before are of {}; this is {}.", self.rustc, rustc());
        }
        Some(text)
    }
}

fn rustc() -> String {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    String::from_utf8_lossy(&output.unwrap().stdout).split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Everything on: many routes, of which the last is asked, a token of usual length, the admin port's metrics,
/// the access log as it is by itself.
fn configuration(upstream: &Wire, vendor: &Wire) -> String {
    let mut yaml = format!(
        "admin: {{address: '127.0.0.1:0'}}\ncredentials:\n  bench: {{provider: oauth2, token_url: '{}', \
         grant: client_credentials, client_id: bench, client_secret: bench-secret}}\nroutes:\n",
        vendor.url("/token")
    );
    for number in 1..ROUTES {
        yaml += &format!("  - {{name: r{number:04}, match: {{path: /r{number:04}}}, respond: 404}}\n");
    }
    yaml + &format!(
        "  - {{name: it, match: {{path: /}}, upstream: '{}', credential: bench, access: public}}\n",
        upstream.url("")
    )
}

async fn vendor() -> Wire {
    let body = format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600}}"#, "t".repeat(900));
    let length = body.len();
    Wire::always(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"))
        .await
}

async fn upstream() -> Wire {
    let body = "x".repeat(1024);
    Wire::always(format!(
        "HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n{body}"
    ))
    .await
}

fn count(yaml: &str) -> Cost {
    assert!(Callgrind::is_there(), "{MISSING}");
    let folder = TempDir::new().unwrap();
    write(folder.path(), &complete(yaml));
    let callgrind = Callgrind::new(folder.path()).unwrap();
    let mut command = callgrind.command(Path::new(env!("CARGO_BIN_EXE_tokenferry")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("TOKENFERRY_DUMPABLE", "1").env("GLIBC_TUNABLES", PLAIN_COPIES);
    command.arg("run").current_dir(folder.path());
    let process = Process::launch(Arc::new(folder), command);
    let request = format!(
        "GET /1k HTTP/1.1\r\nHost: {}\r\nUser-Agent: cost\r\nAccept: */*\r\nAuthorization: Bearer mine\r\n\r\n",
        process.address
    );
    let lots = Lots { warm_up: 50, small: 20, large: 220 };
    callgrind.cost(process.pid(), process.address, request.as_bytes(), lots).unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "benches/cost.json is of x86-64")]
async fn a_warm_request_costs_what_it_did() {
    let (vendor, upstream) = (vendor().await, upstream().await);
    let yaml = configuration(&upstream, &vendor);
    let cost = tokio::task::spawn_blocking(move || count(&yaml)).await.unwrap();
    println!("{:.0} instructions, {:.2} allocations", cost.instructions, cost.allocations);
    if std::env::var_os("UPDATE_COST").is_some() {
        return Baseline::of(cost).write();
    }
    if let Some(complaint) = Baseline::read().complaint(cost) {
        panic!("{complaint}");
    }
}

#[test]
fn what_grows_or_falls_beyond_the_bounds_is_told_and_by_how_much() {
    let baseline = Baseline::of(Cost { instructions: 500_000.0, allocations: 20.0 });
    let said = |instructions, allocations| baseline.complaint(Cost { instructions, allocations }).unwrap_or_default();
    for (instructions, allocations) in [(500_000.0, 20.0), (514_900.0, 20.4), (475_100.0, 19.6)] {
        assert_eq!(said(instructions, allocations), "");
    }
    for (instructions, allocations, told) in [
        (516_000.0, 20.0, "dearer: find out why\n  instructions 500000 -> 516000 (+3.2 %)"),
        (
            400_000.0,
            21.0,
            "dearer: find out why\n  instructions 500000 -> 400000 (-20.0 %)\n  allocations 20.0 -> 21.0 (+1.0)",
        ),
        (474_000.0, 20.0, "cheaper: keep it\n  instructions 500000 -> 474000 (-5.2 %)"),
        (
            500_000.0,
            19.0,
            "cheaper: keep it\n  instructions 500000 -> 500000 (+0.0 %)\n  allocations 20.0 -> 19.0 (-1.0)",
        ),
    ] {
        let said = said(instructions, allocations);
        assert!(said.contains(told) && said.contains("UPDATE_COST=1"), "{said}");
    }
    let old = Baseline { rustc: "rustc 1.0.0".into(), ..baseline };
    let said = old.complaint(Cost { instructions: 600_000.0, allocations: 20.0 }).unwrap();
    assert!(said.contains("are of rustc 1.0.0; this is rustc"), "{said}");
}

#[test]
fn calls_of_the_allocator_are_added_up_whoever_makes_them() {
    let text = "fn=(1) main\n16 5\ncfn=(2) _rjem_malloc\ncalls=3 0\n16 90\ncfn=(3) _rjem_je_arena_boot\ncalls=7 0\n16 9\n\n\
                fn=(4) other\n+3 2\ncfi=(9)\ncfn=(2)\ncalls=4 +5\n* 12\ncfn=(5) _rjem_realloc\ncalls=1 0\n+1 2\n\ntotals: 1234\n";
    assert_eq!(Profile::parse(text), Ok(Profile { instructions: 1234, allocations: 8 }));
    let nameless = text.replace("_rjem_malloc", "0x0000000000401000").replace("_rjem_realloc", "0x1");
    assert!(Profile::parse(&nameless).unwrap_err().contains("stripped"));
}
