//! Whose request it is, as the proxies in front tell it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::view::Client;
use crate::model::TrustedProxies;

/// The one header that is believed, and only from a trusted proxy; `Forwarded` (RFC 7239) is not: a
/// proxy that writes the one may pass the other on as a client invented it.
pub(super) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address. Each proxy adds the address that it was asked from, so that the list is
/// read from its end, as long as it was a trusted one that wrote it: what is left of the first
/// address that is not trusted, the client itself may have invented.
///
/// What is no address ends the walk: whoever is known to have written it is as far as one can see.
pub(super) fn client_address(trusted: &TrustedProxies, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let mut known = peer;
    let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
    for element in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        if !trusted.trusts(known) {
            break;
        }
        let Some(address) = address(element) else { break };
        known = Some(address);
    }
    known
}

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:80`.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|text| text.contains(':'));
    let address = bare
        .unwrap_or(text)
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()?;
    Some(address.to_canonical())
}

impl Client {
    /// Whose request it is, on a connection of a trusted proxy; `None` where it is the connection's.
    pub(super) fn behind(&self, trusted: Option<&TrustedProxies>, headers: &HeaderMap) -> Option<Self> {
        let trusted = trusted.filter(|trusted| !self.nameless && trusted.trusts(self.peer))?;
        let told = self.told.clone().trusted(true);
        Some(Self { peer: client_address(trusted, self.peer, headers), told, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "2001:db8:aaaa::/48"].map(|network| network.parse().unwrap());
        TrustedProxies { networks: networks.to_vec(), unix: true }
    }

    fn found(peer: Option<&str>, lines: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR.clone(), HeaderValue::from_bytes(line).unwrap());
        }
        let peer = peer.map(|peer| peer.parse().unwrap());
        client_address(&trusted(), peer, &headers).map(|address| address.to_string())
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_clients() {
        for (lines, client) in [
            (&[][..], "10.0.0.1"),
            (&[&b"192.0.2.7"[..]], "192.0.2.7"),
            (&[b"198.51.100.1, 192.0.2.7"], "192.0.2.7"),
            (&[b"198.51.100.1, 192.0.2.7, 10.0.0.9,10.0.0.8"], "192.0.2.7"),
            (&[b"198.51.100.1", b"192.0.2.7", b"10.0.0.9"], "192.0.2.7"),
            (&[b"192.0.2.7, 10.0.0.9", b"10.0.0.8, 10.0.0.7"], "192.0.2.7"),
            (&[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[b"192.0.2.7:4711"], "192.0.2.7"),
            (&[b"[2001:db8::7]:4711"], "2001:db8::7"),
            (&[b"[2001:db8::7]"], "2001:db8::7"),
            (&[b"2001:db8::7"], "2001:db8::7"),
            (&[b"192.0.2.7, 2001:db8:aaaa::1"], "192.0.2.7"),
            (&[b"::ffff:192.0.2.7"], "192.0.2.7"),
            (&[b"192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
            (&[b" \t192.0.2.7\t "], "192.0.2.7"),
        ] {
            assert_eq!(found(Some("10.0.0.1"), lines).as_deref(), Some(client), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for element in [
            &b""[..],
            b"unknown",
            b"_hidden",
            b"192.0.2.07",
            b"192.0.2.7:",
            b"192.0.2.7:99999",
            b"[192.0.2.7]",
            b"[2001:db8::7",
            b"2001:db8::7]",
            b"[]",
            b"fe80::1%eth0",
            b"for=192.0.2.7",
            b"\"192.0.2.7\"",
            b"192.0.2.7;",
            b"192.0.2.0/24",
            b"192.0.2.7 192.0.2.8",
            b"\xff",
        ] {
            let line = [b"198.51.100.1, ", element, b", 10.0.0.2"].concat();
            assert_eq!(found(Some("10.0.0.1"), &[&line]).as_deref(), Some("10.0.0.2"), "{element:?}");
            assert_eq!(found(Some("10.0.0.1"), &[element]).as_deref(), Some("10.0.0.1"), "{element:?}");
        }
    }

    #[test]
    fn whoever_is_not_trusted_is_the_client_whatever_it_says() {
        assert_eq!(found(Some("192.0.2.1"), &[b"10.0.0.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(found(None, &[b"192.0.2.7, 10.0.0.1"]).as_deref(), Some("192.0.2.7"), "a Unix socket");
        let headers = HeaderMap::new();
        assert_eq!(client_address(&TrustedProxies::default(), None, &headers), None);
    }
}
