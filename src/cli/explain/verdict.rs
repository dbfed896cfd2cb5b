//! Why a route does or does not take a request, in words.

use std::cmp::Ordering;

use http::{HeaderMap, Method};

use crate::cli::words;
use crate::config::Loaded;
use crate::model::{HostPattern, MatchSpec, PathRule};
use crate::route::Verdict;

/// What a value of the file reads, masked where it must not be seen.
pub(super) fn shown(loaded: &Loaded, path: &str, value: &str) -> String {
    words::plain(loaded.masked(path).unwrap_or(value))
}

/// The name of the route at this place.
pub(super) fn name(loaded: &Loaded, place: usize) -> String {
    let name = loaded.settings.routes.get(place).map_or("", |route| &route.name);
    shown(loaded, &format!("routes[{place}].name"), name)
}

/// The sentence for one verdict; `None` for the route that takes the request.
pub(super) fn sentence(
    loaded: &Loaded,
    place: usize,
    verdict: &Verdict,
    method: &Method,
    headers: &HeaderMap,
) -> Option<String> {
    let spec = &loaded.settings.routes.get(place)?.matcher;
    let at = |field: &str| format!("routes[{place}].match.{field}");
    Some(match verdict {
        Verdict::Taken => return None,
        Verdict::Behind(first) => {
            let because = loaded.settings.routes.get(*first).map_or("", |first| because(&first.matcher, spec));
            format!("it matches too, but {} goes first: {because}", name(loaded, *first))
        }
        Verdict::Host => {
            let host = spec.host.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("its host is {}", shown(loaded, &at("host"), &host))
        }
        Verdict::Path => match &spec.path {
            PathRule::Prefix(prefix) => format!("its path is {}", shown(loaded, &at("path"), &prefix.to_string())),
            PathRule::Exact(path) => format!("its path is exactly {}", shown(loaded, &at("path_exact"), path)),
            PathRule::Regex(regex) => {
                format!("its path must match {}", shown(loaded, &at("path_regex"), regex.as_str()))
            }
        },
        Verdict::Method => {
            let listed: Vec<String> = spec
                .methods
                .iter()
                .enumerate()
                .map(|(index, method)| shown(loaded, &at(&format!("methods[{index}]")), method.as_str()))
                .collect();
            let other_case = spec.methods.iter().any(|m| m.as_str().eq_ignore_ascii_case(method.as_str()));
            let note = if other_case { " (methods are case-sensitive)" } else { "" };
            format!("its method is {}{note}", words::any_of(listed.iter().map(String::as_str)))
        }
        Verdict::Header(header) if headers.contains_key(header) => {
            format!("it wants the header {header} with another value")
        }
        Verdict::Header(header) => format!("it wants a header {header}"),
    })
}

/// Why of two routes that both match the first one is asked first: the contract's order.
fn because(first: &MatchSpec, second: &MatchSpec) -> &'static str {
    let host = |spec: &MatchSpec| match &spec.host {
        Some(HostPattern::Exact(_)) => (2, 0),
        Some(HostPattern::Wildcard(suffix)) => (1, suffix.len()),
        None => (0, 0),
    };
    match host(first).cmp(&host(second)) {
        Ordering::Equal => {}
        _ if matches!(first.host, Some(HostPattern::Exact(_))) => return "its host is an exact one",
        _ if second.host.is_none() => return "it names the host",
        _ => return "its host is the longer one",
    }
    match (&first.path, &second.path) {
        (PathRule::Exact(_), PathRule::Regex(_) | PathRule::Prefix(_)) => return "its path is an exact one",
        (PathRule::Regex(_), PathRule::Prefix(_)) => return "a regular expression goes before a prefix",
        (PathRule::Prefix(one), PathRule::Prefix(other)) if one != other => return "its path is the longer one",
        (PathRule::Regex(one), PathRule::Regex(other)) if one.as_str() != other.as_str() => {
            return "its regular expression stands first in the file";
        }
        _ => {}
    }
    if first.methods.is_empty() != second.methods.is_empty() {
        "it names the method"
    } else if first.headers.len() != second.headers.len() {
        "it asks for more headers"
    } else {
        "it stands first in the file"
    }
}
