//! `Location` and `Content-Location` on their way back (RFC 9110 sections 10.2.2 and 8.7): URI
//! references, resolved as RFC 3986 section 4.2 tells them apart.

use std::borrow::Cow;

use super::Rewrite;
use crate::model::{Origin, Scheme};
use crate::token::inject::{has_parameter, remove_parameter};

/// A reference in its parts. Put together again they are the text it was read from.
struct Reference<'l> {
    /// Scheme and authority as written, `//` included; empty where there are none.
    head: &'l str,
    path: &'l str,
    query: Option<&'l str>,
    /// With its `#`; empty where there is none.
    fragment: &'l str,
}

/// Where a reference leads.
#[derive(PartialEq, Eq)]
enum Leads {
    /// To the upstream, by an absolute path.
    Upstream,
    /// To the upstream, relative to the request's path: right on both sides as it is.
    Relative,
    Elsewhere,
}

/// The reference as the client should see it; `None` to leave it.
pub(super) fn back(rewrite: &Rewrite, location: &str, injected_query: Option<&str>) -> Option<String> {
    // Clients drop tabs and line breaks from URLs, wherever they stand, so that what was looked at
    // here would not be what they follow.
    if location.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let (reference, leads) = read(location, rewrite.base().origin());
    let path = match leads {
        Leads::Elsewhere if is_host_of(reference.head, rewrite.base().origin()) => None,
        Leads::Elsewhere => return None,
        Leads::Relative => None,
        // The empty path of an absolute URL is the root (RFC 9110 section 4.2.3).
        Leads::Upstream if reference.path.is_empty() => rewrite.path_back("/"),
        Leads::Upstream => rewrite.path_back(reference.path),
    };
    let (head, path) = match &path {
        Some(path) => (authority_guard(path), if path.is_empty() { "/" } else { path.as_str() }),
        None => (reference.head, reference.path),
    };
    let query = match (reference.query, injected_query) {
        (Some(query), Some(name)) if has_parameter(query, name) => remove_parameter(query, name).map(Cow::Owned),
        (query, _) => query.map(Cow::Borrowed),
    };
    let mark = if query.is_some() { "?" } else { "" };
    let out = [head, path, mark, query.as_deref().unwrap_or(""), reference.fragment].concat();
    (out != location).then_some(out)
}

/// The reference without every query parameter of this name, wherever it leads.
pub fn without_parameter(location: &str, name: &str) -> String {
    let (rest, fragment) = location.split_at(location.find('#').unwrap_or(location.len()));
    let Some((rest, query)) = rest.split_once('?') else { return location.to_owned() };
    let query = remove_parameter(query, name);
    let mark = if query.is_some() { "?" } else { "" };
    [rest, mark, query.as_deref().unwrap_or(""), fragment].concat()
}

/// Whether it is the upstream's host, though under another scheme or port: where it leads is left as
/// it is, but it does not carry our token there.
fn is_host_of(head: &str, upstream: &Origin) -> bool {
    let authority = head.split_once("//").map_or(head, |(_, authority)| authority);
    authority
        .parse::<http::uri::Authority>()
        .is_ok_and(|authority| authority.host().eq_ignore_ascii_case(upstream.host()))
}

/// A path that begins with two slashes would be read as a host's name. `/.` before it is what the
/// URL standard writes in that case, and no client takes it for anything but this path.
fn authority_guard(path: &str) -> &'static str {
    if path.starts_with("//") || path.starts_with("/\\") { "/." } else { "" }
}

fn read<'l>(location: &'l str, upstream: &Origin) -> (Reference<'l>, Leads) {
    let (rest, fragment) = location.split_at(location.find('#').unwrap_or(location.len()));
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    // RFC 3986 section 4.2: a colon in the first segment ends a scheme.
    let first_segment = rest.split('/').next().unwrap_or(rest);
    let (scheme, after) = match first_segment.find(':').and_then(|colon| rest.split_at_checked(colon)) {
        Some((name, after)) => (Some(name), after.strip_prefix(':').unwrap_or(after)),
        None => (None, rest),
    };
    let (authority, path) = match after.strip_prefix("//") {
        Some(after) => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            (Some(authority), path)
        }
        None => (None, after),
    };
    let leads = match (scheme, authority) {
        (None, None) if path.starts_with('/') => Leads::Upstream,
        (None, None) => Leads::Relative,
        // `https:path` has never meant one thing.
        (Some(_), None) => Leads::Elsewhere,
        (scheme, Some(authority)) => {
            let scheme = scheme.map_or(Some(upstream.scheme()), Scheme::from_name);
            let origin = scheme.and_then(|scheme| Origin::parse(scheme, authority).ok());
            if origin.as_ref() == Some(upstream) { Leads::Upstream } else { Leads::Elsewhere }
        }
    };
    let head = rest.get(..rest.len() - path.len()).unwrap_or("");
    (Reference { head, path, query, fragment }, leads)
}
