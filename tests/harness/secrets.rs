//! Every secret of every test, looked for in all that any proxy of the suite says. Whoever starts a proxy
//! tells its configuration and its variables here; upstreams tell the tokens that came to them. A process's
//! output is searched when it ends, the log of the proxies in this process line by line. A secret that is
//! found fails the test.
//!
//! Answers, metrics and pages are not searched here: row 11 does that, with canaries of its own.

use std::collections::HashSet;
use std::ffi::OsStr;
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

/// A secret that the tests of this search let a proxy say; it fails nobody else's test.
const PLANTED: &str = "planted-for-the-search-itself";

/// The lines in which that one was found.
static PLANTED_FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Fields whose values are secrets, with the value where it is one word.
static FIELDS: LazyLock<Regex> = LazyLock::new(|| {
    let names = "client_secret|password|pass_code|key|token|refresh_token|encryption_key|jwt|authentication_code|pass|\
                 subject_token|actor_token|assertion";
    Regex::new(&format!(r#"\b(?:{names}): ?["']?([A-Za-z0-9][A-Za-z0-9._~+/=-]*)"#)).unwrap()
});

fn known() -> std::sync::MutexGuard<'static, HashSet<String>> {
    KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A secret that nobody may say. One that is more than a word is looked for by its longest word.
pub fn keep(secret: &str) {
    let words = secret.split(|c: char| !c.is_ascii() || !is_of_a_word(c as u8));
    // Where something is, is no secret.
    let is_place = |word: &str| word.trim_matches('/').parse::<std::net::IpAddr>().is_ok();
    let words = words.filter(|word| !is_place(word));
    if let Some(word) = words.max_by_key(|word| word.len()).filter(|word| word.len() >= SHORTEST) {
        known().insert(word.to_owned());
    }
}

/// The secrets that stand in variables: all of them do, but those that say how to run.
pub fn keep_variables<'a>(variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>) {
    let runs = |name: &str| ["TOKENFERRY_", "FAKETIME", "LD_", "LISTEN_"].iter().any(|start| name.starts_with(start));
    for (name, value) in variables {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        if name.to_ascii_lowercase().ends_with("_proxy") {
            // Where the proxy is, is no secret; who may use it is.
            keep(value.rsplit_once('@').map_or("", |(user, _)| user.rsplit(':').next().unwrap_or(user)));
        } else if !runs(name) && !["PATH", "NOTIFY_SOCKET"].contains(&name) {
            keep(value);
        }
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
    let parts = words.flat_map(|word| std::iter::once(word).chain(word.split(['=', '/'])));
    // A sentence may end behind it.
    parts.flat_map(|part| [part, part.trim_end_matches('.')]).any(|part| known.contains(part))
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
        // Were there another one before it, nothing would be searched.
        tracing_subscriber::registry().with(lines).try_init().expect("the log is this search's");
    });
}

struct Watch;

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if has_one(&line, &known()) {
            let found = if line.contains(PLANTED) { &PLANTED_FOUND } else { &FOUND };
            found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

mod itself {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{PLANTED, PLANTED_FOUND};
    use crate::harness::eventually;
    use crate::harness::process::Process;
    use crate::harness::proxy::Proxy;
    use crate::harness::raw::{End, Wire};
    use crate::harness::yaml::routes;

    /// A route whose name is no secret to the proxy, which says it with each request.
    fn telling(name: &str, upstream: &str) -> String {
        format!(
            "log: {{access: all, level: trace}}\n{}",
            routes(&format!("- {{name: {name}, upstream: '{upstream}', credential: fixed}}\n"))
        )
    }

    #[tokio::test]
    async fn a_secret_that_a_proxy_in_this_process_says_is_found() {
        let upstream = Wire::ok().await;
        let proxy = Proxy::start_with(&telling(PLANTED, &upstream.url("")), &[("NAME", PLANTED)]).await;
        let mut client = End::connect(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status(), 200);
        eventually("it is found", || !PLANTED_FOUND.lock().unwrap().is_empty()).await;
    }

    #[tokio::test]
    async fn a_secret_that_a_process_says_fails_its_test() {
        let upstream = Wire::ok().await;
        let secret = "said-by-a-process-of-its-own";
        let process = Process::start(&telling(secret, &upstream.url("")), &[("NAME", secret)]);
        let mut client = End::connect(process.address).await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status(), 200);
        eventually("it is said", || process.log().contains(secret)).await;
        let failure = catch_unwind(AssertUnwindSafe(|| drop(process))).expect_err("it is found");
        let told = failure.downcast_ref::<String>().expect("a message");
        assert!(told.starts_with("a secret is in the output: "), "{told}");
    }

    #[test]
    fn a_secret_is_found_behind_whatever_stands_before_it() {
        super::keep("found-wherever-it-stands");
        super::keep("more than a word, the-longest-of-which-counts");
        for line in [
            "found-wherever-it-stands",
            "a key=found-wherever-it-stands b",
            "/x?a=found-wherever-it-stands&b",
            "{\"a\":\"found-wherever-it-stands\"}",
            "said: the-longest-of-which-counts.",
            "eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln",
        ] {
            assert!(
                super::line_with_one(&format!("before\n{line}\nbehind")).is_some_and(|found| found == line),
                "{line}"
            );
        }
        assert_eq!(super::line_with_one("not-found-wherever-it-stands and more than a word"), None);
    }
}
