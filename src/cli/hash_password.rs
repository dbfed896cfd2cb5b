//! `tokenferry hash-password`: a password as the configuration keeps it.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use argon2::{Argon2, PasswordHasher as _};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{USAGE, fail, out};

/// No password is longer; nobody waits for a file that is none.
const LONGEST: u64 = 4096;

/// Runs the command.
pub(super) fn hash_password() -> ExitCode {
    let password = match if io::stdin().is_terminal() { typed() } else { piped() } {
        Ok(password) => password,
        Err(complaint) => return fail(&complaint, 1),
    };
    if password.is_empty() {
        return fail("the password is empty", USAGE);
    }
    match Argon2::default().hash_password(password.as_bytes()) {
        Ok(hash) => out::finish(&format!("{hash}\n"), ExitCode::SUCCESS),
        Err(error) => fail(&format!("the password cannot be hashed: {error}"), 1),
    }
}

/// From a file or another program: all of it, less one line break at its end.
fn piped() -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text).map_err(|error| unread(&error))?;
    if text.len() as u64 > LONGEST {
        return Err("the password is longer than 4096 bytes".to_owned());
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') {
        return Err("the password is of more than one line: nobody could log in with it".to_owned());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// From a terminal: twice, since what is typed is not shown.
fn typed() -> Result<Zeroizing<String>, String> {
    let _quiet = Quiet::begin();
    let password = asked("Password: ")?;
    if asked("Again: ")? == password { Ok(password) } else { Err("the two are not alike".to_owned()) }
}

fn asked(prompt: &str) -> Result<Zeroizing<String>, String> {
    let mut stderr = io::stderr();
    // A closed stderr is nobody to ask.
    let _ = write!(stderr, "{prompt}").and_then(|()| stderr.flush());
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line).map_err(|error| unread(&error))?;
    // The line break that was typed was not shown either.
    let _ = writeln!(stderr);
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "the password is no text in UTF-8".to_owned(),
        _ => format!("the password cannot be read: {error}"),
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet(Option<Termios>);

impl Quiet {
    fn begin() -> Self {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ECHO);
            // A terminal that cannot do it shows what is typed; that is seen at once.
            let _ = tcsetattr(&stdin, OptionalActions::Flush, &modes);
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
