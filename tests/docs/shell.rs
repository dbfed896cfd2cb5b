//! Shell blocks: run in a folder of their own, or at least read by a shell and by our command line.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::page::Block;
use super::stage::Stage;
use crate::harness::process;

/// What a page calls `tokenferry`: `run` and `demo` go on behind the script, which goes on once they
/// listen, as a reader does in another terminal.
const WRAPPER: &str = r#"#!/bin/sh
case "$1" in
run | demo)
    n=$(ls "$STAGE"/*.out 2>/dev/null | wc -l)
    "$BINARY" "$@" >"$STAGE/$n.out" 2>"$STAGE/$n.log" &
    echo $! >>"$STAGE/pids"
    tries=0
    until grep -q '^listening on' "$STAGE/$n.out"; do
        kill -0 $! 2>/dev/null || { cat "$STAGE/$n.log" >&2; exit 1; }
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "not listening within a minute" >&2; exit 1; }
        sleep 0.1
    done
    cat "$STAGE/$n.out"
    ;;
*) exec "$BINARY" "$@" ;;
esac
"#;

/// A shell, in whose folder a page's blocks are run one after another.
pub struct Shell {
    pub stage: Stage,
    tools: PathBuf,
}

impl Shell {
    pub fn new(stage: Stage) -> Self {
        let tools = stage.path().join(".tools");
        std::fs::create_dir(&tools).unwrap();
        let wrapper = tools.join("tokenferry");
        std::fs::write(&wrapper, WRAPPER).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { stage, tools }
    }

    /// Runs a block; what it printed on stdout, or what went wrong.
    pub fn run(&self, text: &str) -> Result<String, String> {
        let script = format!("set -e\n{}", self.stage.staged(text));
        let path = std::env::var("PATH").unwrap_or_default();
        let ran = Command::new("sh")
            .args(["-c", &script])
            .current_dir(self.stage.path())
            .env_clear()
            .env("PATH", format!("{}:{path}", self.tools.display()))
            .env("HOME", self.stage.path())
            .env("STAGE", &self.tools)
            .env("BINARY", env!("CARGO_BIN_EXE_tokenferry"))
            .envs(self.stage.variables())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if ran.status.success() {
            Ok(text(&ran.stdout))
        } else {
            Err(format!("{}\n{script}\nstdout: {}\nstderr: {}", ran.status, text(&ran.stdout), text(&ran.stderr)))
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let Ok(pids) = std::fs::read_to_string(self.tools.join("pids")) else { return };
        for pid in pids.lines() {
            let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
        }
    }
}

/// What is wrong with a block that is not run.
pub fn complaints(block: &Block) -> Vec<String> {
    let mut found = Vec::new();
    let read = Command::new("sh").args(["-n", "-c", &block.text]).output().unwrap();
    if !read.status.success() {
        found.push(String::from_utf8_lossy(&read.stderr).trim().to_owned());
    }
    found.extend(commands(&block.text).iter().filter_map(|words| refused(words)));
    found
}

/// Whether our command line takes these arguments, as far as it can be told without doing it.
fn refused(arguments: &[String]) -> Option<String> {
    let folder = std::env::temp_dir();
    let ran = process::command(Path::new(&folder)).args(arguments).arg("--help").output().unwrap();
    (!ran.status.success())
        .then(|| format!("tokenferry {}: {}", arguments.join(" "), String::from_utf8_lossy(&ran.stderr).trim()))
}

/// The arguments of each `tokenferry` that a script starts.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in script.replace("\\\n", " ").lines() {
        let mut words: Option<Vec<String>> = None;
        let mut first = true;
        for word in split(line) {
            match (&mut words, word) {
                (_, Word::End) => {
                    found.extend(words.take());
                    first = true;
                }
                (Some(words), Word::Text(text)) => words.push(text),
                (None, Word::Text(text)) => {
                    let name = text.rsplit('/').next() == Some("tokenferry");
                    if first && name {
                        words = Some(Vec::new());
                    }
                    // What is set before a command, and what runs one, leave its place free.
                    let before = ["sudo", "exec", "!", "if", "then"].contains(&text.as_str());
                    first &= before || text.contains('=');
                }
            }
        }
        found.extend(words);
    }
    found
}

enum Word {
    Text(String),
    /// The command ends here.
    End,
}

/// A line's words, without its comment and its redirections.
fn split(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut redirected = false;
    let end = |word: &mut Option<String>, words: &mut Vec<Word>, redirected: &mut bool| {
        if let Some(text) = word.take()
            && !std::mem::take(redirected)
        {
            words.push(Word::Text(text));
        }
    };
    for c in line.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => end(&mut word, &mut words, &mut redirected),
            (None, '|' | '&' | ';' | ')' | '(') => {
                end(&mut word, &mut words, &mut redirected);
                words.push(Word::End);
            }
            (None, '>' | '<') => {
                // A descriptor before it is none of the command's words.
                word = word.filter(|w| !w.chars().all(|c| c.is_ascii_digit()));
                end(&mut word, &mut words, &mut redirected);
                redirected = true;
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut words, &mut redirected);
    words
}
