//! Which of the headers that matter here a head has, seen in one pass: most are absent from most
//! requests, and a look for each of them would cost more than the pass.

use http::HeaderMap;

use super::{CONTENT_LENGTH_AT, TRANSFER_ENCODING_AT, UPGRADE_AT, hop, is_forwarding};

/// What was seen. A header that was not seen is not there; one that was may have been taken out since.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Survey(u16);

/// A header, or several of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen(u16);

impl Seen {
    /// `Content-Length`, in any spelling.
    pub const LENGTH: Self = Self(1);
    /// `Transfer-Encoding`, in any spelling.
    pub const CODING: Self = Self(1 << 1);
    /// `Upgrade`.
    pub const UPGRADE: Self = Self(1 << 2);
    /// What ends at each hop, in any spelling, but for `Content-Length`.
    pub const HOP: Self = Self(Self::OTHER_HOP.0 | Self::CODING.0 | Self::UPGRADE.0);
    /// `Via`.
    pub const VIA: Self = Self(1 << 4);
    /// `X-Request-Id`.
    pub const REQUEST_ID: Self = Self(1 << 5);
    /// `Traceparent` or `Tracestate`.
    pub const TRACE: Self = Self(1 << 6);
    /// What tells where a request came from, in any spelling.
    pub const FORWARDING: Self = Self(1 << 7);
    /// `Location`, `Content-Location` or `Set-Cookie`.
    pub const MAPPED: Self = Self(1 << 8);
    /// `Alt-Svc`.
    pub const ALT_SVC: Self = Self(1 << 9);
    /// All that [`clean_request`](super::clean_request) takes off.
    pub const CONNECTION: Self = Self(Self::HOP.0 | Self::LENGTH.0);

    /// Any other that ends at each hop.
    const OTHER_HOP: Self = Self(1 << 3);

    /// Which one a name is. Most are none, and told by their first letter and length.
    fn of(name: &str) -> u16 {
        let seen = match (name.as_bytes().first(), name.len()) {
            (Some(b'v'), 3) if name == "via" => Self::VIA,
            (Some(b'a'), 7) if name == "alt-svc" => Self::ALT_SVC,
            (Some(b'l'), 8) if name == "location" => Self::MAPPED,
            (Some(b's'), 10) if name == "set-cookie" => Self::MAPPED,
            (Some(b'c'), 16) if name == "content-location" => Self::MAPPED,
            (Some(b't'), 10) if name == "tracestate" => Self::TRACE,
            (Some(b't'), 11) if name == "traceparent" => Self::TRACE,
            (Some(b'x'), 12) if name == "x-request-id" => Self::REQUEST_ID,
            (Some(b'x' | b'f'), _) if is_forwarding(name) => Self::FORWARDING,
            // What a hop's headers begin with.
            (Some(b'c' | b'e' | b'h' | b'k' | b'p' | b't' | b'u'), _) => match hop(name) {
                None => return 0,
                Some(CONTENT_LENGTH_AT) => Self::LENGTH,
                Some(TRANSFER_ENCODING_AT) => Self::CODING,
                Some(UPGRADE_AT) => Self::UPGRADE,
                Some(_) => Self::OTHER_HOP,
            },
            _ => return 0,
        };
        seen.0
    }
}

impl Survey {
    /// One pass over a head.
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |seen, name| seen | Seen::of(name.as_str())))
    }

    /// Whether there was one of these.
    pub fn saw(self, what: Seen) -> bool {
        self.0 & what.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::super::HOP;
    use super::*;

    fn seen(names: &[&'static str]) -> Survey {
        Survey::of(&names.iter().map(|n| (HeaderName::from_static(n), HeaderValue::from_static("v"))).collect())
    }

    #[test]
    fn every_kind_is_seen_by_each_of_its_names_and_by_no_other() {
        let kinds: [(Seen, &[&str]); 9] = [
            (Seen::LENGTH, &["content-length", "content_length"]),
            (Seen::CODING, &["transfer-encoding", "transfer_encoding"]),
            (Seen::UPGRADE, &["upgrade"]),
            (Seen::VIA, &["via"]),
            (Seen::REQUEST_ID, &["x-request-id"]),
            (Seen::TRACE, &["traceparent", "tracestate"]),
            (Seen::FORWARDING, &["x-forwarded-for", "x_forwarded_host", "forwarded", "x-real-ip", "x-forwarded"]),
            (Seen::MAPPED, &["location", "content-location", "set-cookie"]),
            (Seen::ALT_SVC, &["alt-svc"]),
        ];
        for (kind, names) in kinds {
            for name in names {
                assert_eq!(seen(&["accept", name, "user-agent"]), Survey(kind.0), "{name}");
            }
        }
        for name in HOP.iter().map(HeaderName::as_str) {
            assert!(Survey(Seen::of(name)).saw(Seen::CONNECTION), "{name}");
        }
        let others = ["host", "accept", "authorization", "cookie", "content-type", "x-forwarder", "trailer"];
        assert!(others.iter().all(|other| seen(&[other]) == Survey::default()));
    }
}
