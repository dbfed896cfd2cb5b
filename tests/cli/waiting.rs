//! What is shown on a terminal only: that it waits, and colours.

use std::time::Duration;

use super::partner;
use crate::harness::process;
use crate::harness::terminal::Terminal;

/// Runs a command beside this `proxy.yaml` with a terminal as its stderr.
async fn on_a_terminal(yaml: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    process::write(folder.path(), yaml);
    let mut command = process::command(folder.path());
    command.args(arguments).envs(variables.iter().copied());
    let run = move || (Terminal::open().run(&mut command), folder);
    tokio::task::spawn_blocking(run).await.unwrap().0
}

#[tokio::test]
async fn a_person_sees_what_is_waited_for_and_no_trace_of_it_afterwards() {
    let (vendor, yaml) = partner().await;
    vendor.adjust(|options| options.token_delay = Duration::from_secs(2));
    for arguments in [&["token", "partner"][..], &["check", "--connect"]] {
        let (out, seen) = on_a_terminal(&yaml, arguments, &[]).await;
        let shown = |seconds: u32| seen.contains(&format!("\r\x1b[Kobtaining a token of partner, {seconds}s "));
        assert!(shown(1) || shown(2), "{seen:?}");
        assert!(seen.ends_with("\r\x1b[K") && !seen.contains('\n'), "{seen:?}");
        assert!(out.contains("1h, as the vendor's answer says"), "{out}");
    }
}

#[tokio::test]
async fn nothing_of_it_is_shown_to_programs() {
    let (vendor, yaml) = partner().await;
    vendor.adjust(|options| options.token_delay = Duration::from_millis(900));
    for arguments in [&["token", "partner"][..], &["check", "--connect"]] {
        let with_json = [arguments, &["--format", "json"]].concat();
        let (out, seen) = on_a_terminal(&yaml, &with_json, &[]).await;
        assert_eq!(seen, "", "{out}");
        let piped = super::ran_async(&yaml, arguments).await;
        assert_eq!((piped.code, piped.err.as_str()), (Some(0), ""), "{}", piped.out);
    }
}

#[tokio::test]
async fn what_is_quick_shows_nothing() {
    let (_vendor, yaml) = partner().await;
    let yaml = yaml.replace("routes:", "  key: {provider: static, token: x}\nroutes:");
    assert_eq!(on_a_terminal(&yaml, &["token", "key"], &[]).await.1, "");
}

#[tokio::test]
async fn problems_are_coloured_on_a_terminal_unless_no_color_says_otherwise() {
    let bad = "listeners: []\nroutes: 1\n";
    let (_, seen) = on_a_terminal(bad, &["check"], &[]).await;
    assert!(seen.contains("\x1b["), "{seen:?}");
    let (_, empty) = on_a_terminal(bad, &["check"], &[("NO_COLOR", "")]).await;
    assert_eq!(empty, seen, "an empty one says nothing (no-color.org)");
    let (_, plain) = on_a_terminal(bad, &["check"], &[("NO_COLOR", "1")]).await;
    assert!(!plain.contains('\x1b') && plain.contains("proxy.yaml:1:"), "{plain:?}");
}
