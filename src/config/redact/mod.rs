//! Source lines as they may be shown: what is not known to be harmless is blanked.
//!
//! A value is shown only under a field that never holds a secret; a misspelt `client_secert` is
//! therefore blanked like the right one. References are shown (`${NAME}` is no secret), their
//! defaults are not; comments go.

mod guess;

pub(crate) use guess::guess;

use std::sync::LazyLock;

use regex::Regex;

use crate::config::interpolate::MASK;
use crate::config::spot::{Path, Step};

/// Fields whose values are no secrets.
const HARMLESS: &[&str] = &[
    "access",
    "address",
    "age",
    "algorithm",
    "algorithms",
    "allow",
    "base_url",
    "body_rate",
    "burst",
    "ca",
    "cert",
    "client_auth",
    "client_ca",
    "client_cert",
    "client_certificates",
    "concurrency",
    "connect",
    "connections",
    "credential",
    "deny",
    "drain",
    "drain_delay",
    "encoded_slash",
    "environment",
    "exclusive",
    "format",
    "grant",
    "handover",
    "handshake_timeout",
    "head_size",
    "header",
    "header_case",
    "header_count",
    "header_timeout",
    "host",
    "host_header",
    "hosts",
    "idle",
    "idle_lifetime",
    "idle_timeout",
    "inject",
    "insecure",
    "json",
    "jwks",
    "key_prefix",
    "kind",
    "leeway",
    "level",
    "lifetime",
    "matches",
    "memory",
    "method",
    "methods",
    "name",
    "names",
    "otlp",
    "parameter",
    "path",
    "path_exact",
    "path_regex",
    "per",
    "pointer",
    "protocol",
    "provider",
    "proxy_protocol",
    "query",
    "rate",
    "ready_when",
    "refresh_before",
    "remove",
    "replay",
    "replay_total",
    "respond",
    "response",
    "rewrite_response",
    "sample",
    "scheme",
    "server_name",
    "service_name",
    "session_tickets",
    "shutdown_timeout",
    "splice",
    "state_file",
    "status",
    "strip_prefix",
    "timeout",
    "token_endpoint",
    "token_url",
    "trusted_proxies",
    "upgrades",
    "upstream",
    "url",
    "waiting",
    "workers",
    "wrong_keys",
];

/// Maps whose fields the operator names, so that a name says nothing about the value.
const FREE: &[&str] = &["headers", "set", "extra", "form", "json", "request", "claims"];

/// Maps and lists whose fields are this file's own. Below a misspelt one nothing is known to be harmless.
const CONTAINERS: &[&str] = &[
    "access",
    "admin",
    "allow",
    "algorithms",
    "api_keys",
    "assertion",
    "certificates",
    "client",
    "client_certificates",
    "credentials",
    "defaults",
    "deny",
    "hosts",
    "inject",
    "json",
    "jwt",
    "limits",
    "listeners",
    "log",
    "match",
    "methods",
    "names",
    "pool",
    "rate",
    "refused_when",
    "remove",
    "request",
    "request_headers",
    "response",
    "response_headers",
    "routes",
    "status",
    "store",
    "success",
    "telemetry",
    "timeouts",
    "tls",
    "trusted_proxies",
    "upgrades",
    "upstream",
    "users",
    "wrong_keys",
];

/// Whether all of these keys, outermost first, are known to hold nothing free.
fn are_known<'k>(above: impl IntoIterator<Item = &'k str>) -> bool {
    let mut before = "";
    above.into_iter().all(|key| {
        let known = CONTAINERS.contains(&key) || before == "credentials";
        before = key;
        known
    })
}

/// Whether a scalar at this place may be shown.
pub(crate) fn is_harmless(path: &Path) -> bool {
    let keys: Vec<&str> = path
        .0
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    let Some((last, above)) = keys.split_last() else { return false };
    if !are_known(above.iter().copied()) {
        return false;
    }
    let parent = above.last().copied().unwrap_or_default();
    if matches!(parent, "timeouts" | "limits") {
        return matches!(*last, "body" | "token") || HARMLESS.contains(last);
    }
    if parent == "request" {
        return matches!(*last, "method" | "url");
    }
    let free = above.iter().any(|key| FREE.contains(key));
    let judged = above.contains(&"refused_when") || above.contains(&"response");
    HARMLESS.contains(last) && (!free || judged)
}

/// Something that begins on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    /// From 1, in characters.
    pub(crate) column: u32,
    /// A key, else a value.
    pub(crate) is_key: bool,
    /// Whether it may be shown.
    pub(crate) shown: bool,
}

/// A line to be shown, and the column (from 1) in it that stands for `column` of the whole line.
pub(crate) fn shown(line: &str, items: &[Item], column: usize) -> (String, usize) {
    let chars: Vec<char> = line.chars().collect();
    let at = |index: usize| chars.get(index..).unwrap_or_default();
    let mut out = String::new();
    let mut caret = None;
    let first = items.first().map_or(chars.len(), |item| item.column as usize - 1).min(chars.len());
    let margin: String = chars[..first].iter().collect();
    if margin.chars().all(|c| c.is_whitespace() || matches!(c, '-' | '?' | '{' | '[' | ',' | '}' | ']')) {
        out.push_str(&margin);
        if column <= first {
            caret = Some(column);
        }
    } else {
        // The tail of a longer text: what follows on the line may not be what it looks like.
        out.extend(margin.chars().take_while(|c| c.is_whitespace()));
        let caret = out.chars().count() + 1;
        return (out + MASK, caret);
    }
    for (index, item) in items.iter().enumerate() {
        let start = (item.column as usize - 1).min(chars.len());
        let end = items.get(index + 1).map_or(chars.len(), |next| next.column as usize - 1).min(chars.len());
        let region: String = at(start).iter().take(end.saturating_sub(start)).collect();
        let begun = out.chars().count();
        let last = index + 1 == items.len();
        if item.is_key {
            out.push_str(&key(&region, item.shown));
        } else {
            let open = if last { depth(&out) } else { 0 };
            out.push_str(&value(&region, item.shown, last, open));
        }
        if caret.is_none() && column <= end {
            let within = if item.shown { column.saturating_sub(start + 1) } else { 0 };
            caret = Some((begun + 1 + within).min(out.chars().count().max(begun + 1)));
        }
    }
    let caret = caret.unwrap_or(out.chars().count() + 1);
    cut(&out, caret)
}

/// At most 200 characters, with the caret among them.
fn cut(text: &str, caret: usize) -> (String, usize) {
    const MOST: usize = 200;
    let text = text.trim_end();
    if text.chars().count() <= MOST {
        return (text.to_owned(), caret);
    }
    let skip = if caret > MOST - 40 { caret - 40 } else { 0 };
    let mut shown: String = if skip > 0 { "…".to_owned() } else { String::new() };
    let caret = caret - skip + shown.chars().count();
    shown.extend(text.chars().skip(skip).take(MOST));
    (shown, caret)
}

/// A key with its colon, and what of structure follows.
fn key(region: &str, is_shown: bool) -> String {
    let quote = region.chars().next().filter(|c| matches!(c, '"' | '\''));
    let name = if let Some(quote) = quote {
        region[1..].find(quote).map_or(region.len(), |end| end + 2)
    } else {
        let end = region.find(": ").or_else(|| region.find(':'));
        end.unwrap_or_else(|| region.trim_end_matches([' ', ',', ']', '}']).len())
    };
    let (name, rest) = region.split_at(name.min(region.len()));
    let mut out = if is_shown { name.to_owned() } else { MASK.to_owned() };
    let mut in_anchor = false;
    for c in rest.chars() {
        in_anchor = matches!(c, '&' | '*') || (in_anchor && (c.is_alphanumeric() || matches!(c, '_' | '-')));
        if !(in_anchor || matches!(c, ':' | ' ' | '{' | '[' | '-' | ',' | ']' | '}')) {
            break;
        }
        out.push(c);
    }
    out
}

fn value(region: &str, is_shown: bool, is_last: bool, open: usize) -> String {
    let body = body(region);
    // What stands between this value and the next: only where there is a next one, since then
    // this is a flow collection, and its plain scalars hold none of these.
    let tail: &str = if is_last {
        closing(body, open)
    } else {
        let start = region.trim_end_matches([' ', ',', ']', '}', '[', '{', '-']).len();
        region.get(start..).unwrap_or_default()
    };
    if is_shown {
        let shown = scrub(body);
        return if body.len() + tail.len() <= region.len() && !body.ends_with(tail) {
            format!("{shown}{tail}")
        } else {
            shown
        };
    }
    let bare = body.trim().trim_end_matches([',', ']', '}', ' ']);
    let bare = if REFERENCE.is_match(body.trim()) { body.trim() } else { bare };
    if REFERENCE.is_match(bare) { format!("{bare}{tail}") } else { format!("{MASK}{tail}") }
}

/// How many brackets are open at the end of what is shown of a line. Those of references are closed.
fn depth(shown: &str) -> usize {
    shown.chars().fold(0, |open: usize, c| match c {
        '{' | '[' => open + 1,
        '}' | ']' => open.saturating_sub(1),
        _ => open,
    })
}

/// The brackets that close behind the last value of a line, no more than are open on it: between
/// brackets a value that is not in quotes holds none.
fn closing(body: &str, open: usize) -> &str {
    let bare = body.trim_end_matches([' ', ',', ']', '}']);
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''));
    if quote.is_some_and(|quote| bare.len() < 2 || !bare.ends_with(quote)) {
        return "";
    }
    let brackets = body.rmatch_indices([']', '}']).take_while(|(at, _)| *at >= bare.len()).take(open);
    brackets.last().and_then(|(at, _)| body.trim_end().get(at..)).unwrap_or_default()
}

/// The value without a comment behind it.
fn body(region: &str) -> &str {
    let quote = region.chars().next().filter(|c| matches!(c, '"' | '\''));
    let from = match quote {
        Some(quote) => {
            let mut escaped = false;
            let end = region.char_indices().skip(1).find(|(_, c)| {
                let ends = *c == quote && !escaped;
                escaped = quote == '"' && *c == '\\' && !escaped;
                ends
            });
            match end {
                Some((end, _)) => end + 1,
                None => return region,
            }
        }
        None => 0,
    };
    region[from..].find(" #").map_or(region, |comment| &region[..from + comment])
}

#[expect(clippy::expect_used, reason = "the expressions are constants, and each is used by a test")]
fn constant(expression: &str) -> Regex {
    Regex::new(expression).expect("a sound expression")
}

/// Nothing but a reference without a default.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    constant(r#"^["']?\$\{(env:)?[A-Za-z_][A-Za-z0-9_]*\}["']?$|^["']?\$\{file:[A-Za-z0-9_./ -]*\}["']?$"#)
});

/// A reference's default, closed or not.
static DEFAULT: LazyLock<Regex> = LazyLock::new(|| constant(r"(\$\{[^}]*?:-)[^}]*"));

/// A URL in its parts: what is before a user name, that, host and port, path, query, and what of
/// structure follows.
static URL: LazyLock<Regex> = LazyLock::new(|| {
    constant(
        r#"(?x) ^ (\s*["']?https?://) ([^/?\#\s]*@)?
        ( (?: \$\{[A-Za-z0-9_:./-]*(?:\*\*\*)?\}? | [A-Za-z0-9._*-] | \[[0-9A-Fa-f:.]+\] )+
          (?: : (?: [0-9]+ | \$\{[A-Za-z0-9_:-]*(?:\*\*\*)?\}? ) )? )
        (/[^?\#\s"',}\]]*)? ([?\#][^\s"',}\]]*)? (["',}\]\s]*) $"#,
    )
});

/// Harmless text without what secrets may hide in: a reference's default, a URL's user and query,
/// and what looks like a URL and is none.
pub(crate) fn scrub(text: &str) -> String {
    let text = DEFAULT.replace_all(text, "${1}***").into_owned();
    if !text.contains("//") && !text.contains('@') {
        return text;
    }
    let Some(url) = URL.captures(&text) else { return MASK.to_owned() };
    let part = |group: usize| url.get(group).map_or("", |part| part.as_str());
    let user = if part(2).is_empty() { "" } else { "***@" };
    let query = if part(5).is_empty() { "" } else { "?***" };
    format!("{}{user}{}{}{query}{}", part(1), part(3), part(4), part(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(before: &[&str], line: &str) -> String {
        shown(line, &guess(before, line), 1).0
    }

    #[test]
    fn a_line_shows_only_what_is_known_to_be_harmless() {
        for (line, expected) in [
            ("    path: /crewmojo", "    path: /crewmojo"),
            ("    extar: {path: CANARY}", "    extar: {path: ***}"),
            ("    extar: {path: \"CANARY}", "    extar: {path: ***"),
            ("    client_secret: CANARY}", "    client_secret: ***"),
            ("    extar: {path: CANARY}}}", "    extar: {path: ***}"),
            ("    client_secret: CANARY", "    client_secret: ***"),
            ("    client_secert: 'CANARY'", "    client_secert: ***"),
            ("    client_secret: ${SECRET}", "    client_secret: ${SECRET}"),
            ("    client_secret: ${SECRET:-CANARY}", "    client_secret: ***"),
            ("    address: ${ADDRESS:-CANARY}", "    address: ${ADDRESS:-***}"),
            ("    address: ${ADDRESS:-CANARY", "    address: ${ADDRESS:-***"),
            ("    url: https://u:CANARY@host/", "    url: https://***@host/"),
            ("    token_url: https://host/?key=CANARY", "    token_url: https://host/?***"),
            ("  - {name: billing, key: CANARY}", "  - {name: billing, key: ***}"),
            ("  path: /x # was CANARY", "  path: /x"),
            ("  match:   # CANARY", "  match:"),
            ("  CANARY", "  ***"),
            ("  - CANARY", "  ***"),
        ] {
            assert_eq!(guessed(&[], line), expected, "{line}");
        }
    }

    #[test]
    fn the_inside_of_a_longer_text_is_blanked() {
        for (before, line) in [
            (&["key: |", "  first"][..], "  url: CANARY"),
            (&["key: \"first"], "url: CANARY"),
            (&["key: 'it''s"], "  url: CANARY"),
            (&["key: first"], "  url: CANARY"),
            (&["- key: |"], "  url: CANARY"),
            (&["extra: {", "  a: b,"], "  url: CANARY"),
        ] {
            assert!(!guessed(before, line).contains("CANARY"), "{before:?} {line}");
        }
        assert_eq!(guessed(&["routes:", "  - name: x"], "    path: /a"), "    path: /a");
        assert_eq!(guessed(&["match:"], "  path: /a"), "  path: /a");
    }

    #[test]
    fn the_caret_moves_with_what_was_blanked() {
        let line = "  - {key: CANARYCANARY, path: x}";
        let (text, caret) = shown(line, &guess(&[], line), 25);
        assert_eq!(text, "  - {key: ***, path: x}");
        assert_eq!(&text[caret - 1..caret + 3], "path");
        let long = format!("  path: {}x", "y".repeat(1000));
        let (text, caret) = shown(&long, &guess(&[], &long), 1009);
        assert!(text.chars().count() <= 201 && caret <= text.chars().count(), "{caret} {text}");
    }

    #[test]
    fn what_may_be_shown_is_judged_by_the_place() {
        for (path, harmless) in [
            ("routes[0].match.path", true),
            ("routes[0].timeouts.token", true),
            ("routes[0].limits.body", true),
            ("credentials.a.token", false),
            ("credentials.a.request.body", false),
            ("credentials.a.request.url", true),
            ("credentials.a.request.json.url", false),
            ("credentials.a.extra.path", false),
            ("credentials.a.refused_when.json.pointer", true),
            ("credentials.a.client_secret", false),
            ("routes[0].access.api_keys[0].key", false),
            ("routes[0].access.allow[1]", true),
            ("routes[0].access.users[0].name", true),
            ("routes[0].access.users[0].password", false),
            ("routes[0].access.jwt.jwks", true),
            ("routes[0].access.jwt.claims.name", false),
            ("routes[0].access.client_certificates.names[0]", true),
            ("x-free.path", false),
            ("", false),
        ] {
            assert_eq!(is_harmless(&Path::parse(path)), harmless, "{path}");
        }
    }
}
