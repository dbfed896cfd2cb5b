//! Where a message ends and whom it is for: what a hyper server lets through although two servers
//! could read it differently is refused here, and what is forwarded is framed anew.
//!
//! What the HTTP library refuses or settles by itself is not looked at again (hyper 1.12,
//! httparse 1.10, h2 0.4, read in their sources):
//!
//! - bare 400 and a closed connection: a line fold, a space before a colon or the first name, CR,
//!   NUL and other control characters in a name or value (so no `HeaderValue` holds them), a
//!   request line with tabs or several spaces, `Transfer-Encoding` in HTTP/1.0, one whose last
//!   coding is not `chunked`, a `Content-Length` that is no plain number or stands there with two
//!   values, a chunk size that is no hexadecimal number or overflows;
//! - settled: `Content-Length` beside `Transfer-Encoding` is dropped and the connection closed
//!   after the answer (RFC 9112 section 6.1); equal `Content-Length` lines become one;
//! - stream errors in HTTP/2: connection headers, `TE` other than `trailers`, upper case in names,
//!   a missing, repeated, late or unreadable pseudo-header (so also an `:authority` with a `/`), a
//!   `Content-Length` that differs from another one or from the DATA.

use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, request};

use super::headers::{Seen, Survey};

/// Why a request is answered with 400. Each says one sentence for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Several lines, a list, or another coding: servers disagree about what it means.
    #[error("Transfer-Encoding may only be chunked, once")]
    TransferEncoding,
    /// One that HTTP/1 could not carry.
    #[error("a header's name is not a token")]
    HeaderName,
    /// Several lines, even if equal.
    #[error("Content-Length may stand there only once")]
    ContentLength,
    /// Without it nobody knows whom an HTTP/1.1 or HTTP/2 request is for.
    #[error("Host is missing")]
    HostMissing,
    /// Several lines, even if equal.
    #[error("Host may stand there only once")]
    HostRepeated,
    /// Not `host[:port]`.
    #[error("Host is not a host name or address with at most a port")]
    HostInvalid,
    /// The request target's authority, or `:authority`, is not `host[:port]`.
    #[error("the request target's host is not a host name or address with at most a port")]
    AuthorityInvalid,
    /// The request target and `Host` name different hosts.
    #[error("the request target and Host differ")]
    HostDiffers,
    /// Neither http nor https.
    #[error("the request target's scheme is neither http nor https")]
    Scheme,
    /// The authority form belongs to CONNECT alone.
    #[error("the request target is neither a path nor a URL")]
    Target,
}

/// Whom a request is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct RequestHost {
    /// As the client wrote it; `None` for HTTP/1.0 without one.
    authority: Option<HeaderValue>,
    /// Where the host ends in it, without a trailing dot.
    host_end: usize,
    /// Only where the client wrote upper case.
    lower: Option<String>,
}

impl RequestHost {
    /// The host in lower case, without port and trailing dot, an IPv6 address in brackets; empty
    /// where there is none (HTTP/1.0).
    pub(super) fn host(&self) -> &str {
        match (&self.lower, &self.authority) {
            (Some(lower), _) => lower,
            (None, Some(authority)) => text(authority).and_then(|a| a.get(..self.host_end)).unwrap_or_default(),
            (None, None) => "",
        }
    }

    /// `host[:port]` as the client wrote it: for `X-Forwarded-Host`, and for `Host` where the
    /// client's is kept.
    pub(super) fn authority(&self) -> Option<&HeaderValue> {
        self.authority.as_ref()
    }

    fn new(authority: HeaderValue, read: &HostPort<'_>) -> Self {
        let host = read.host;
        // An address has many spellings; routes know the one of RFC 5952.
        let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).and_then(|h| h.parse::<Ipv6Addr>().ok());
        let lower = match address {
            Some(address) => Some(format!("[{address}]")),
            None => host.bytes().any(|b| b.is_ascii_uppercase()).then(|| host.to_ascii_lowercase()),
        };
        Self { authority: Some(authority), host_end: host.len(), lower }
    }
}

/// Refuses a request head that is ambiguous, and tells whom the others are for.
///
/// For CONNECT the target is not compared with `Host`: it is refused by its method. `survey` is of the head.
pub(super) fn check(parts: &request::Parts, survey: Survey) -> Result<RequestHost, Malformed> {
    if parts.version == Version::HTTP_2 && parts.headers.keys().any(|name| !is_token(name)) {
        return Err(Malformed::HeaderName);
    }
    if survey.saw(Seen::CODING) {
        transfer_encoding(&parts.headers).map_err(|Ambiguous| Malformed::TransferEncoding)?;
    }
    if survey.saw(Seen::LENGTH) {
        only_one(&parts.headers, &CONTENT_LENGTH).map_err(|Ambiguous| Malformed::ContentLength)?;
    }

    // RFC 9112 section 3.2: a server answers 400 to a request without Host, with several, or with an
    // invalid one. Commas are refused too, though a registered name may hold them: some servers
    // would read a list.
    let line = only_one(&parts.headers, &HOST).map_err(|Ambiguous| Malformed::HostRepeated)?;
    let host = match line {
        Some(value) => Some((value, text(value).and_then(HostPort::read).ok_or(Malformed::HostInvalid)?)),
        None => None,
    };

    let target = match (parts.uri.scheme_str(), parts.uri.authority()) {
        (_, None) => None,
        (None, Some(_)) if parts.method != Method::CONNECT => return Err(Malformed::Target),
        (scheme, Some(authority)) => {
            let https = scheme.is_some_and(|s| s.eq_ignore_ascii_case("https"));
            if !https && !scheme.is_none_or(|s| s.eq_ignore_ascii_case("http")) {
                return Err(Malformed::Scheme);
            }
            let read = HostPort::read(authority.as_str()).ok_or(Malformed::AuthorityInvalid)?;
            Some((authority, read, if https { 443 } else { 80 }))
        }
    };

    match (host, target) {
        // RFC 9112 section 3.2.2 lets the absolute form win over Host, and RFC 9113 section 8.3.1
        // `:authority`. A client that means one host has no reason to name two.
        (Some((_, host)), Some((_, target, port)))
            if !host.is_same(&target, port) && parts.method != Method::CONNECT =>
        {
            Err(Malformed::HostDiffers)
        }
        (Some((value, host)), _) => Ok(RequestHost::new(value.clone(), &host)),
        (None, Some((authority, target, _))) if parts.version != Version::HTTP_11 => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Malformed::AuthorityInvalid)?;
            Ok(RequestHost::new(value, &target))
        }
        (None, None) if parts.version <= Version::HTTP_10 => Ok(RequestHost::default()),
        (None, _) => Err(Malformed::HostMissing),
    }
}

/// Whether a name may stand in HTTP/1. The library takes a quotation mark from HTTP/2, and refuses
/// every other character that is no part of a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(name: &HeaderName) -> bool {
    !name.as_str().contains('"')
}

/// A header that two servers could read differently.
struct Ambiguous;

/// Whether there is a `Transfer-Encoding`; ambiguous where it is anything but `chunked`, once
/// (RFC 9112 section 6.1).
fn transfer_encoding(headers: &HeaderMap) -> Result<bool, Ambiguous> {
    match only_one(headers, &TRANSFER_ENCODING)? {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        Some(_) => Err(Ambiguous),
    }
}

/// The line of this name, if there is one.
fn only_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Ambiguous> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    if lines.next().is_some() { Err(Ambiguous) } else { Ok(first) }
}

/// A value as text, for one who looks at each of its characters: `to_str` does that before.
fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// `host[:port]` (RFC 9110 section 7.2), read strictly: letters, digits, `-`, `_` and single dots,
/// or an IPv6 address in brackets. RFC 3986 allows more in a registered name (escapes, sub-delims),
/// but no name that can be looked up has it, and servers differ about it.
struct HostPort<'t> {
    /// Without a trailing dot.
    host: &'t str,
    port: Option<u16>,
}

impl<'t> HostPort<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, behind) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (text.strip_suffix(behind)?, if behind.is_empty() { "" } else { behind.strip_prefix(':')? })
        } else {
            let (host, port) = match text.bytes().position(|b| b == b':') {
                Some(colon) => (&text[..colon], &text[colon + 1..]),
                None => (text, ""),
            };
            let host = host.strip_suffix('.').unwrap_or(host);
            // No label is empty: no dot at either end or behind another one.
            let mut before = b'.';
            for byte in host.bytes() {
                if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || byte == b'.' && before != b'.') {
                    return None;
                }
                before = byte;
            }
            if before == b'.' {
                return None;
            }
            (host, port)
        };
        // RFC 3986 section 3.2.3: the port may be empty.
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name one host and port, where this is the scheme's own.
    fn is_same(&self, other: &HostPort<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

#[cfg(test)]
mod tests;
