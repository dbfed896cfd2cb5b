//! Host names as routes match them.

use std::fmt;
use std::net::Ipv6Addr;

/// An exact host, or `*.suffix` (one label or more in place of the star).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// In lower case, without a port or a trailing dot; an IPv6 address in brackets, in the spelling
    /// of RFC 5952.
    Exact(String),
    /// `*.internal` is kept as `.internal`.
    Wildcard(String),
}

/// Why a host pattern was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum HostPatternError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Ports are not matched.
    #[error("must not have a port, a path or a scheme")]
    NotAHost,
    /// The star stands elsewhere than as the whole first label.
    #[error("may have a '*' only as its whole first label, as in *.internal")]
    Star,
}

impl HostPattern {
    /// Reads `crm.internal` or `*.internal`.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if lower.is_empty() {
            return Err(HostPatternError::Empty);
        }
        let (wild, name) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        if name.contains('*') {
            return Err(HostPatternError::Star);
        }
        if let Some(inner) = lower.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|ip| Self::Exact(format!("[{ip}]"))).ok_or(HostPatternError::NotAHost);
        }
        let plain = !name.is_empty()
            && name.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if !plain {
            return Err(HostPatternError::NotAHost);
        }
        Ok(if wild { Self::Wildcard(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
    }

    /// Whether this host (in lower case, without port and trailing dot) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_wildcards_are_read() {
        assert_eq!(HostPattern::parse("CRM.Internal."), Ok(HostPattern::Exact("crm.internal".into())));
        assert_eq!(HostPattern::parse("*.Internal"), Ok(HostPattern::Wildcard(".internal".into())));
        assert_eq!(HostPattern::parse("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
        assert_eq!(HostPattern::parse("[0:0::1]"), Ok(HostPattern::Exact("[::1]".into())));
        assert_eq!(HostPattern::parse("a.*.b"), Err(HostPatternError::Star));
        assert_eq!(HostPattern::parse("*"), Err(HostPatternError::Star));
        for text in
            ["host:80", "[::1]:80", "[garbage]", "[::1", "*.[::1]", "a..b", "a..", ".a", "http://a", "caf\u{e9}"]
        {
            assert_eq!(HostPattern::parse(text), Err(HostPatternError::NotAHost), "{text}");
        }
        assert_eq!(HostPattern::parse(""), Err(HostPatternError::Empty));
        assert_eq!(HostPattern::parse("."), Err(HostPatternError::Empty));
    }

    #[test]
    fn a_star_stands_for_one_label_or_more() {
        let pattern = HostPattern::parse("*.internal").unwrap();
        for (host, expected) in [
            ("a.internal", true),
            ("a.b.internal", true),
            ("internal", false),
            (".internal", false),
            ("ainternal", false),
        ] {
            assert_eq!(pattern.matches(host), expected, "{host}");
        }
    }
}
