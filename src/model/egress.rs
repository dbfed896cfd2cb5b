//! The proxy that stands between this machine and the world.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{Origin, Scheme, UrlError};

/// An egress proxy: where it is, and how one proves oneself to it. Equal only with the same user and
/// password, which it prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy {
    origin: Origin,
    /// `Basic ...`, marked as sensitive.
    authorization: Option<HeaderValue>,
}

/// Why a text is not the URL of a proxy that can be spoken to. None of these holds the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EgressProxyError {
    /// `https://`: TLS to the proxy itself.
    #[error("is a proxy by https://, which is not spoken")]
    Tls,
    /// `socks5://` and its kin.
    #[error("is a SOCKS proxy, which is not spoken")]
    Socks,
    /// A path, a query or a fragment.
    #[error("must not have a path, a query or a fragment")]
    Path,
    /// A user without a name, with a colon in it, or what is not text.
    #[error("has no valid user and password")]
    User,
    /// No host, or a port that is none.
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl EgressProxy {
    /// Reads `http://[USER:PASSWORD@]HOST[:PORT]`; without a port it is 80, as in any http URL. Odd
    /// characters of user and password are percent-encoded.
    pub fn parse(text: &str) -> Result<Self, EgressProxyError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err(EgressProxyError::Tls),
            scheme if scheme.starts_with("socks") => return Err(EgressProxyError::Socks),
            _ => return Err(UrlError::Scheme.into()),
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A '/' in a password that is not encoded comes here too, and is told of as a path.
        if rest.contains(['/', '?', '#']) {
            return Err(EgressProxyError::Path);
        }
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let origin = Origin::parse(Scheme::Http, authority)?;
        Ok(Self { origin, authorization: user.map(basic).transpose()? })
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The value of `Proxy-Authorization`, where it asks for one. Marked as sensitive.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// RFC 7617: a user's name has no colon; a password may be empty.
fn basic(user: &str) -> Result<HeaderValue, EgressProxyError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text| Zeroizing::new(percent_decode_str(text).collect::<Vec<u8>>());
    let (name, password) = (decoded(name), decoded(password));
    let is_odd = |byte: &u8| byte.is_ascii_control();
    if name.is_empty() || name.contains(&b':') || name.iter().chain(password.iter()).any(is_odd) {
        return Err(EgressProxyError::User);
    }
    let pair = Zeroizing::new([name.as_slice(), b":", password.as_slice()].concat());
    let text = Zeroizing::new(["Basic ", &*Zeroizing::new(STANDARD.encode(&*pair))].concat());
    // Kept as it is, not copied, and wiped with its last clone.
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).map_err(|_| EgressProxyError::User)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.authorization.is_some() { "***@" } else { "" };
        write!(f, "http://{user}{}", self.origin.authority())
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The way by which an upstream is reached through a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Egress {
    /// The proxy.
    pub proxy: EgressProxy,
    /// Whether even plain HTTP/1 goes through a tunnel: where `Host` must arrive as it is, since a
    /// proxy that forwards writes its own (RFC 9112 section 3.2.2).
    pub tunnel: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_the_user_and_password_that_it_asks_for() {
        for (text, shown, authorization) in [
            ("http://proxy.example:3128", "http://proxy.example:3128", None),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128", None),
            ("http://proxy.example", "http://proxy.example", None),
            ("http://[::1]:3128", "http://[::1]:3128", None),
            ("http://user:pass@10.0.0.1:3128", "http://***@10.0.0.1:3128", Some("user:pass")),
            ("http://user@proxy:1", "http://***@proxy:1", Some("user:")),
            ("http://us%40er:p%3Aa%2Fss%25@proxy:1", "http://***@proxy:1", Some("us@er:p:a/ss%")),
            ("http://user:p@ss:w@proxy:1", "http://***@proxy:1", Some("user:p@ss:w")),
        ] {
            let proxy = EgressProxy::parse(text).unwrap();
            assert_eq!((proxy.to_string(), format!("{proxy:?}")), (shown.to_owned(), shown.to_owned()));
            let value = proxy.authorization().map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(value, authorization.map(|pair| format!("Basic {}", STANDARD.encode(pair))), "{text}");
            assert!(proxy.authorization().is_none_or(HeaderValue::is_sensitive));
        }
        assert_eq!(EgressProxy::parse("http://proxy").unwrap().origin().port(), 80);
    }

    #[test]
    fn what_is_no_proxy_that_can_be_spoken_to_is_refused_with_its_reason() {
        for (text, error) in [
            ("proxy.example:3128", UrlError::Scheme.into()),
            ("ftp://proxy", UrlError::Scheme.into()),
            ("https://proxy:3128", EgressProxyError::Tls),
            ("socks5://proxy:1080", EgressProxyError::Socks),
            ("SOCKS5H://proxy:1080", EgressProxyError::Socks),
            ("http://proxy:3128/path", EgressProxyError::Path),
            ("http://proxy:3128?a", EgressProxyError::Path),
            ("http://user:pa/ss@proxy:3128", EgressProxyError::Path),
            ("http://", UrlError::Host.into()),
            ("http://user:pass@", UrlError::Host.into()),
            ("http://proxy:0", UrlError::Port.into()),
            ("http://:pass@proxy:1", EgressProxyError::User),
            ("http://us%3Aer:pass@proxy:1", EgressProxyError::User),
            ("http://user:pa%0Ass@proxy:1", EgressProxyError::User),
        ] {
            assert_eq!(EgressProxy::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn another_password_is_another_proxy() {
        let parse = |text| EgressProxy::parse(text).unwrap();
        assert_eq!(parse("http://u:a@p:1"), parse("http://u:a@P:1/"));
        assert_ne!(parse("http://u:a@p:1"), parse("http://u:b@p:1"));
        assert_ne!(parse("http://u:a@p:1"), parse("http://p:1"));
    }
}
