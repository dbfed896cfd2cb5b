//! `tokenferry reload`: have the running proxy read its configuration again, and tell what it says.

use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::ask::{Answer, AskArg, Port};
use super::{Format, INVALID, fail, out, ready, say, words};
use crate::model::Problem;

/// The proxy gives up before.
const PATIENCE: Duration = Duration::from_secs(130);

/// What the admin port says of a reload.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verdict {
    outcome: String,
    generation: u64,
    problems: Vec<Problem>,
    restart_needed: Vec<String>,
    error: Option<String>,
}

/// Runs the command.
pub(super) fn reload(args: &AskArg) -> ExitCode {
    let asked = args.port(true).and_then(|port| {
        let answer = port.ask(Method::POST, "/api/v1/reload", PATIENCE)?;
        Ok((port, answer))
    });
    match asked {
        Ok((port, answer)) => told(args, &port, &answer),
        Err(code) => code,
    }
}

fn told(args: &AskArg, port: &Port, answer: &Answer) -> ExitCode {
    if !matches!(answer.status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY) {
        return refused(port, answer);
    }
    let taken = answer.status == StatusCode::OK;
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let Ok(verdict) = serde_json::from_value::<Verdict>(value.clone()) else {
        return fail(&format!("what answers at {} is no tokenferry, or of another version", port.named()), 1);
    };
    let code = match (taken, &verdict.error) {
        (true, _) => ExitCode::SUCCESS,
        (false, None) => ExitCode::from(INVALID),
        (false, Some(_)) => ExitCode::from(1),
    };
    if args.format.format == Format::Json {
        return out::finish(&out::json(&value), code);
    }
    ready::show(&verdict.problems);
    if !taken {
        let file = verdict.problems.first().map_or("the configuration", |problem| problem.file.as_str());
        let what = match &verdict.error {
            Some(error) => format!("not reloaded: {}", words::plain(error)),
            None => format!("{file} is invalid: {}", ready::count(&verdict.problems)),
        };
        say(&format!("{what}; the running proxy keeps its configuration"));
        return code;
    }
    for change in &verdict.restart_needed {
        say(&format!("{}: this needs a restart; the rest of the change is applied", words::plain(change)));
    }
    let line = match verdict.outcome.as_str() {
        "taken" => format!("reloaded: generation {}\n", verdict.generation),
        _ => format!("unchanged: generation {}\n", verdict.generation),
    };
    out::finish(&line, code)
}

/// The question itself was refused.
fn refused(port: &Port, answer: &Answer) -> ExitCode {
    if answer.status == StatusCode::UNAUTHORIZED {
        return fail(&format!("the proxy at {} asks for its token: {}", port.named(), port.wrong_token()), 1);
    }
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("it is no tokenferry");
    fail(&format!("the proxy at {} answers {}: {}", port.named(), answer.status.as_u16(), words::plain(detail)), 1)
}
