//! The manual.

use std::path::Path;
use std::process::Command;

use super::{Ran, ran};
use crate::harness::process;

const PAGES: [&str; 13] = [
    "tokenferry",
    "tokenferry-run",
    "tokenferry-check",
    "tokenferry-explain",
    "tokenferry-token",
    "tokenferry-config",
    "tokenferry-reload",
    "tokenferry-healthcheck",
    "tokenferry-hash-password",
    "tokenferry-schema",
    "tokenferry-demo",
    "tokenferry-completions",
    "tokenferry-man",
];

/// Every page, in a folder that the command makes.
fn pages() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ran = Ran::from(process::command(folder.path()).args(["man", "--out", "share/man1"]).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    folder
}

fn page(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(format!("share/man1/{name}.1"))).unwrap_or_else(|_| panic!("{name}"))
}

#[test]
fn each_command_has_a_page_with_examples_statuses_variables_and_files() {
    let folder = pages();
    for name in PAGES {
        let page = page(folder.path(), name);
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "\"ENVIRONMENT\"", "\"SEE ALSO\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{name} has no {section}");
        }
        assert_eq!(page.contains(".SH \"EXAMPLES\"\n"), name != "tokenferry", "{name}");
        assert!(page.contains("\\fB78\\fR"), "{name}");
    }
    let run = page(folder.path(), "tokenferry-run");
    assert!(
        run.contains("TOKENFERRY_CONFIG") && run.contains("TOKENFERRY_LOG_FORMAT") && run.contains(".SH \"FILES\"")
    );
    assert!(!page(folder.path(), "tokenferry-schema").contains("TOKENFERRY_CONFIG"));
    let of_all = page(folder.path(), "tokenferry");
    assert!(PAGES[1..].iter().all(|name| of_all.contains(&name.replace('-', "\\-"))), "{of_all}");
}

/// mandoc is what `make test-tools` installs.
#[test]
fn the_pages_are_sound() {
    let folder = pages();
    for name in PAGES {
        let file = format!("share/man1/{name}.1");
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning", &file]).current_dir(&folder).output();
        let lint = Ran::from(lint.expect("mandoc is not installed (Debian: apt-get install mandoc)"));
        assert_eq!((lint.code, lint.out.as_str(), lint.err.as_str()), (Some(0), "", ""), "{name}");
    }
    let mut mandoc = Command::new("mandoc");
    mandoc.args(["-T", "utf8", "share/man1/tokenferry-explain.1"]).current_dir(&folder);
    let shown = Ran::from(mandoc.output().unwrap());
    // Bold is struck twice.
    let mut plain = String::new();
    for c in shown.out.chars() {
        if c == '\u{8}' {
            plain.pop();
        } else {
            plain.push(c);
        }
    }
    assert!(plain.contains("tokenferry explain GET '/crm/contacts?page=2'\n"), "{plain}");
}

#[test]
fn one_page_is_printed_by_its_commands_name() {
    assert!(ran("", &["man"]).done().contains(".TH TOKENFERRY 1"));
    assert!(ran("", &["man", "run"]).done().contains(".TH TOKENFERRY-RUN 1"));
    let unknown = ran("", &["man", "rnu"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(2), ""));
}
