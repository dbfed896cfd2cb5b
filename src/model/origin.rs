//! URLs as this proxy needs them: an origin that is compared and dialled, a base path that a
//! prefix is replaced by, an endpoint that a token is asked of.

use std::fmt;
use std::net::IpAddr;

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
    /// There is no host.
    #[error("has no host")]
    Host,
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
    fn from_uri(uri: &Uri) -> Result<Self, UrlError> {
        let scheme = match uri.scheme_str() {
            Some(s) if s.eq_ignore_ascii_case("http") => Scheme::Http,
            Some(s) if s.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let explicit = match authority.as_str().rsplit_once(':') {
            Some((_, p)) if !p.ends_with(']') => Some(p.parse::<u16>().map_err(|_| UrlError::Malformed)?),
            _ => None,
        };
        let port = explicit.unwrap_or(scheme.default_port());
        if port == 0 {
            return Err(UrlError::Malformed);
        }
        let text = if port == scheme.default_port() { host.clone() } else { format!("{host}:{port}") };
        let authority = text.parse().map_err(|_| UrlError::Malformed)?;
        Ok(Self { scheme, host, port, authority })
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
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
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

fn parse(text: &str) -> Result<(Origin, Uri), UrlError> {
    if text.contains('#') {
        return Err(UrlError::Fragment);
    }
    let uri: Uri = text.trim().parse().map_err(|_| UrlError::Malformed)?;
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
    path: String,
}

impl BaseUrl {
    /// Reads `https://host[:port][/path]`. A trailing slash of the path is dropped.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (origin, uri) = parse(text)?;
        if uri.query().is_some() {
            return Err(UrlError::Query);
        }
        Ok(Self { origin, path: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path without a trailing slash; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This URL with `suffix` (which begins with a slash) behind it.
    pub fn join(&self, suffix: &str) -> EndpointUrl {
        EndpointUrl { origin: self.origin.clone(), path: format!("{}{suffix}", self.path), query: None }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
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
        let b = BaseUrl::parse("https://api.example.com/v1").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "https://api.example.com/v1");
        assert_eq!(a.origin().port(), 443);
    }

    #[test]
    fn what_is_no_upstream_url_is_refused_with_its_reason() {
        for (text, error) in [
            ("api.example.com", UrlError::Scheme),
            ("/v1", UrlError::Scheme),
            ("ftp://host/", UrlError::Scheme),
            ("https://user:pass@host/", UrlError::UserInfo),
            ("https://host/?a=b", UrlError::Query),
            ("https://host/#a", UrlError::Fragment),
            ("https://host:99999/", UrlError::Malformed),
            ("https://ho st/", UrlError::Malformed),
            ("https://host/a/../b", UrlError::Path),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, expected) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("http://localhost/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().origin().is_loopback(), expected, "{text}");
        }
    }
}
