//! What all commands have in common: statuses, streams, help, odd arguments.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use super::{Ran, ran, ran_with};
use crate::harness::process;

const GOOD: &str = "\
listeners: [{address: 127.0.0.1:8080}]
credentials:
  key: {provider: static, token: 'hunter2'}
routes:
  - {name: one, upstream: https://api.example.com/v1, credential: key}
";

const COMMANDS: [&str; 13] = [
    "run",
    "check",
    "explain",
    "token",
    "config",
    "reload",
    "healthcheck",
    "hash-password",
    "schema",
    "demo",
    "completions",
    "man",
    "help",
];

#[test]
fn every_command_has_help_on_stdout() {
    let top = ran("", &["--help"]).done();
    for command in COMMANDS {
        assert!(top.contains(&format!("\n  {command}")), "{command}: {top}");
        let help = ran("", &["help", command]).done();
        assert!(help.contains("Usage: tokenferry"), "{help}");
    }
    for command in COMMANDS.into_iter().filter(|command| *command != "help") {
        let help = ran("", &[command, "--help"]).done();
        assert!(help.contains("Example"), "{command}: {help}");
    }
    assert_eq!(ran("", &["--version"]).done(), concat!("tokenferry ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_ends_with_2_and_says_why_on_stderr() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["check", "--nonsense"],
        &["check", "--format", "xml"],
        &["explain", "GET"],
        &["explain", "GET", "employees"],
        &["explain", "GET", "http://user:hunter3@host/"],
        &["explain", "GET", "http:///x"],
        &["explain", "G T", "/"],
        &["explain", "GET", "/", "-H", "no colon: hunter3".strip_prefix("no colon: ").unwrap()],
        &["explain", "GET", "/", "-H", "a b: hunter3"],
        &["explain", "GET", "/", "-H", "a: hunter3\n"],
        &["explain", "GET", "/", "--peer", "nowhere"],
        &["token"],
        &["completions", "cmd"],
    ] {
        let ran = ran(GOOD, arguments);
        if arguments.last() == Some(&"a: hunter3\n") {
            assert_eq!(ran.code, Some(0), "white space around a value is not part of it");
            continue;
        }
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.trim().is_empty());
        assert!(!ran.err.contains("hunter3"), "{}", ran.err);
    }
}

#[test]
fn arguments_that_are_no_text_are_no_panic() {
    let odd = OsStr::from_bytes(b"\xff\xfe");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), GOOD).unwrap();
    std::fs::write(folder.path().join(odd), GOOD).unwrap();
    let run = |arguments: &[&OsStr]| Ran::from(process::command(folder.path()).args(arguments).output().unwrap());
    for command in COMMANDS {
        let ran = run(&[command.as_ref(), odd, odd]);
        assert!(matches!(ran.code, Some(2)), "{command}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
    for arguments in [&["explain", "GET", "/", "-H"][..], &["explain", "GET", "/", "-d"], &["check", "--format"]] {
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        all.push(odd);
        assert_eq!(run(&all).code, Some(2), "{arguments:?}");
    }
    let named = run(&["check".as_ref(), "-c".as_ref(), odd]);
    assert_eq!(named.code, Some(0), "a file may have any name: {named:?}");
    let by_variable = process::command(folder.path()).arg("check").env("TOKENFERRY_CONFIG", odd).output().unwrap();
    assert_eq!(by_variable.status.code(), Some(0));
    let logs = process::command(folder.path()).arg("check").env("TOKENFERRY_LOG", odd).output().unwrap();
    assert_eq!(logs.status.code(), Some(0));
}

#[test]
fn the_configuration_is_named_by_option_before_variable_before_default() {
    let folder = tempfile::tempdir().unwrap();
    for (name, routes) in [("proxy.yaml", 1), ("two.yaml", 2), ("three.yaml", 3)] {
        let route = |place| format!("  - {{name: r{place}, match: {{path: /{place}}}, respond: 404}}\n");
        let routes: String = (0..routes).map(route).collect();
        let text = format!("listeners: [{{address: 127.0.0.1:8080}}]\nroutes:\n{routes}");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let run = |arguments: &[&str], variable: Option<&str>| {
        let mut command = process::command(folder.path());
        Ran::from(command.args(arguments).envs(variable.map(|v| ("TOKENFERRY_CONFIG", v))).output().unwrap()).done()
    };
    assert_eq!(run(&["check"], None), "proxy.yaml: ok, 1 route, 0 credentials\n");
    assert_eq!(run(&["check"], Some("two.yaml")), "two.yaml: ok, 2 routes, 0 credentials\n");
    assert_eq!(run(&["check", "-c", "three.yaml"], Some("two.yaml")), "three.yaml: ok, 3 routes, 0 credentials\n");
}

#[test]
fn an_invalid_configuration_ends_every_command_with_78() {
    let bad = GOOD.replace("provider: static", "provider: statc");
    for arguments in
        [&["run"][..], &["check"], &["config"], &["token", "key"], &["explain", "GET", "/"], &["token", "other"]]
    {
        let ran = ran(&bad, arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(78), ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("proxy.yaml:3:") && ran.err.contains("did you mean `static`?"), "{}", ran.err);
        assert!(!ran.err.contains('\u{1b}'), "no colours but on a terminal: {}", ran.err);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    process::write(folder.path(), GOOD);
    for arguments in
        [&["schema"][..], &["man"], &["completions", "bash"], &["check"], &["config"], &["explain", "GET", "/"]]
    {
        let mut child = process::command(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As `| head -0` does.
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = process::command(folder.path()).arg("schema").stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the result"));
}

#[test]
fn the_schema_is_json_and_knows_the_fields() {
    let schema = ran("", &["schema"]).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["routes"].is_object());
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ran("", &["completions", shell]).done();
        assert!(script.contains("explain"), "{shell}");
    }
}

#[test]
fn the_effective_configuration_has_defaults_and_no_secrets_in_both_forms() {
    let yaml = ran(GOOD, &["config"]).done();
    assert!(yaml.contains("token: '***'") && yaml.contains("response: 60s"), "{yaml}");
    assert_eq!(ran(GOOD, &["config", "--format", "text"]).done(), yaml);
    let json = ran(GOOD, &["config", "--format", "json"]).json();
    assert_eq!(json["credentials"]["key"]["token"], "***");
    assert_eq!(json["routes"][0]["timeouts"]["response"], "60s");
    let bad = ran(GOOD, &["config", "--format", "toml"]);
    assert_eq!(bad.code, Some(2));
}

#[test]
fn a_log_filter_that_is_none_is_wrong_usage() {
    let ran = ran_with(GOOD, &["check"], &[("TOKENFERRY_LOG", "=;=")]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("TOKENFERRY_LOG is not understood"), "{}", ran.err);
}

#[test]
fn config_leaves_out_the_bounds_that_the_machine_sets_since_the_proxy_may_run_under_others() {
    let shown: serde_json::Value =
        serde_json::from_str(&ran(GOOD, &["config", "--format", "json"]).done()).expect("one object");
    assert!(shown["limits"]["connections"].is_null() && shown["limits"]["memory"].is_null(), "{shown}");
    assert_eq!(shown["routes"][0]["limits"]["body_rate"], 100);
}
