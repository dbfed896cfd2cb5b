//! The house keeps its own rules: floors, one place for vendors, nothing left half done.

mod plan;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use plan::Plan;
use source::{Source, paths_into_crate};

/// What stands outside the floors: the plan itself, and the door of the binary.
const DOORS: [&str; 2] = ["lib.rs", "main.rs"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn plan() -> Plan {
    Plan::parse(&fs::read_to_string(src().join("lib.rs")).unwrap())
}

/// Every source file that is not only tests.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && path.file_stem().is_some_and(|s| s != "tests")
                && !path.components().any(|c| c.as_os_str() == "tests")
            {
                let place = path.strip_prefix(src()).unwrap().to_str().unwrap().replace('\\', "/");
                files.push(Source::new(&place, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort_by(|a, b| a.place.cmp(&b.place));
    assert!(files.len() > 30, "the sources were not found");
    files
}

/// Imports that the plan does not allow, one line each.
fn trespasses(plan: &Plan, source: &Source) -> Vec<String> {
    if DOORS.contains(&source.place.as_str()) {
        return Vec::new();
    }
    let complain = |(line, module): (usize, String)| {
        let reason = plan.forbids(&source.place, &module)?;
        Some(format!("src/{}:{line}: {reason}", source.place))
    };
    paths_into_crate(source).into_iter().filter_map(complain).collect()
}

/// Lines of code (comments and tests aside) in which a word stands, in any case.
fn mentions(source: &Source, text: &str, words: &[&str]) -> Vec<String> {
    let found = |line: &str| words.iter().find(|word| line.to_ascii_lowercase().contains(**word)).copied();
    let told = |(n, line): (usize, &str)| found(line).map(|word| format!("src/{}:{}: {word}", source.place, n + 1));
    text.lines().enumerate().filter_map(told).collect()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_has_its_floor_and_every_floor_its_modules() {
    let lib = Source::new("lib.rs", &fs::read_to_string(src().join("lib.rs")).unwrap());
    let declared = |line: &str| Some(line.trim().strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    let mut modules: Vec<String> = lib.code.lines().filter_map(declared).collect();
    let mut planned = plan().modules();
    modules.sort();
    planned.sort();
    assert_eq!(modules, planned);
}

#[test]
fn the_floor_plan_itself_points_down() {
    assert_none(&plan().contradictions());
}

#[test]
fn no_room_names_one_that_it_may_not() {
    let plan = plan();
    assert_none(&sources().iter().flat_map(|source| trespasses(&plan, source)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_half_done() {
    let words = ["todo!", "unimplemented!", "dbg!"];
    assert_none(&sources().iter().flat_map(|source| mentions(source, &source.code, &words)).collect::<Vec<_>>());
}

/// Lines that compare something of a key, a secret or a digest by what ends at the first difference.
fn hasty_comparisons(source: &Source) -> Vec<String> {
    let hasty = ["==", "!=", ".eq(", ".ne(", ".cmp(", ".contains(", "starts_with(", ".strip_prefix("];
    let guarded = ["digest", "presented", "secret", "password", "expose"];
    let is_hasty = |line: &str| {
        // What tells one set of an issuer's public keys from the next is no secret.
        let line = line.to_ascii_lowercase().replace("keys.digest()", "");
        hasty.iter().any(|by| line.contains(by)) && guarded.iter().any(|what| line.contains(what))
    };
    let told =
        |(n, line): (usize, &str)| is_hasty(line).then(|| format!("src/{}:{}: {}", source.place, n + 1, line.trim()));
    source.code.lines().enumerate().filter_map(told).collect()
}

#[test]
fn keys_are_compared_in_constant_time_only() {
    let judges = |source: &&Source| source.place.starts_with("access") || source.place == "model/access.rs";
    let sources = sources();
    let judged: Vec<_> = sources.iter().filter(judges).collect();
    assert!(judged.len() >= 2, "the rooms of access were not found");
    assert_none(&judged.iter().flat_map(|source| hasty_comparisons(source)).collect::<Vec<_>>());
    assert!(judged.iter().any(|source| source.code.contains("ct_eq")), "somebody compares");
    for planted in ["if key.digest == digest {", "a.0.eq(&presented)", "keys.contains(&secret.expose())"] {
        assert_eq!(hasty_comparisons(&Source::new("access.rs", planted)).len(), 1, "{planted}");
    }
}

#[test]
fn vendors_are_named_in_their_own_files_and_in_the_demonstration_only() {
    let outside = |source: &&Source| !source.place.starts_with("vendor/") && !source.place.starts_with("demo/");
    let words = ["crewmojo", "crm_com", "crmcom", "crayon"];
    let named = |source: &Source| mentions(source, &source.without_comments, &words);
    assert_none(&sources().iter().filter(outside).flat_map(named).collect::<Vec<_>>());
}

#[test]
fn vendors_do_no_input_or_output_and_know_no_clock() {
    let impure = ["async ", ".await", "tokio", "std::fs", "std::env", "tcpstream", "::now()"];
    let vendors = |source: &&Source| source.place.starts_with("vendor/");
    let named = |source: &Source| mentions(source, &source.code, &impure);
    assert_none(&sources().iter().filter(vendors).flat_map(named).collect::<Vec<_>>());
}

/// Whoever is started gets the environment, with its secrets, and what is open.
#[test]
fn no_process_is_started() {
    let words = ["process::command", "process::{command", "tokio::process", "fork(", "exec("];
    assert_none(&sources().iter().flat_map(|source| mentions(source, &source.code, &words)).collect::<Vec<_>>());
}

/// Modules of the tests that ask how long they may run, by the paths of their tests.
fn long_runs() -> Vec<String> {
    let tests = src().parent().unwrap().join("tests");
    let asks = ["TOKENFERRY_SOAK_SECONDS", "long_or(", "soak::seconds()", "seconds()).await", "time("];
    let mut modules = Vec::new();
    for (folder, path) in [(tests.clone(), ""), (tests.join("threats"), "threats::")] {
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let long = text.contains(asks[0]) || text.contains("soak::") && asks.iter().any(|ask| text.contains(ask));
            if long || text.contains("rotation::") && text.contains("seconds()") {
                modules.push(format!("{path}{}", file.file_stem().unwrap().to_str().unwrap()));
            }
        }
    }
    modules.retain(|module| module != "house");
    modules
}

#[test]
fn whatever_has_a_long_form_has_it_in_make_soak() {
    let makefile = fs::read_to_string(src().parent().unwrap().join("Makefile")).unwrap();
    let soak: Vec<&str> =
        makefile.lines().find_map(|line| line.strip_prefix("SOAK ?= ")).unwrap().split_whitespace().collect();
    let modules = long_runs();
    assert!(modules.len() >= 10, "{modules:?}");
    let is_run = |module: &String| soak.iter().any(|name| format!("{module}::").starts_with(name));
    assert_none(&modules.into_iter().filter(|module| !is_run(module)).collect::<Vec<_>>());
}

#[test]
fn the_door_of_the_binary_is_a_door() {
    let main = fs::read_to_string(src().join("main.rs")).unwrap();
    assert!(main.lines().count() < 100, "main.rs has grown into a room");
}

/// What is said of a file with this text at this place.
fn judged(place: &str, text: &str) -> Vec<String> {
    trespasses(&plan(), &Source::new(place, text))
}

#[test]
fn a_planted_trespass_is_seen_wherever_it_hides() {
    for (place, text) in [
        ("vendor/x.rs", "use crate::token::Cell;"),
        ("vendor/x.rs", "use crate::telemetry::Event;"),
        ("model/path.rs", "use crate::secret::Secret;"),
        ("model/path.rs", "fn f() -> crate::secret::Secret { todo!() }"),
        ("token/cell.rs", "use crate::upstream::Upstream;"),
        ("token/fetch.rs", "use crate::{\n    model::Origin,\n    proxy::{Walk, Refusal},\n};"),
        ("route/table.rs", "pub(crate) use crate :: live :: Snapshot;"),
        ("route/table.rs", "type A = Vec<super::super::proxy::Walk>;"),
        ("access.rs", "use super::live::Snapshot;"),
        ("proxy/walk.rs", "use crate::config::Settings;"),
        ("server/mod.rs", "use crate::nowhere::Thing;"),
        ("server/mod.rs", "use super::app::run;"),
        ("live.rs", "mod a { /* { */ const B: char = '{'; } use crate::app::run;"),
        ("live.rs", "#[cfg(test)] mod tests { use crate::app::run; } use crate::app::run;"),
        ("live.rs", "#[cfg(test)] use crate::app::run; fn a(b: &'static str) { crate::app::run() }"),
        ("live.rs", "const A: &str = r#\"\"#; use crate::app::run;"),
        ("live.rs", "const A: &str = \"\\\"\"; use crate::app::run;"),
        ("app.rs", "use crate::cli::Command;"),
    ] {
        assert_eq!(judged(place, text).len(), 1, "{place}: {text}");
    }
}

#[test]
fn what_the_plan_allows_is_let_be() {
    for (place, text) in [
        ("vendor/x.rs", "use crate::secret::Secret;\nuse crate::{model::Origin, vendor::Vendor};"),
        ("token/fetch.rs", "use crate::upstream::Upstream;\nuse super::Cell;"),
        ("token/fetch/answer.rs", "use crate::upstream::Upstream;\nuse super::super::cell::Cell;"),
        ("route/table.rs", "use crate::model::MatchSpec;\nuse crate::token::Lane;\nuse super::tree::PrefixTree;"),
        (
            "live.rs",
            "//! See `use crate::app::run`.\n/* crate::app /* crate::cli */ */ const A: &str = \"crate::app::run\";",
        ),
        ("live.rs", "#[cfg(test)]\nmod tests {\n    use crate::app::run;\n    const A: char = '}';\n}"),
        ("live.rs", "#[cfg(test)]\n#[allow(dead_code)]\nfn f(a: [u8; 2]) { crate::app::run() }"),
        ("assemble.rs", "use crate::config::Settings;"),
        ("cli/run.rs", "use crate::app::run;\nuse crate::demo::Demo;\nuse super::super::config::Settings;"),
        ("main.rs", "use tokenferry::cli;"),
    ] {
        assert_none(&judged(place, text));
    }
}
