//! Whole files: what is taken, what is refused, and what is told about it.

mod access;
mod admin;
mod canary;
mod editor;
mod egress;
mod modes;
mod refused;
mod round;
mod store;
mod taken;
mod telemetry;
mod warned;

use std::path::Path;

use super::*;

/// Variables that tests refer to.
fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8081".to_owned()),
        "ON" => Some("true".to_owned()),
        "SECRET" => Some("CANARY-from-variable".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(yaml: &str) -> Result<Loaded, Problems> {
    load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &environment)
}

/// What the check takes, editors take too. Not asked of a file that is long on purpose.
fn taken(yaml: &str) -> Loaded {
    let loaded = read(yaml).unwrap_or_else(|problems| panic!("{problems}"));
    if yaml.len() < 50_000 {
        assert_eq!(editor::complaint(yaml), None, "{yaml}");
    }
    loaded
}

fn refused(yaml: &str) -> Problems {
    match read(yaml) {
        Ok(_) => panic!("was taken:\n{yaml}"),
        Err(problems) => problems,
    }
}

/// `line:column path: message | mend`, for each problem.
fn told(problems: &[crate::model::Problem]) -> Vec<String> {
    problems.iter().map(|p| format!("{}:{} {}: {} | {}", p.line, p.column, p.path, p.message, p.mend)).collect()
}

/// A file with these lines behind a listener and a route.
const BASE: &str = "\
listeners: [{address: 127.0.0.1:8080}]
credentials:
  key: {provider: static, token: x}
routes:
  - name: one
    upstream: https://api.example.com/v1
    credential: key
";
