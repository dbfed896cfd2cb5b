//! One canonical form of a path, for matching; what is forwarded is as it came.
//!
//! Whatever another server could read as another path is refused, never repaired: dot segments in
//! any spelling, backslashes, NUL, bad escapes, and `%2f` unless a route allows it. What is left
//! differs from its canonical form only in escapes of unreserved characters (RFC 3986 section
//! 6.2.2.2) and in the case of hex digits, and both forms have the same segments.

use std::borrow::Cow;
use std::fmt;

/// Whether `%2f` in a path is let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EncodedSlash {
    /// Refused with 400.
    #[default]
    Refuse,
    /// Taken as part of a segment, and forwarded as it came.
    Allow,
}

/// Why a path was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with '/'")]
    NoSlash,
    /// `.`, `..`, `%2e`, `..;x`.
    #[error("the path has a '.' or '..' segment")]
    DotSegment,
    /// `\` or `%5c`.
    #[error("the path has a backslash")]
    Backslash,
    /// `%00`.
    #[error("the path has a NUL")]
    Nul,
    /// `%` without two hex digits.
    #[error("the path has a bad escape")]
    BadEscape,
    /// `%2f` where the route does not allow it.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// A byte that a URI cannot hold (RFC 3986 section 2).
    #[error("the path has a byte that a URI cannot hold")]
    BadByte,
}

/// A path with the unreserved characters decoded and hex digits in upper case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

impl<'a> CanonicalPath<'a> {
    /// Checks and normalises a raw path (without query).
    pub fn parse(raw: &'a str, slash: EncodedSlash) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NoSlash);
        }
        let bytes = raw.as_bytes();
        // The common path has nothing to decode, nothing to refuse, and costs no allocation.
        if bytes.iter().all(|b| PLAIN[usize::from(*b)]) {
            return if has_dot_segment(raw) { Err(PathError::DotSegment) } else { Ok(Self(Cow::Borrowed(raw))) };
        }
        let mut out = String::with_capacity(raw.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'\\' => return Err(PathError::Backslash),
                b'%' => {
                    let digits = bytes.get(at..at + 2).ok_or(PathError::BadEscape)?;
                    at += 2;
                    let value = hex(digits[0]).zip(hex(digits[1])).ok_or(PathError::BadEscape)?;
                    let decoded = value.0 << 4 | value.1;
                    match decoded {
                        0 => return Err(PathError::Nul),
                        b'\\' => return Err(PathError::Backslash),
                        b'/' if slash == EncodedSlash::Refuse => return Err(PathError::EncodedSlash),
                        b if is_unreserved(b) => out.push(char::from(b)),
                        _ => {
                            out.push('%');
                            out.push(char::from(digits[0].to_ascii_uppercase()));
                            out.push(char::from(digits[1].to_ascii_uppercase()));
                        }
                    }
                }
                b if b <= b' ' || b >= 0x7f || b == b'#' || b == b'?' => return Err(PathError::BadByte),
                b => out.push(char::from(b)),
            }
        }
        if has_dot_segment(&out) {
            return Err(PathError::DotSegment);
        }
        Ok(Self(Cow::Owned(out)))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there may be an escape in it.
    pub fn is_escaped(&self) -> bool {
        matches!(self.0, Cow::Owned(_))
    }

    /// The canonical text, borrowed where the raw one is canonical.
    pub fn into_text(self) -> Cow<'a, str> {
        self.0
    }
}

/// Bytes that need no look: no escape, no backslash, no byte outside a URI.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b: u8 = 0x21;
    while b < 0x7f {
        table[b as usize] = !matches!(b, b'%' | b'\\' | b'#' | b'?');
        b += 1;
    }
    table
};

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Dot segments as any server might see them: with parameters (`..;x`, `..%3Bx`), and between
/// encoded slashes.
fn has_dot_segment(canonical: &str) -> bool {
    if !canonical.contains("/.") && !canonical.contains("%2F.") {
        return false;
    }
    canonical.split('/').flat_map(|s| s.split("%2F")).any(|segment| {
        let name = segment.split(';').next().unwrap_or(segment);
        let name = name.split("%3B").next().unwrap_or(name);
        name == "." || name == ".."
    })
}

/// A prefix that matches on segment boundaries. A trailing slash means nothing: `/a/` is `/a`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPrefix {
    /// Canonical, without trailing slashes; empty for the root.
    text: String,
}

impl PathPrefix {
    /// Reads and normalises a prefix.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let canonical = CanonicalPath::parse(text, EncodedSlash::Allow)?;
        Ok(Self { text: canonical.as_str().trim_end_matches('/').to_owned() })
    }

    /// The root, which matches everything.
    pub fn root() -> Self {
        Self { text: String::new() }
    }

    /// The canonical text without a trailing slash; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the canonical path lies at or under this prefix.
    pub fn matches(&self, path: &str) -> bool {
        path.strip_prefix(self.text.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What of `raw` stands behind this prefix. `raw` is a path whose canonical form matched; both
    /// have the same slashes, so the prefix ends at the same segment.
    pub fn rest<'r>(&self, raw: &'r str) -> &'r str {
        if raw.starts_with(self.text.as_str()) && raw[self.text.len()..].bytes().next().is_none_or(|b| b == b'/') {
            return &raw[self.text.len()..];
        }
        let depth = self.text.bytes().filter(|b| *b == b'/').count();
        raw.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at).nth(depth).map_or("", |at| &raw[at..])
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "/" } else { &self.text })
    }
}

impl fmt::Debug for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(raw: &str) -> Result<String, PathError> {
        CanonicalPath::parse(raw, EncodedSlash::Refuse).map(|p| p.as_str().to_owned())
    }

    #[test]
    fn a_path_that_another_server_could_read_differently_is_refused() {
        use PathError::*;
        for (raw, error) in [
            ("a", NoSlash),
            ("*", NoSlash),
            ("/a/../b", DotSegment),
            ("/a/..", DotSegment),
            ("/./b", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/a/.%2e", DotSegment),
            ("/a/..;x/b", DotSegment),
            ("/a/..%3bx/b", DotSegment),
            ("/a/.;/b", DotSegment),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%00", Nul),
            ("/a%", BadEscape),
            ("/a%2", BadEscape),
            ("/a%zz", BadEscape),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/caf\u{e9}", BadByte),
            ("/a\u{7f}", BadByte),
        ] {
            assert_eq!(canonical(raw), Err(error), "{raw}");
        }
        assert_eq!(
            CanonicalPath::parse("/a%2f..%2fb", super::EncodedSlash::Allow),
            Err(DotSegment),
            "also between encoded slashes"
        );
    }

    #[test]
    fn what_is_left_differs_only_in_escapes() {
        for (raw, expected) in [
            ("/", "/"),
            ("//a//", "//a//"),
            ("/%7Euser/%61", "/~user/a"),
            ("/a%3ab", "/a%3Ab"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a.b/..c", "/a.b/..c"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a;b=c", "/a;b=c"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn a_prefix_matches_on_segment_boundaries_and_gives_the_raw_rest() {
        let prefix = PathPrefix::parse("/a/b/").unwrap();
        for (raw, rest) in [("/a/b", ""), ("/a/b/", "/"), ("/a/b/c%61", "/c%61"), ("/%61/b//c", "//c"), ("/a/%62", "")]
        {
            assert!(prefix.matches(&canonical(raw).unwrap()), "{raw}");
            assert_eq!(prefix.rest(raw), rest, "{raw}");
        }
        assert!(!prefix.matches("/a/bc"));
        assert!(!prefix.matches("/a"));
        assert!(PathPrefix::root().matches("/x"));
        assert_eq!(PathPrefix::root().rest("/x"), "/x");
    }

    proptest! {
        #[test]
        fn the_raw_rest_is_the_canonical_rest_in_another_spelling(
            raw in "(/|%2[fF]|%6[12]|%7e|%C3%a9|a|b|~|;x){1,16}",
            prefix in "(/|%2[fF]|%6[12]|%7E|%c3%a9|a|b|~|;x){1,8}",
        ) {
            let (raw, prefix) = (format!("/{raw}"), format!("/{prefix}"));
            let canonical = CanonicalPath::parse(&raw, EncodedSlash::Allow).unwrap();
            let again = CanonicalPath::parse(canonical.as_str(), EncodedSlash::Allow).unwrap();
            prop_assert_eq!(&again, &canonical, "what is canonical stays as it is");
            let prefix = PathPrefix::parse(&prefix).unwrap();
            let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
            let lies_under = segments(canonical.as_str()).starts_with(&segments(prefix.as_str()));
            prop_assert_eq!(prefix.matches(canonical.as_str()), lies_under);
            if lies_under {
                let rest = prefix.rest(&raw);
                prop_assert!(raw.ends_with(rest) && (rest.is_empty() || rest.starts_with('/')));
                let rest = if rest.is_empty() { String::new() } else {
                    CanonicalPath::parse(rest, EncodedSlash::Allow).unwrap().as_str().to_owned()
                };
                prop_assert_eq!(format!("{}{rest}", prefix.as_str()), canonical.as_str());
            }
        }
    }
}
