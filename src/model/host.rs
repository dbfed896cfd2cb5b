//! Host names as routes match them.

use std::fmt;

/// An exact host, or `*.suffix` (one label or more in place of the star).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// In lower case, without a port or a trailing dot.
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
        let lower = text.trim_end_matches('.').to_ascii_lowercase();
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
        let bracketed = name.starts_with('[') && name.ends_with(']');
        let plain = !name.is_empty()
            && name.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if !(plain || (bracketed && !wild)) {
            return Err(HostPatternError::NotAHost);
        }
        Ok(if wild { Self::Wildcard(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
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
        assert_eq!(HostPattern::parse("a.*.b"), Err(HostPatternError::Star));
        assert_eq!(HostPattern::parse("host:80"), Err(HostPatternError::NotAHost));
        assert_eq!(HostPattern::parse(""), Err(HostPatternError::Empty));
    }
}
