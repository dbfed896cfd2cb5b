//! From the client's path to the upstream's, and back.

use crate::model::{BaseUrl, PathRule};

/// What a route does to paths, in both directions. Pure.
#[derive(Clone, Debug)]
pub struct Rewrite {
    rule: PathRule,
    strip_prefix: bool,
    base: BaseUrl,
}

/// A forwarded request target: the upstream's path, as it will be sent.
pub type Target = String;

impl Rewrite {
    /// The rewriting of a route with this path rule to this upstream.
    pub fn new(rule: PathRule, strip_prefix: bool, base: BaseUrl) -> Self {
        Self { rule, strip_prefix, base }
    }

    /// The upstream's path for a raw path whose canonical form the rule matched. Never empty.
    pub fn forward(&self, raw: &str) -> Target {
        let _ = (raw, self.strip_prefix);
        todo!()
    }

    /// A `Location` or `Content-Location` as the client should see it; `None` to leave it as it is.
    /// `injected_query` is the name of the query parameter that carries the token, if one does.
    pub fn location_back(&self, location: &str, injected_query: Option<&str>) -> Option<String> {
        let _ = (location, injected_query, &self.rule, &self.base);
        todo!()
    }

    /// A `Set-Cookie` as the client should see it: `Domain` goes, `Path` is mapped, `Secure` goes
    /// where the client's connection is plain.
    pub fn set_cookie_back(&self, cookie: &str, client_is_plain: bool) -> String {
        let _ = (cookie, client_is_plain);
        todo!()
    }
}
