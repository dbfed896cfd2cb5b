//! What a route looks for in a request, and what it does to headers, as written.

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use super::{HostPattern, PathPrefix};

/// What a request's path is compared with. Always the canonical path (see `CanonicalPath`).
#[derive(Clone, Debug)]
pub enum PathRule {
    /// On segment boundaries: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(PathPrefix),
    /// The whole path.
    Exact(String),
    /// A regular expression over the path; anchored only where it says so.
    Regex(Regex),
}

/// A header that must have exactly this value, in one of its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderMatch {
    /// Case-insensitive.
    pub name: HeaderName,
    /// Compared byte for byte.
    pub value: HeaderValue,
}

/// `match:` of a route.
#[derive(Clone, Debug)]
pub struct MatchSpec {
    /// `None` for every host.
    pub host: Option<HostPattern>,
    /// Default: the prefix `/`.
    pub path: PathRule,
    /// Empty for every method.
    pub methods: Vec<Method>,
    /// All must hold.
    pub headers: Vec<HeaderMatch>,
}

/// `request_headers` or `response_headers`: what is set and what is removed. Removed first, then set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderEdits {
    /// Replaces every line of that name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Every line of that name goes.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The names that the operator has a say in.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }
}
