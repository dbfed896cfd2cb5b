//! `tokenferry check`: every problem of the configuration at once, and whether its logins work.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::login::{Manner, NoToken, complaint, not_tried, obtain_all, outcome_json};
use super::ready::{Ready, ready};
use super::{ConfigArg, Format, FormatArg, out, ready as reading, wait, words};
use crate::access::{FetchError, Keyring};
use crate::app::warnings;
use crate::config::to_json;
use crate::model::Problem;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Also obtain each token (from the running proxy or the store where one is there, else by a login), and ask
    /// each issuer that a `jwks` URL names for its keys.
    #[arg(long)]
    connect: bool,
    /// With `--connect`: log in also where that kills the token that a running proxy uses.
    #[arg(long, requires = "connect")]
    force: bool,
    #[command(flatten)]
    format: FormatArg,
}

impl Args {
    fn manner(&self) -> Manner {
        Manner { force: self.force, format: self.format.format }
    }
}

/// Whether the store that replicas share answers, where there is one.
fn store(ready: &Ready, format: Format) -> Option<bool> {
    let store = ready.assembled.store.as_ref()?;
    Some(ready.runtime.block_on(wait::shown("asking the store", format, store.answers())))
}

/// What each issuer says that is asked for its keys, by its URL as it may be told.
fn issuers(ready: &Ready, format: Format) -> Vec<(String, Result<usize, FetchError>)> {
    let mut asked: Vec<&Arc<Keyring>> = Vec::new();
    let mut told = Vec::new();
    for keyring in ready.assembled.snapshot.entries.iter().filter_map(|entry| entry.access.keyring()) {
        // Routes share what they name alike.
        if asked.iter().any(|known| Arc::ptr_eq(known, keyring)) {
            continue;
        }
        asked.push(keyring);
        let answer = ready.runtime.block_on(wait::shown("asking for an issuer's keys", format, keyring.ask()));
        told.extend(keyring.status().zip(answer).map(|(status, answer)| (status.url, answer)));
    }
    told
}

/// Runs the command.
pub(super) fn check(args: &Args) -> ExitCode {
    let file = args.config.config.display().to_string();
    match ready(&args.config.config) {
        Ok(ready) => checked(args, &file, &ready),
        Err(not_ready) => not_ready.refuse(&args.config.config, args.format.format),
    }
}

fn checked(args: &Args, file: &str, ready: &Ready) -> ExitCode {
    let warnings = warnings(&ready.loaded, &ready.assembled);
    match args.format.format {
        Format::Text => text(args, file, ready, &warnings).unwrap_or_else(|code| code),
        Format::Json => json(args, file, ready, &warnings),
    }
}

fn text(args: &Args, file: &str, ready: &Ready, warnings: &[Problem]) -> Result<ExitCode, ExitCode> {
    reading::show(warnings);
    let settings = &ready.loaded.settings;
    let (routes, credentials) =
        (words::number(settings.routes.len(), "route"), words::number(settings.credentials.len(), "credential"));
    let warned =
        if warnings.is_empty() { String::new() } else { format!(", {}", words::number(warnings.len(), "warning")) };
    out::print(&format!("{file}: ok, {routes}, {credentials}{warned}\n"))?;
    if !args.connect {
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    match store(ready, Format::Text) {
        Some(true) => out::print("store: ok\n")?,
        Some(false) => {
            code = ExitCode::from(1);
            out::print("store: cannot be reached; check its `url` and password, and whether it runs\n")?;
        }
        None => {}
    }
    for (url, answer) in issuers(ready, Format::Text) {
        let line = match answer {
            Ok(keys) => words::number(keys, "key"),
            Err(error) => {
                code = ExitCode::from(1);
                format!("no keys: {error}; {}", error.mend())
            }
        };
        out::print(&format!("{}: {line}\n", words::plain(&url)))?;
    }
    let mut printed = Ok(());
    obtain_all(ready, settings.credentials.values().map(|c| &**c), args.manner(), |credential, outcome| {
        let line = match outcome {
            Ok(found) => found.sentence(),
            Err(NoToken::Spared(why)) => not_tried(why.as_deref()),
            Err(NoToken::Running(why)) => {
                code = ExitCode::from(1);
                format!("no token of the running proxy: {why}")
            }
            Err(NoToken::Unavailable(unavailable)) => {
                code = ExitCode::from(1);
                let (message, mend) = complaint(&unavailable);
                format!("no token: {message}; {mend}")
            }
        };
        if printed.is_ok() {
            printed = out::print(&format!("{}: {line}\n", words::plain(&credential.name)));
        }
    });
    printed.map(|()| code)
}

fn json(args: &Args, file: &str, ready: &Ready, warnings: &[Problem]) -> ExitCode {
    let settings = &ready.loaded.settings;
    let mut answer = json!({
        "file": file,
        "ok": true,
        "routes": settings.routes.len(),
        "credentials": settings.credentials.len(),
        "problems": to_json(warnings),
    });
    let mut code = ExitCode::SUCCESS;
    if args.connect {
        if let Some(answers) = store(ready, Format::Json) {
            answer["store"] = json!(if answers { "ok" } else { "away" });
            if !answers {
                code = ExitCode::from(1);
            }
        }
        let issuers = issuers(ready, Format::Json);
        if issuers.iter().any(|(_, answer)| answer.is_err()) {
            code = ExitCode::from(1);
        }
        answer["jwt_keys"] = issuers.iter().map(issuer_json).collect();
        let mut connected: Vec<Value> = Vec::new();
        obtain_all(ready, settings.credentials.values().map(|c| &**c), args.manner(), |credential, outcome| {
            if matches!(outcome, Err(NoToken::Running(_) | NoToken::Unavailable(_))) {
                code = ExitCode::from(1);
            }
            connected.push(outcome_json(credential, &outcome).into());
        });
        answer["connect"] = Value::Array(connected);
    }
    out::finish(&out::json(&answer), code)
}

fn issuer_json((url, answer): &(String, Result<usize, FetchError>)) -> Value {
    match answer {
        Ok(keys) => json!({ "url": url, "keys": keys }),
        Err(error) => json!({ "url": url, "error": error.to_string(), "mend": error.mend() }),
    }
}
