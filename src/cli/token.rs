//! `tokenferry token`: one credential's token.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::json;

use super::login::{Found, Manner, NoToken, Outcome, complaint, obtain_all, outcome_json};
use super::ready::{Ready, ready};
use super::{ConfigArg, Format, FormatArg, USAGE, fail, out, words};
use crate::config::{CredentialSettings, nearest};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The credential's name in the configuration.
    credential: String,
    /// Print the token itself.
    #[arg(long)]
    reveal: bool,
    /// Log in anew, also where that kills the token that a running proxy uses.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// Runs the command.
pub(super) fn token(args: &Args) -> ExitCode {
    let ready = match ready(&args.config.config) {
        Ok(ready) => ready,
        Err(not_ready) => return not_ready.refuse(&args.config.config, args.format.format),
    };
    let Some(credential) = ready.loaded.settings.credentials.get(&args.credential) else {
        return fail(&unknown(&ready, &args.credential), USAGE);
    };
    let mut code = ExitCode::from(1);
    let manner = Manner { force: args.force, format: args.format.format };
    obtain_all(&ready, [&**credential], manner, |credential, outcome| code = tell(args, credential, &outcome));
    code
}

/// A name that is not there.
fn unknown(ready: &Ready, name: &str) -> String {
    let names = || ready.loaded.settings.credentials.keys().map(String::as_str);
    let shown: String = name.chars().take(60).flat_map(char::escape_default).collect();
    match nearest(name, names()) {
        Some(near) => format!("there is no credential `{shown}`; did you mean `{near}`?"),
        None if names().next().is_none() => format!("there is no credential `{shown}`: the file has none"),
        None => format!("there is no credential `{shown}`; there is {}", words::any_of(names())),
    }
}

fn tell(args: &Args, credential: &CredentialSettings, outcome: &Outcome) -> ExitCode {
    if args.format.format == Format::Json {
        return tell_programs(args, credential, outcome);
    }
    let name = words::plain(&credential.name);
    match outcome {
        Ok(found) => out::finish(&text(args, credential, found), ExitCode::SUCCESS),
        Err(NoToken::Spared(why)) => fail(&format!("{name}: {}", NoToken::spared(why.as_deref())), 1),
        Err(NoToken::Running(why)) => fail(&format!("{name}: no token of the running proxy: {why}"), 1),
        Err(NoToken::Unavailable(unavailable)) => {
            let (message, mend) = complaint(unavailable);
            fail(&format!("{name}: no token: {message}; {mend}"), 1)
        }
    }
}

fn tell_programs(args: &Args, credential: &CredentialSettings, outcome: &Outcome) -> ExitCode {
    let mut told = outcome_json(credential, outcome);
    told.insert("provider".to_owned(), json!(credential.vendor.provider()));
    told.insert("exclusive".to_owned(), json!(credential.exclusive));
    if let Ok(found) = outcome {
        told.insert("token".to_owned(), json!(shown(args, found)));
    }
    let code = if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    out::finish(&out::json(&told.into()), code)
}

fn text(args: &Args, credential: &CredentialSettings, found: &Found) -> String {
    let mut text = format!("credential: {} ({})\n", words::plain(&credential.name), credential.vendor.provider());
    let renewal = match (found.left, found.renewal) {
        (None, _) => Some("never".to_owned()),
        (Some(_), Some(renewal)) => Some(format!("after {}, if it is in use then", words::duration(renewal))),
        (Some(_), None) if found.is_ours() => Some("at its end: it lives too briefly to be renewed ahead".to_owned()),
        // Whoever has it knows.
        (Some(_), None) => None,
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "from:       {}", found.origin());
    let _ = writeln!(text, "lifetime:   {}", found.lifetime());
    if let Some(left) = found.left.filter(|_| !found.is_ours()) {
        let _ = writeln!(text, "left:       {}", words::duration(left));
    }
    if let Some(renewal) = renewal {
        let _ = writeln!(text, "renewed:    {renewal}");
    }
    if let Some(clock) = found.clock() {
        let _ = writeln!(text, "clock:      {clock}");
    }
    let _ = writeln!(text, "token:      {}", shown(args, found));
    if !args.reveal {
        text.push_str("            (--reveal prints it)\n");
    }
    text
}

fn shown<'a>(args: &Args, found: &'a Found) -> &'a str {
    if args.reveal { found.token.expose() } else { "***" }
}
