//! Who may ask the admin port, and under which name.
//!
//! A web page that a browser shows can send requests here, too: by a name of its own that it has
//! resolve to this machine (DNS rebinding), or across origins, as a form does. Both are refused, on
//! every path. Then comes the token, where the configuration has one.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Version};

use super::answer::Refusal;
use crate::access::presented;
use crate::model::{HostPattern, KeyDigest};

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is asked of those who ask.
#[derive(Debug)]
pub struct Gate {
    token: Option<KeyDigest>,
    hosts: Vec<HostPattern>,
    /// Who reaches a Unix socket is no web page.
    any_host: bool,
}

/// A host and port, in the one spelling of it. The port is `None` where it is the scheme's own.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
}

impl Gate {
    /// Asks for the token of this digest, where there is one, and takes these names beside `localhost` and
    /// addresses, or any.
    pub fn new(token: Option<KeyDigest>, hosts: Vec<HostPattern>, any_host: bool) -> Self {
        Self { token, hosts, any_host }
    }

    /// Judges where a request comes from.
    pub(super) fn admit(&self, head: &Parts) -> Result<(), Refusal> {
        let scheme = match only(&head.headers, &FORWARDED_PROTO) {
            // No page can send this to another origin without asking first, which is refused.
            Ok(Some("https")) => "https",
            _ => "http",
        };
        let named = only(&head.headers, &HOST).map_err(|_| Refusal::NoHost)?;
        let named = match named {
            Some(text) => Some(Place::parse(scheme, text).ok_or(Refusal::Host)?),
            // Old probes of load balancers have none, and no browser is among them.
            None if head.version < Version::HTTP_11 => None,
            None => return Err(Refusal::NoHost),
        };
        // A target in absolute form goes before the Host (RFC 9112 section 3.2.2); both must be ours.
        let target =
            head.uri.authority().map(|authority| Place::parse(scheme, authority.as_str()).ok_or(Refusal::Host));
        let target = target.transpose()?;
        if !named.iter().chain(&target).all(|place| self.any_host || self.is_own(&place.host)) {
            return Err(Refusal::Host);
        }
        match only(&head.headers, &ORIGIN)? {
            Some(origin) if Place::of_origin(origin).is_none_or(|origin| Some(&origin) != named.as_ref()) => {
                return Err(Refusal::Origin);
            }
            _ => {}
        }
        match only(&head.headers, &FETCH_SITE)? {
            Some("cross-site" | "same-site") if !is_visit(head)? => Err(Refusal::Origin),
            _ => Ok(()),
        }
    }

    /// Judges the token.
    pub(super) fn admit_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        // Digests are compared in constant time, and no more of the token than that is kept.
        match presented(headers) {
            Some(presented) if KeyDigest::of(&presented) == *token => Ok(()),
            _ => Err(Refusal::Token),
        }
    }

    fn is_own(&self, host: &str) -> bool {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host == "localhost"
            || host.parse::<Ipv4Addr>().is_ok()
            || bracketed.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

impl Place {
    fn parse(scheme: &'static str, text: &str) -> Option<Self> {
        let authority = Authority::try_from(text).ok().filter(|authority| !authority.as_str().contains('@'))?;
        let host = authority.host();
        let port = match authority.as_str().get(host.len()..)?.strip_prefix(':') {
            // An empty port is the scheme's own (RFC 3986 section 3.2.3).
            None | Some("") => None,
            Some(port) => Some(port.parse::<u16>().ok()?),
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let own = if scheme == "https" { 443 } else { 80 };
        (!host.is_empty()).then(|| Self { scheme, host, port: port.filter(|port| *port != own) })
    }

    fn of_origin(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
        Self::parse(scheme, rest)
    }
}

/// A person who follows a link to the page. What comes back is shown to nobody else.
fn is_visit(head: &Parts) -> Result<bool, Refusal> {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let is_navigation = only(&head.headers, &FETCH_MODE)? == Some("navigate");
    let is_shown = only(&head.headers, &FETCH_DEST)? == Some("document");
    Ok(is_read && is_navigation && is_shown && head.uri.path() == "/")
}

/// A header's only value; what is no text, or written twice, no browser has sent.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Refusal::Origin),
        (Some(_), Some(_)) => Err(Refusal::Origin),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn judged(gate: &Gate, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::get("/api/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        gate.admit(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn it_is_asked_under_its_own_names_only() {
        let gate = Gate::new(None, vec![HostPattern::parse("tokenferry.example").unwrap()], false);
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "localhost.",
            "127.0.0.1:9901",
            "127.9.9.9",
            "10.0.0.7:1",
            "[::1]:9901",
            "[::1]",
            "tokenferry.example",
            "Tokenferry.Example.:443",
        ] {
            assert_eq!(judged(&gate, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "0x7f000001",
            "a.tokenferry.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "::1",
            "",
            "localhost:x",
            "localhost:99999",
            "loc alhost",
            "2130706433",
        ] {
            assert_eq!(judged(&gate, &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(judged(&gate, &[]), Err(Refusal::NoHost));
        assert_eq!(judged(&gate, &[("host", "localhost"), ("host", "localhost")]), Err(Refusal::NoHost));
        let unix = Gate::new(None, Vec::new(), true);
        assert_eq!(judged(&unix, &[("host", "anything.example")]), Ok(()));
    }

    #[test]
    fn another_origin_is_refused() {
        let gate = Gate::new(None, vec![HostPattern::parse("tokenferry.example").unwrap()], false);
        for (host, origin, taken) in [
            ("localhost:9901", "http://localhost:9901", true),
            ("LocalHost:9901", "HTTP://localhost:9901", true),
            ("localhost", "http://localhost:80", true),
            ("[::1]:9901", "http://[::1]:9901", true),
            ("localhost:9901", "https://localhost:9901", false),
            ("localhost:9901", "http://localhost:9902", false),
            ("localhost:9901", "http://localhost", false),
            ("localhost:9901", "http://127.0.0.1:9901", false),
            ("localhost:9901", "http://evil.example", false),
            ("localhost:9901", "null", false),
            ("localhost:9901", "", false),
            ("localhost:9901", "localhost:9901", false),
            ("localhost:9901", "http://evil@localhost:9901", false),
            ("tokenferry.example", "https://tokenferry.example", false),
        ] {
            let expected = if taken { Ok(()) } else { Err(Refusal::Origin) };
            assert_eq!(judged(&gate, &[("host", host), ("origin", origin)]), expected, "{host} {origin}");
        }
        let behind_tls =
            [("x-forwarded-proto", "https"), ("host", "tokenferry.example"), ("origin", "https://tokenferry.example")];
        assert_eq!(judged(&gate, &behind_tls), Ok(()), "behind a server that speaks TLS");
        let twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://localhost")];
        assert_eq!(judged(&gate, &twice), Err(Refusal::Origin));
    }

    #[test]
    fn what_a_browser_says_of_the_asking_site_counts() {
        let gate = Gate::new(None, Vec::new(), false);
        for (site, taken) in [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)] {
            let judged = judged(&gate, &[("host", "localhost"), ("sec-fetch-site", site)]);
            assert_eq!(judged.is_ok(), taken, "{site}");
        }
        let visit = |path: &str, dest: &str| {
            let request = Request::get(path).header("host", "localhost").header("sec-fetch-site", "cross-site");
            let request = request.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", dest);
            gate.admit(&request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(visit("/", "document"), Ok(()), "a link to the page");
        assert_eq!(visit("/", "iframe"), Err(Refusal::Origin));
        assert_eq!(visit("/api/v1/status", "document"), Err(Refusal::Origin));
    }

    #[test]
    fn the_token_comes_as_bearer_or_as_basics_password() {
        let gate = Gate::new(Some(KeyDigest::of(b"t0ken")), Vec::new(), false);
        for (value, taken) in [
            ("Bearer t0ken", true),
            ("bearer  t0ken", true),
            ("Basic OnQwa2Vu", true),
            ("Basic YTp0MGtlbg==", true),
            ("Bearer t0keN", false),
            ("Bearer t0ke", false),
            ("Bearer t0ken2", false),
            ("Bearer ", false),
            ("t0ken", false),
            ("Basic dDBrZW4=", false),
            ("Digest t0ken", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            assert_eq!(gate.admit_token(&headers).is_ok(), taken, "{value}");
            headers.append("authorization", value.parse().unwrap());
            assert!(gate.admit_token(&headers).is_err(), "{value}, twice");
        }
        assert_eq!(gate.admit_token(&HeaderMap::new()), Err(Refusal::Token));
        assert_eq!(Gate::new(None, Vec::new(), false).admit_token(&HeaderMap::new()), Ok(()));
    }
}
