//! The words by which the proxy says what is wrong, as its source has them.

use std::collections::BTreeMap;

use http::StatusCode;

use super::page::root;

/// The source file in which this stands.
fn source(mark: &str) -> String {
    find(mark).unwrap_or_else(|| panic!("no source file has {mark:?}"))
}

fn find(mark: &str) -> Option<String> {
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                if text.contains(mark) {
                    return Some(text);
                }
            }
        }
    }
    None
}

/// What stands in the braces behind this.
fn body(head: &str) -> String {
    let text = source(head);
    let start = text.find(head).unwrap() + head.len();
    text[start..start + text[start..].find("\n}").unwrap()].to_owned()
}

/// The code of each refusal, and its statuses, as far as the source says them.
pub fn refusals() -> BTreeMap<String, Vec<u16>> {
    let text = source("pub enum Refusal {");
    let mut found = BTreeMap::<String, Vec<u16>>::new();
    for call in text.split("face(").skip(1) {
        let Some((status, rest)) = call.split_once(',') else { continue };
        let Some(code) = rest.split('"').nth(1).filter(|_| rest.trim_start().starts_with('"')) else { continue };
        let status = status.trim().strip_prefix("StatusCode::").map(number);
        found.entry(code.to_owned()).or_default().extend(status);
    }
    assert!(found.len() > 20, "the codes were not found");
    found
}

fn number(name: &str) -> u16 {
    let named = |status: &StatusCode| {
        status.canonical_reason().is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
    };
    (400..600).filter_map(|n| StatusCode::from_u16(n).ok()).find(named).map(|s| s.as_u16()).unwrap()
}

/// What is said of a login that failed: the texts of `FaultReason`.
pub fn faults() -> Vec<String> {
    let found: Vec<String> =
        errors(&body("pub enum FaultReason {")).into_iter().map(|text| text.replace("{0}", "STATUS")).collect();
    assert!(found.len() > 10, "the faults were not found");
    found
}

fn errors(text: &str) -> Vec<String> {
    text.split("#[error(\"").skip(1).map(|part| part.split("\")]").next().unwrap().to_owned()).collect()
}

/// Every `outcome=` of a credential's log events.
pub fn outcomes() -> Vec<String> {
    let text = source("pub(super) enum Outcome {");
    let words = text.split("fn word(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let mut found: Vec<String> = strings_behind(words, "=> ");
    found.extend(strings_behind(&text, "outcome = "));
    // Names of targets are none.
    found.extend(strings_behind(&text, ": &str = ").into_iter().filter(|word| !word.contains(':')));
    found.sort();
    found.dedup();
    assert!(found.len() > 10, "the outcomes were not found");
    found
}

/// The strings that stand behind this.
fn strings_behind(text: &str, mark: &str) -> Vec<String> {
    let string = |part: &str| Some(part.strip_prefix('"')?.split('"').next()?.to_owned());
    text.split(mark).skip(1).filter_map(string).collect()
}

/// The words that a type has for its variants; where it has none, its variants' names.
pub fn words(name: &str) -> Vec<String> {
    let head = format!("impl {name} {{");
    let methods = find(&head).map(|text| text.split(&head).nth(1).unwrap().split("\n}").next().unwrap().to_owned());
    let found = methods.map(|methods| strings_behind(&methods, "=> ")).unwrap_or_default();
    if !found.is_empty() {
        return found;
    }
    let body = body(&format!("pub enum {name} {{"));
    let names = body.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()).collect()
}

/// The codes of the admin port's refusals, and their statuses; none where there is no such port.
pub fn admin_refusals() -> BTreeMap<String, u16> {
    let Some(text) = find("fn face(self) -> (StatusCode, &'static str)") else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for pair in text.split("=> (StatusCode::").skip(1) {
        let (status, rest) = pair.split_once(',').unwrap();
        found.insert(rest.split('"').nth(1).unwrap().to_owned(), number(status));
    }
    found
}

/// The metrics that are told, each without what its unit and kind put behind it; none where there are none.
pub fn metrics() -> Vec<String> {
    let Some(text) = find("pub fn exposition(") else { return Vec::new() };
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for call in ["counters(", "counter(", "gauges(", "gauge(", "histogram(", "bytes(", "info("] {
        for part in text.split(call).skip(1) {
            let name = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.extend(name.map(|name| format!("tokenferry_{name}")));
        }
    }
    found.sort();
    found
}
