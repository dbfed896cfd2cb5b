//! URLs as this proxy needs them: an origin that is compared and dialled, a base path that a
//! prefix is replaced by, an endpoint that a token is asked of.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::Authority;

/// `http` or `https`; nothing else is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Reads a scheme's name, in any case, without the colon.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.as_str()))
    }

    /// The scheme's name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port (RFC 6454): what a token is bound to. Two spellings of one origin are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    authority: Authority,
}

/// Why a URL was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum UrlError {
    /// It does not parse as a URI.
    #[error("is not a URL")]
    Malformed,
    /// A scheme is missing or is none that is spoken.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// There is no host, or what stands in its place is none.
    #[error("has no valid host")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("has a port that is none")]
    Port,
    /// `user:password@` in a URL would be a credential to a host of the URL's choosing.
    #[error("must not hold a user name or password")]
    UserInfo,
    /// A query where none can be used.
    #[error("must not have a query")]
    Query,
    /// A fragment never leaves a client.
    #[error("must not have a fragment")]
    Fragment,
    /// A path with dot segments or bad escapes would be read differently by each server.
    #[error("has a path with '.' or '..' segments, a backslash or a bad escape")]
    Path,
}

impl Origin {
    /// The origin of this scheme at `host`, `host:port` or `host:` (RFC 3986 section 3.2.3: an empty
    /// port is the scheme's own). Two spellings of one address are one host.
    pub fn parse(scheme: Scheme, authority: &str) -> Result<Self, UrlError> {
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (authority, ""),
        };
        let host = normal_host(name)?;
        let port = match port {
            "" => scheme.default_port(),
            // `parse` alone would take a sign.
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| UrlError::Port)?,
            _ => return Err(UrlError::Port),
        };
        if port == 0 {
            return Err(UrlError::Port);
        }
        let text = if port == scheme.default_port() { host.clone() } else { format!("{host}:{port}") };
        let authority = text.parse().map_err(|_| UrlError::Malformed)?;
        Ok(Self { scheme, host, port, authority })
    }

    fn from_uri(uri: &Uri) -> Result<Self, UrlError> {
        let scheme = uri.scheme_str().and_then(Scheme::from_name).ok_or(UrlError::Scheme)?;
        Self::parse(scheme, uri.authority().ok_or(UrlError::Host)?.as_str())
    }

    /// http or https.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as an address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host` or `host:port`, the port only where it is not the scheme's own: the `Host` header.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether it names this machine: a loopback address or `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A host in lower case, without a trailing dot; an IPv6 address in brackets, in the spelling of
/// RFC 5952.
fn normal_host(text: &str) -> Result<String, UrlError> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return address.map(|address| format!("[{address}]")).ok_or(UrlError::Host);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if name.split('.').all(label) { Ok(name.to_ascii_lowercase()) } else { Err(UrlError::Host) }
}

fn parse(text: &str) -> Result<(Origin, Uri), UrlError> {
    if text.contains('#') {
        return Err(UrlError::Fragment);
    }
    let text = text.trim();
    text.split_once("://").and_then(|(scheme, _)| Scheme::from_name(scheme)).ok_or(UrlError::Scheme)?;
    let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
    let origin = Origin::from_uri(&uri)?;
    if super::CanonicalPath::parse(uri.path(), super::EncodedSlash::Allow).is_err() {
        return Err(UrlError::Path);
    }
    Ok((origin, uri))
}

/// An upstream's URL: an origin, and the path that a route's matched prefix is replaced by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl {
    origin: Origin,
    /// As written; at least `/`.
    written: String,
}

impl BaseUrl {
    /// Reads `https://host[:port][/path]`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (origin, uri) = parse(text)?;
        if uri.query().is_some() {
            return Err(UrlError::Query);
        }
        Ok(Self { origin, written: uri.path().to_owned() })
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path without a trailing slash; empty for the root. What a prefix is replaced by, and
    /// what a path is appended to.
    pub fn path(&self) -> &str {
        self.written.trim_end_matches('/')
    }

    /// The path as written, with its trailing slash where it has one; at least `/`. What an exact
    /// path is replaced by: to many a server `/status` and `/status/` are two resources.
    pub fn written_path(&self) -> &str {
        &self.written
    }

    /// This URL with `suffix` (which begins with a slash) behind it.
    pub fn join(&self, suffix: &str) -> EndpointUrl {
        EndpointUrl { origin: self.origin.clone(), path: format!("{}{suffix}", self.path()), query: None }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path())
    }
}

/// One URL that a login is sent to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EndpointUrl {
    origin: Origin,
    path: String,
    query: Option<String>,
}

impl EndpointUrl {
    /// Reads `https://host[:port]/path[?query]`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (origin, uri) = parse(text)?;
        Ok(Self { origin, path: uri.path().to_owned(), query: uri.query().map(str::to_owned) })
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path, as written; at least `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path and query: the request target of RFC 9112 section 3.2.1.
    pub fn target(&self) -> String {
        match &self.query {
            Some(q) => format!("{}?{q}", self.path),
            None => self.path.clone(),
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_origin_are_equal() {
        let a = BaseUrl::parse("HTTPS://Api.Example.com:443/v1/").unwrap();
        let b = BaseUrl::parse("https://api.example.com./v1").unwrap();
        assert_eq!(a.origin(), b.origin());
        assert_eq!((a.path(), b.path()), ("/v1", "/v1"));
        assert_eq!((a.written_path(), b.written_path()), ("/v1/", "/v1"));
        assert_eq!(a.to_string(), "https://api.example.com/v1");
        assert_eq!(a.origin().port(), 443);
        for (one, other) in [
            ("http://[::1]:80", "http://[0:0:0::0001]/"),
            ("http://host:", "http://HOST:80/"),
            ("http://host:080", "http://host"),
        ] {
            assert_eq!(BaseUrl::parse(one).unwrap().origin(), BaseUrl::parse(other).unwrap().origin(), "{one}");
        }
        assert_ne!(BaseUrl::parse("http://host").unwrap().origin(), BaseUrl::parse("https://host").unwrap().origin());
    }

    #[test]
    fn an_address_in_brackets_is_dialled_without_and_named_with_them() {
        let origin = BaseUrl::parse("https://[2001:DB8::1]:8443/v1").unwrap().origin().clone();
        assert_eq!(origin.host(), "[2001:db8::1]");
        assert_eq!(origin.ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(origin.authority(), "[2001:db8::1]:8443");
        assert_eq!(origin.to_string(), "https://[2001:db8::1]:8443");
    }

    #[test]
    fn what_is_no_upstream_url_is_refused_with_its_reason() {
        for (text, error) in [
            ("api.example.com", UrlError::Scheme),
            ("localhost:8080/v1", UrlError::Scheme),
            ("/v1", UrlError::Scheme),
            ("ftp://host/", UrlError::Scheme),
            ("https://user:pass@host/", UrlError::UserInfo),
            ("https://user@host/", UrlError::UserInfo),
            ("https://host/?a=b", UrlError::Query),
            ("https://host/#a", UrlError::Fragment),
            ("https://host:99999/", UrlError::Port),
            ("https://host:0/", UrlError::Port),
            ("https://host:+80/", UrlError::Port),
            ("https://host:8o/", UrlError::Port),
            ("https://[::1]:x/", UrlError::Port),
            ("https://:80/", UrlError::Host),
            ("https://host../", UrlError::Host),
            ("https://a..b/", UrlError::Host),
            ("https://*.host/", UrlError::Host),
            ("https://[v1.a]/", UrlError::Host),
            ("https://ho st/", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https:///v1", UrlError::Malformed),
            ("https://host/a/../b", UrlError::Path),
            ("https://host/a/%2e%2e/b", UrlError::Path),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, expected) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://localhost/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().origin().is_loopback(), expected, "{text}");
        }
    }
}
