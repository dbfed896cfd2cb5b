//! The documentation: every code block is run or checked, every link leads somewhere, the reference
//! is what the schema says, and every word of an error is explained.

mod codes;
mod page;
mod reference;
mod shell;
mod stage;
mod threats;

use std::net::TcpListener;

use serde::Deserialize;
use tokenferry::demo::{Crewmojo, Options, Simulator};

use page::{Block, Page, page, pages, root};
use shell::Shell;
use stage::{Stage, completed};

/// Files of other programs, which are read as YAML.
const FOREIGN: [&str; 5] = ["compose", "kubernetes", "envoy", "kong", "traefik"];

/// Languages whose blocks `make e2e` gives to the programs that they are for; here they are looked over.
const OF_OTHERS: [&str; 2] = ["nginx", "promql"];

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_code_block_escapes_the_tests() {
    let known = ["yaml", "json", "sh", "ini", "text"];
    let mut found = Vec::new();
    for page in pages() {
        let mut before: Option<&Block> = None;
        for block in &page.blocks {
            let language = block.language.as_str();
            if !known.contains(&language) && !OF_OTHERS.contains(&language) {
                found.push(format!("{}: no test knows the language {language:?}", page.at(block)));
            }
            if language == "text" && !before.is_some_and(|b| b.language == "sh" && b.has("run")) {
                found.push(format!("{}: `text` is what the `sh run` before it prints", page.at(block)));
            }
            if block.text.trim().is_empty() {
                found.push(format!("{}: an empty block", page.at(block)));
            }
            before = Some(block);
        }
    }
    assert_none(&found);
}

#[test]
fn every_configuration_shown_is_taken_by_the_check() {
    let mut found = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for block in page.in_language("yaml").filter(|b| !b.words.iter().any(|w| FOREIGN.contains(&w.as_str()))) {
            seen += 1;
            let checked = Stage::new().check(&completed(&block.text));
            if !checked.status.success() {
                found.push(format!("{}:\n{}", page.at(block), String::from_utf8_lossy(&checked.stderr)));
            }
        }
    }
    assert!(seen > 5, "the blocks were not found");
    assert_none(&found);
}

#[test]
fn every_other_block_can_be_read() {
    let mut found = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            let complaint = match block.language.as_str() {
                "json" => serde_json::from_str::<serde_json::Value>(&block.text).err().map(|e| e.to_string()),
                "yaml" => documents(&block.text).err().map(|e| e.to_string()),
                "ini" => unit(&block.text).err(),
                "nginx" => braces(&block.text).err(),
                _ => None,
            };
            found.extend(complaint.map(|complaint| format!("{}: {complaint}", page.at(block))));
        }
    }
    assert_none(&found);
}

fn documents(text: &str) -> Result<usize, serde_yaml::Error> {
    let mut documents = 0;
    for document in serde_yaml::Deserializer::from_str(text) {
        serde_yaml::Value::deserialize(document)?;
        documents += 1;
    }
    Ok(documents)
}

/// Sections and assignments, as units of systemd have them; its own verifier reads them in `make e2e`.
fn unit(text: &str) -> Result<(), String> {
    let mut section = false;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['#', ';'])) {
        if line.starts_with('[') && line.ends_with(']') {
            section = true;
        } else if !section || !line.contains('=') {
            return Err(format!("not a line of a unit: {line}"));
        }
    }
    Ok(())
}

fn braces(text: &str) -> Result<(), String> {
    let count = |c| text.matches(c).count();
    if count('{') == count('}') { Ok(()) } else { Err("its braces do not match".to_owned()) }
}

#[test]
fn every_shell_line_is_one_and_every_command_of_ours_is_one_that_we_have() {
    let mut found = Vec::new();
    let mut commands = 0;
    for page in pages() {
        for block in page.in_language("sh") {
            commands += shell::commands(&block.text).len();
            found.extend(shell::complaints(block).iter().map(|complaint| format!("{}: {complaint}", page.at(block))));
        }
    }
    assert!(commands > 10, "the commands were not found");
    assert_none(&found);
}

/// A port that no test gets by asking for a free one: those are above it.
fn spare_port() -> u16 {
    let port = || fastrand::u16(12_000..30_000);
    std::iter::repeat_with(port).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Runs what a page says to run, from its beginning to its end.
async fn follow(page: Page) {
    let Crewmojo { client_id, client_secret, .. } = Crewmojo::default();
    let vendor = Simulator::start(Crewmojo::default(), Options::default()).await.unwrap();
    let origin = vendor.origin().to_owned();
    let mut stage = Stage::new();
    stage.stand_ins = vec![
        ("https://api.crewmojo.com".to_owned(), origin.clone()),
        ("provider: crewmojo\n".to_owned(), format!("provider: crewmojo\n    token_url: {origin}/v1/oauth/token\n")),
        ("CREWMOJO_CLIENT_ID=...".to_owned(), format!("CREWMOJO_CLIENT_ID={client_id}")),
        ("CREWMOJO_CLIENT_SECRET=...".to_owned(), format!("CREWMOJO_CLIENT_SECRET={client_secret}")),
    ];
    for port in ["8080", "9901"] {
        stage.stand_ins.push((format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", spare_port())));
    }
    stage.set("CREWMOJO_CLIENT_ID", &client_id);
    stage.set("CREWMOJO_CLIENT_SECRET", &client_secret);
    let ran = tokio::task::spawn_blocking(move || {
        let mut shell = Shell::new(stage);
        let mut printed = String::new();
        let mut ran = 0;
        for block in &page.blocks {
            match block.language.as_str() {
                "yaml" if block.value("file").is_some() => {
                    shell.stage.configure(&block.text);
                }
                "sh" if block.has("run") => {
                    printed = shell.run(&block.text).unwrap_or_else(|e| panic!("{}: {e}", page.at(block)));
                    ran += 1;
                }
                "text" => {
                    for line in shell.stage.staged(&block.text).lines() {
                        let mut rest = printed.as_str();
                        for part in line.split("...") {
                            let at = rest.find(part.trim());
                            let at = at.unwrap_or_else(|| panic!("{}: {line:?} is not in\n{printed}", page.at(block)));
                            rest = &rest[at + part.trim().len()..];
                        }
                    }
                }
                _ => {}
            }
        }
        ran
    });
    assert!(ran.await.unwrap() > 0, "nothing was run");
}

#[tokio::test]
async fn what_the_readme_says_to_run_runs() {
    follow(page("README.md")).await;
}

#[tokio::test]
async fn what_the_operators_page_says_to_run_runs() {
    follow(page("docs/operations.md")).await;
}

#[test]
fn every_block_to_be_run_is_on_a_page_that_is_followed() {
    let followed = ["README.md", "docs/operations.md"];
    let stray: Vec<String> = pages()
        .iter()
        .filter(|page| !followed.contains(&page.name.as_str()))
        .flat_map(|page| page.in_language("sh").filter(|b| b.has("run")).map(|b| page.at(b)))
        .collect();
    assert_none(&stray);
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut found = Vec::new();
    for page in &pages {
        for (line, target) in &page.links {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(&page.name).parent().unwrap().to_owned();
            let place = if file.is_empty() { root().join(&page.name) } else { folder.join(file) };
            let Ok(place) = place.canonicalize() else {
                found.push(format!("{}:{line}: there is no {file}", page.name));
                continue;
            };
            let there = pages.iter().find(|p| root().join(&p.name).canonicalize().unwrap() == place);
            if !anchor.is_empty() && !there.is_some_and(|p| p.anchors.iter().any(|a| a == anchor)) {
                found.push(format!("{}:{line}: {file} has no heading for #{anchor}", page.name));
            }
        }
    }
    assert!(pages.iter().map(|p| p.links.len()).sum::<usize>() > 10, "the links were not found");
    assert_none(&found);
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = page("README.md");
    let missing: Vec<String> = pages()
        .iter()
        .filter(|p| p.name != "README.md" && !readme.links.iter().any(|(_, target)| target.starts_with(&p.name)))
        .map(|p| format!("README.md does not lead to {}", p.name))
        .collect();
    assert_none(&missing);
}

#[test]
fn the_reference_is_what_the_schema_says() {
    let file = root().join("docs/configuration.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (by_hand, _) = text.split_once(reference::MARK).expect("docs/configuration.md has lost its mark");
    let renewed = format!("{by_hand}{}\n\n{}", reference::MARK, reference::reference(&tokenferry::config::schema()));
    let renewed = format!("{}\n", renewed.trim_end());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, renewed).unwrap();
    } else {
        assert!(text == renewed, "docs/configuration.md is stale; renew it: {}", reference::RENEW);
    }
}

#[test]
fn every_threat_has_its_row_and_every_row_tests_that_are_there() {
    let file = root().join("docs/security.md");
    let text = std::fs::read_to_string(&file).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, threats::renewed(&text)).unwrap();
    } else {
        assert_none(&threats::faults(&text));
    }
}

/// The rows of a page's tables whose first cell is this word.
fn rows<'p>(page: &'p Page, word: &str) -> Vec<&'p str> {
    let start = format!("| `{word}` |");
    page.text.lines().filter(|line| line.starts_with(&start)).collect()
}

#[test]
fn every_code_of_a_refusal_is_explained_with_its_status() {
    let operations = page("docs/operations.md");
    let mut found = Vec::new();
    for (code, statuses) in codes::refusals() {
        let rows = rows(&operations, &code);
        let cell = rows.first().and_then(|row| row.split('|').nth(2)).unwrap_or_default();
        if rows.is_empty() || !statuses.iter().all(|status| cell.contains(&status.to_string())) {
            found.push(format!("docs/operations.md has no row for {code}, {statuses:?}"));
        }
    }
    assert_none(&found);
}

#[test]
fn every_fault_of_a_login_and_every_outcome_is_explained() {
    let operations = page("docs/operations.md");
    let faults = codes::faults().into_iter().filter(|fault| !operations.text.contains(&format!("| {fault} |")));
    let words = ["FaultClass", "FaultReason", "LifetimeSource"].map(codes::words).concat();
    let words = codes::outcomes().into_iter().chain(words);
    let untold = faults.chain(words.filter(|word| rows(&operations, word).is_empty()));
    assert_none(&untold.map(|word| format!("docs/operations.md has no row for {word}")).collect::<Vec<_>>());
}

#[test]
fn every_answer_of_the_admin_port_is_explained_with_its_status() {
    let operations = page("docs/operations.md");
    let told = |(code, status): &(String, u16)| {
        rows(&operations, code).iter().any(|row| row.contains(&format!("| {status} |")))
    };
    let untold = codes::admin_refusals().into_iter().filter(|refusal| !told(refusal));
    assert_none(&untold.map(|(code, _)| format!("docs/operations.md has no row for {code}")).collect::<Vec<_>>());
}

#[test]
fn every_metric_is_explained_and_every_metric_that_is_named_is_there() {
    let there = codes::metrics();
    let pages = pages();
    let operations = &pages.iter().find(|p| p.name == "docs/operations.md").unwrap().text;
    let untold = there.iter().filter(|name| !operations.contains(name.as_str()));
    let mut found: Vec<String> = untold.map(|name| format!("docs/operations.md says nothing of {name}")).collect();
    for page in &pages {
        let mut rest = page.text.as_str();
        while let Some(at) = rest.find("tokenferry_") {
            let name = &rest[at..];
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            rest = after;
            if !there.iter().any(|known| name.starts_with(known.as_str())) {
                found.push(format!("{}: there is no {name}", page.name));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn every_command_stands_in_the_readme() {
    let listed = crate::harness::process::command(root()).arg("--help").output().unwrap();
    let help = String::from_utf8(listed.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let readme = page("README.md").text;
    let missing: Vec<String> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   ")))
        .filter(|name| *name != "help" && !readme.contains(&format!("| `tokenferry {name}")))
        .map(|name| format!("README.md has no row for `tokenferry {name}`"))
        .collect();
    assert_none(&missing);
}
