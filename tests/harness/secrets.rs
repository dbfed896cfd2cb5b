//! Every secret of every test, looked for in all that any proxy of the suite says. Whoever starts a proxy
//! tells its configuration here; upstreams tell the tokens that came to them. A process's output is searched
//! when it ends, the log of the proxies in this process line by line. A secret that is found fails the test.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, Once};

use regex::Regex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// A word shorter than that might stand in a log by chance.
const SHORTEST: usize = 8;

static KNOWN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(|| {
    // Of the simulators, and of the configurations that most tests share.
    let all = [
        "T0K3N",
        "demo-crewmojo-secret",
        "demo-crayon-secret",
        "demo-crm-password",
        "D3300000000000000000000000000001",
        "demo-crm-code",
        "demo-crm-pass-code",
        "demo/oauth2+secret",
        "demo-oauth2-password",
        "demo-oauth2-refresh-0",
        "demo-oauth2-subject",
        "demo-oauth2-actor",
    ];
    Mutex::new(all.map(str::to_owned).into())
});

/// Lines of proxies in this process in which a secret was found.
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Fields whose values are secrets, with the value where it is one word.
static FIELDS: LazyLock<Regex> = LazyLock::new(|| {
    let names = "client_secret|password|pass_code|key|token|refresh_token|encryption_key|jwt|authentication_code|pass|\
                 subject_token|actor_token|assertion";
    Regex::new(&format!(r#"\b(?:{names}): ?["']?([A-Za-z0-9][A-Za-z0-9._~+/=-]*)"#)).unwrap()
});

fn known() -> std::sync::MutexGuard<'static, HashSet<String>> {
    KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A secret that nobody may say.
pub fn keep(secret: &str) {
    if secret.len() >= SHORTEST && secret.bytes().all(is_of_a_word) {
        known().insert(secret.to_owned());
    }
}

/// The secrets that stand in a configuration. Names of files, and what came from a reference, are none.
pub fn keep_those_of(yaml: &str) {
    for found in FIELDS.captures_iter(yaml) {
        let value = &found[1];
        if ![".key", ".pem", ".crt"].iter().any(|end| value.ends_with(end)) {
            keep(value);
        }
    }
}

/// The token that came to an upstream in this header's value.
pub fn keep_token(value: &str) {
    let token = value.rsplit(' ').next().unwrap_or(value);
    // Clients of the tests send short ones of their own.
    if token.len() >= 16 {
        keep(token);
    }
}

fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte)
}

/// The first line in which a secret stands.
pub fn line_with_one(text: &str) -> Option<String> {
    let known = known();
    text.lines().find(|line| has_one(line, &known)).map(str::to_owned)
}

fn has_one(line: &str, known: &HashSet<String>) -> bool {
    // A JWT, whoever made it.
    if line.contains("eyJ") && line.contains(".eyJ") {
        return true;
    }
    // Also what a value stands behind, as in `key=VALUE` and in a query.
    let words = line.split(|c: char| !c.is_ascii() || !is_of_a_word(c as u8)).filter(|word| !word.is_empty());
    words.flat_map(|word| std::iter::once(word).chain(word.split(['=', '/']))).any(|word| known.contains(word))
}

/// Fails where a proxy in this process said one.
pub fn assert_none_was_logged() {
    let found = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(found.is_empty(), "a secret is in the log: {}", found[0]);
}

/// Looks at the log of the proxies in this process, at its most verbose.
pub fn watch_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ours =
            Targets::new().with_target("tokenferry", LevelFilter::TRACE).with_target("access", LevelFilter::TRACE);
        let lines = fmt::layer().with_ansi(false).with_writer(|| Watch).with_filter(ours);
        drop(tracing_subscriber::registry().with(lines).try_init());
    });
}

struct Watch;

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if has_one(&line, &known()) {
            FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
