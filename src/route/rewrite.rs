//! From the client's path to the upstream's, and back.

use std::borrow::Cow;

use super::{cookie, location};
use crate::model::{BaseUrl, CanonicalPath, EncodedSlash, PathError, PathPrefix, PathRule};

/// What a route does to paths, in both directions. Pure.
#[derive(Clone, Debug)]
pub struct Rewrite {
    mapping: Mapping,
    base: BaseUrl,
    /// The base path, to compare with: escapes in an answer may be spelled otherwise than in ours.
    base_prefix: PathPrefix,
}

/// A forwarded request target: the upstream's path, as it will be sent. Borrowed where it is a part of
/// the client's.
pub type Target<'r> = Cow<'r, str>;

/// How the paths of the two sides hang together.
#[derive(Clone, Debug)]
enum Mapping {
    /// This prefix is replaced by the upstream's path.
    Prefix(PathPrefix),
    /// This path is replaced by the upstream's path, as written.
    Whole(String),
    /// The whole path is appended to the upstream's. The prefix is what the route's requests have
    /// in common.
    Append(PathPrefix),
}

impl Rewrite {
    /// The rewriting of a route with this path rule to this upstream.
    pub fn new(rule: PathRule, strip_prefix: bool, base: BaseUrl) -> Self {
        let mapping = match rule {
            PathRule::Prefix(prefix) if strip_prefix => Mapping::Prefix(prefix),
            PathRule::Prefix(prefix) => Mapping::Append(prefix),
            PathRule::Exact(path) if strip_prefix => Mapping::Whole(comparable(&path).into_owned()),
            PathRule::Exact(path) => Mapping::Append(PathPrefix::parse(&path).unwrap_or_else(|_| PathPrefix::root())),
            PathRule::Regex(_) => Mapping::Append(PathPrefix::root()),
        };
        // A base path was checked when it was read; an empty one is no path, but the root.
        let base_prefix = PathPrefix::parse(base.path()).unwrap_or_else(|_| PathPrefix::root());
        Self { mapping, base, base_prefix }
    }

    /// The upstream's path for a raw path whose canonical form the rule matched. Never empty.
    pub fn forward<'r>(&self, raw: &'r str) -> Target<'r> {
        let base = self.base.path();
        let below = |rest: &'r str| if base.is_empty() { Cow::Borrowed(rest) } else { [base, rest].concat().into() };
        let target = match &self.mapping {
            Mapping::Whole(_) => self.base.written_path().to_owned().into(),
            Mapping::Prefix(prefix) => below(prefix.rest(raw)),
            Mapping::Append(_) => below(raw),
        };
        if target.is_empty() { Cow::Borrowed("/") } else { target }
    }

    /// A `Location` or `Content-Location` as the client should see it; `None` to leave it as it is.
    /// `injected_query` is the name of the query parameter that carries the token, if one does.
    ///
    /// What points into the upstream becomes a path on this proxy; the token's parameter goes out
    /// of everything that leads to the upstream's origin, also relative references and paths that
    /// the route does not reach, since it is a secret wherever the client takes it.
    pub fn location_back(&self, location: &str, injected_query: Option<&str>) -> Option<String> {
        location::back(self, location, injected_query)
    }

    /// A `Set-Cookie` as the client should see it: `Domain` goes, `Path` is mapped, `Secure` goes
    /// where the client's connection is plain.
    pub fn set_cookie_back(&self, cookie: &str, client_is_plain: bool) -> String {
        cookie::back(self, cookie, client_is_plain)
    }

    /// The upstream.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The client's path for an upstream's; `None` where the route leads to no such path, or where
    /// it has dot segments, which the client would resolve against this proxy's paths. May be
    /// empty, or begin with two slashes.
    pub(super) fn path_back(&self, path: &str) -> Option<String> {
        let compared = match CanonicalPath::parse(path, EncodedSlash::Allow) {
            Ok(canonical) => Cow::Owned(canonical.as_str().to_owned()),
            Err(PathError::DotSegment) => return None,
            // Answers hold bytes that requests may not: they are compared as they are.
            Err(_) if has_plain_dot_segment(path) => return None,
            Err(_) => Cow::Borrowed(path),
        };
        match &self.mapping {
            Mapping::Whole(exact) => (compared == comparable(self.base.written_path())).then(|| exact.clone()),
            Mapping::Prefix(prefix) => self.below_base(path, &compared).map(|rest| [prefix.as_str(), rest].concat()),
            Mapping::Append(_) => self.below_base(path, &compared).map(str::to_owned),
        }
    }

    /// The `Path` of a cookie for the client. One that covers more than the upstream's path, or
    /// something else, is narrowed to the route: the cookie must not go to other routes, whose
    /// upstreams are others.
    pub(super) fn cookie_path_back(&self, path: &str) -> String {
        let (route, mapped) = match &self.mapping {
            Mapping::Whole(exact) => return exact.clone(),
            // The whole of an upstream at the root is the route, also without a slash behind it.
            Mapping::Prefix(prefix) if path == "/" => (prefix, None),
            Mapping::Prefix(prefix) | Mapping::Append(prefix) => (prefix, self.path_back(path)),
        };
        let inside = |path: &String| route.matches(&comparable(path));
        mapped.filter(inside).filter(|path| !path.is_empty()).unwrap_or_else(|| route.to_string())
    }

    /// What of `path` stands behind the base path, if it lies there.
    fn below_base<'p>(&self, path: &'p str, compared: &str) -> Option<&'p str> {
        self.base_prefix.matches(compared).then(|| self.base_prefix.rest(path))
    }
}

/// The canonical form of a path where it has one.
fn comparable(path: &str) -> Cow<'_, str> {
    CanonicalPath::parse(path, EncodedSlash::Allow).map_or(Cow::Borrowed(path), |c| Cow::Owned(c.as_str().to_owned()))
}

/// Dot segments of a path that has no canonical form for other reasons. Clients take a backslash
/// for a slash.
fn has_plain_dot_segment(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let decoded = percent_encoding::percent_decode_str(segment);
        decoded.clone().eq(*b".") || decoded.eq(*b"..")
    })
}

#[cfg(test)]
mod tests;
