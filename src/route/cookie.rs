//! `Set-Cookie` on its way back (RFC 6265 section 5.2, which is what clients do, not what servers
//! should send): attributes by any case, every byte that need not change left alone.
//!
//! Cookies named `__Host-` and `__Secure-` are treated like all others. A client that knows these
//! prefixes wants `Path=/` and `Secure` with them, and drops the cookie where it does not get them.
//! But a `Path=/` would hand the cookie of one route's upstream to all the others; and over a plain
//! connection such a client takes a `Secure` cookie no more than one without, while one that does
//! not know the prefixes sends it back only without.

use std::borrow::Cow;

use super::Rewrite;

/// The cookie as the client should see it.
pub(super) fn back(rewrite: &Rewrite, cookie: &str, client_is_plain: bool) -> String {
    let (pair, attributes) = cookie.split_at(cookie.find(';').unwrap_or(cookie.len()));
    let mut out = String::with_capacity(cookie.len());
    out.push_str(pair);
    for attribute in attributes.split(';').skip(1) {
        if let Some(attribute) = attribute_back(rewrite, attribute, client_is_plain) {
            out.push(';');
            out.push_str(&attribute);
        }
    }
    out
}

/// An attribute (with the space before it) as the client should see it; `None` where it goes.
fn attribute_back<'c>(rewrite: &Rewrite, attribute: &'c str, client_is_plain: bool) -> Option<Cow<'c, str>> {
    let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
    let is = |wanted: &str| name.trim().eq_ignore_ascii_case(wanted);
    if is("domain") || (is("secure") && client_is_plain) {
        return None;
    }
    if !is("path") {
        return Some(Cow::Borrowed(attribute));
    }
    let value = value.trim();
    // RFC 2109 had the value in quotes, and some servers still write it so.
    let (quote, path) = match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(inner) => ("\"", inner),
        None => ("", value),
    };
    // Any other value is as good as none (RFC 6265 section 5.2.4): the client takes its own path.
    if !path.starts_with('/') {
        return Some(Cow::Borrowed(attribute));
    }
    Some(Cow::Owned([name, "=", quote, &rewrite.cookie_path_back(path), quote].concat()))
}
