//! Headers that an operator names: matched, edited, or holding the token.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use crate::config::check::Check;
use crate::config::file::{Edits, Of};
use crate::config::spot::Spot;
use crate::model::{HeaderEdits, HeaderMatch, Place, Placement};

/// Headers of one connection (RFC 9110 section 7.6.1), and those that frame or address a message:
/// they belong to the proxy.
const OWN: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the proxy writes this header by itself.
pub(super) fn is_own(name: &HeaderName) -> bool {
    OWN.contains(&name.as_str())
}

/// Two names that a CGI-like upstream cannot tell apart.
fn alike(one: &HeaderName, other: &HeaderName) -> bool {
    one == other || one.as_str().replace('_', "-") == other.as_str().replace('_', "-")
}

impl Check<'_> {
    /// A header's name, if it is one.
    pub(super) fn name(&mut self, spot: &Spot<'_>, text: &str) -> Option<HeaderName> {
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        if name.is_none() {
            self.report.error_at_key(spot, "is not a header name", "write letters, digits and '-', without a colon");
        }
        name
    }

    /// `headers` of a route's `match`.
    pub(super) fn header_matches<F>(&mut self, spot: &Spot<'_>, headers: &BTreeMap<String, Of<F>>) -> Vec<HeaderMatch>
    where
        F: crate::config::file::Form<Value = HeaderValue>,
    {
        let mut matches: Vec<HeaderMatch> = Vec::new();
        for (text, value) in headers {
            let at = spot.key(text);
            let Some(name) = self.name(&at, text) else { continue };
            if matches.iter().any(|other| other.name == name) {
                self.report.error_at_key(&at, "this header is here twice", "keep one of the two");
            }
            matches.push(HeaderMatch { name, value: value.0.clone() });
        }
        matches
    }

    /// `request_headers` (with the places of the route's token) or `response_headers`.
    pub(super) fn edits(&mut self, spot: &Spot<'_>, edits: Option<&Edits>, inject: Option<&Placement>) -> HeaderEdits {
        let Some(edits) = edits else { return HeaderEdits::default() };
        let mut checked = HeaderEdits::default();
        let set = spot.key("set");
        for (text, value) in &edits.set {
            let at = set.key(text);
            let Some(name) = self.name(&at, text) else { continue };
            if checked.set.iter().any(|(other, _)| *other == name) {
                self.report.error_at_key(&at, "this header is here twice", "keep one of the two");
            }
            self.editable(&at, &name, inject);
            checked.set.push((name, value.0.clone()));
        }
        let remove = spot.key("remove");
        for (index, name) in edits.remove.iter().enumerate() {
            self.editable(&remove.index(index), &name.0, inject);
            checked.remove.push(name.0.clone());
        }
        checked
    }

    fn editable(&mut self, spot: &Spot<'_>, name: &HeaderName, inject: Option<&Placement>) {
        if is_own(name) {
            self.report.error_at_key(
                spot,
                "this header belongs to the connection, not to the request",
                "take it out; for Host there is `host_header`",
            );
        }
        let holds_token = inject.into_iter().flatten().any(|place| match place {
            Place::Header { name: token, .. } => alike(token, name),
            _ => false,
        });
        if holds_token {
            self.report.error_at_key(
                spot,
                "the route's credential puts its token into this header",
                "take it out here, or change the credential's `inject`",
            );
        }
    }
}
