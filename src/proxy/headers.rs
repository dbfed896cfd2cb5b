//! Header work on the way in and on the way back. Pure functions on a `HeaderMap`; where there is
//! nothing to do they allocate nothing.
//!
//! On the way in the order is: [`has_been_here`] and [`requested_upgrade`], which read what the
//! next step takes away; [`clean_request`]; the client's credential out; [`apply_edits`]; `Host`;
//! [`set_forwarded`]; the token in. So a `Connection: x-forwarded-for, authorization, host` can only
//! take away what the client itself sent (Traefik's CVE-2024-45410 was the other order).

mod survey;

use std::net::IpAddr;

use http::header::{
    self, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{StatusCode, Version};

use super::forwarded::FORWARDED_FOR;
use super::framing::is_token;
use crate::model::{HeaderEdits, Place};
use crate::token::inject::{remove_spellings, spelled_alike};

pub use survey::{Seen, Survey};

/// What ends at each hop, with its framing: RFC 9110 sections 7.6.1 (`Connection` and what it must
/// nominate), 10.1.1 (`Expect`: hyper's server has answered it), 11.7 (proxy authentication); RFC
/// 9112 sections 6.1 and C.2.2 (`Proxy-Connection`, `Keep-Alive`); RFC 7540 section 3.2.1.
static HOP: [HeaderName; 12] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    CONTENT_LENGTH,
    header::EXPECT,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
];
// Places in that list.
const CONNECTION_AT: usize = 0;
const TE_AT: usize = 1;
const TRANSFER_ENCODING_AT: usize = 2;
const CONTENT_LENGTH_AT: usize = 3;
const EXPECT_AT: usize = 4;
const UPGRADE_AT: usize = 5;
const KEEP_ALIVE_AT: usize = 6;
const PROXY_CONNECTION_AT: usize = 7;
const PROXY_AUTHENTICATE_AT: usize = 8;
const PROXY_AUTHORIZATION_AT: usize = 9;
const PROXY_AUTHENTICATION_INFO_AT: usize = 10;
const HTTP2_SETTINGS_AT: usize = 11;

/// The place in [`HOP`] of a name in any spelling. Few headers share a length with one of them.
fn hop(name: &str) -> Option<usize> {
    let candidates: &[usize] = match name.len() {
        2 => &[TE_AT],
        6 => &[EXPECT_AT],
        7 => &[UPGRADE_AT],
        10 => &[CONNECTION_AT, KEEP_ALIVE_AT],
        14 => &[CONTENT_LENGTH_AT, HTTP2_SETTINGS_AT],
        16 => &[PROXY_CONNECTION_AT],
        17 => &[TRANSFER_ENCODING_AT],
        18 => &[PROXY_AUTHENTICATE_AT],
        19 => &[PROXY_AUTHORIZATION_AT],
        25 => &[PROXY_AUTHENTICATION_INFO_AT],
        _ => return None,
    };
    candidates.iter().copied().find(|at| HOP.get(*at).is_some_and(|hop| spelled_alike(hop.as_str(), name)))
}

/// Which of [`HOP`] are there, a bit each, and those that are spelled with `_`.
fn hops(headers: &HeaderMap) -> (u16, Vec<HeaderName>) {
    let (mut found, mut odd) = (0, Vec::new());
    for name in headers.keys() {
        let Some(at) = hop(name.as_str()) else { continue };
        if HOP.get(at) == Some(name) {
            found |= 1 << at;
        } else {
            odd.push(name.clone());
        }
    }
    (found, odd)
}

fn remove(headers: &mut HeaderMap, found: u16, odd: Vec<HeaderName>) {
    if found != 0 {
        for (at, name) in HOP.iter().enumerate() {
            if found & 1 << at != 0 {
                headers.remove(name);
            }
        }
    }
    for name in odd {
        headers.remove(name);
    }
}

/// The elements of a list header (RFC 9110 section 5.6.1).
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// RFC 9110 section 7.6.1: what `Connection` nominates goes with it.
fn remove_nominated(headers: &mut HeaderMap) {
    let is_plain = |option: &[u8]| option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close");
    if elements(headers, &CONNECTION).all(is_plain) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for line in &lines {
        for option in line.as_bytes().split(|b| *b == b',') {
            // No header has a name that is no text.
            headers.remove(std::str::from_utf8(option.trim_ascii()).unwrap_or_default());
        }
    }
}

/// What was taken off a request and is still of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cleaned {
    /// The client takes trailers (`TE: trailers`, RFC 9110 section 10.1.4); gRPC servers insist on it.
    pub trailers: bool,
}

/// Takes off what was meant for this hop: first what `Connection` nominates, then the hop-by-hop
/// and framing headers, in every spelling with `_` for `-` too. `Trailer` and `Max-Forwards` stay; the latter is counted
/// by [`count_forward`].
///
/// The client's `Content-Length` goes as well: hyper writes it from the body's size, and the pool
/// where hyper does not.
pub fn clean_request(headers: &mut HeaderMap) -> Cleaned {
    let (found, odd) = hops(headers);
    // Before what `Connection: TE` nominates goes.
    let trailers =
        found & 1 << TE_AT != 0 && elements(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if found & 1 << CONNECTION_AT != 0 {
        remove_nominated(headers);
    }
    remove(headers, found, odd);
    Cleaned { trailers }
}

/// Takes off an answer what was meant for this hop. `Content-Length` stays (hyper holds the body to
/// it, and the pool has refused an ambiguous one) but where there may be none, and so does `Trailer`.
/// `Alt-Svc` goes: it would send the client past this proxy, to an authority that answers for the proxy's
/// own origin (RFC 7838 section 3). So do names that only HTTP/2 can carry.
///
/// `version` is the one that it came in. What is told is what was there; more may have gone since.
pub fn clean_response(headers: &mut HeaderMap, status: StatusCode, version: Version) -> Survey {
    let survey = Survey::of(headers);
    if survey.saw(Seen::HOP) {
        let (found, mut odd) = hops(headers);
        odd.retain(|name| !matches!(hop(name.as_str()), Some(CONTENT_LENGTH_AT | EXPECT_AT)));
        if found & 1 << CONNECTION_AT != 0 {
            let length = headers.get(CONTENT_LENGTH).cloned();
            remove_nominated(headers);
            if let Some(length) = length {
                headers.insert(CONTENT_LENGTH, length);
            }
        }
        remove(headers, found & !(1 << CONTENT_LENGTH_AT | 1 << EXPECT_AT), odd);
    }
    if survey.saw(Seen::ALT_SVC) {
        headers.remove(header::ALT_SVC);
    }
    // RFC 9110 section 8.6. Of 304 it tells what a GET would get.
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        remove_spellings(headers, &CONTENT_LENGTH);
    }
    if version == Version::HTTP_2 && headers.keys().any(|name| !is_token(name)) {
        let odd: Vec<HeaderName> = headers.keys().filter(|name| !is_token(name)).cloned().collect();
        for name in odd {
            headers.remove(name);
        }
    }
    survey
}

static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A client's connection as the upstream is told of it; made once a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: Option<HeaderValue>,
    proto: HeaderValue,
    /// Whether it is a trusted proxy, whose word counts.
    is_proxy: bool,
}

impl Peer {
    /// `address` is `None` for a Unix socket; `tls` is whether the client's connection is encrypted.
    pub fn new(address: Option<IpAddr>, tls: bool) -> Self {
        Self {
            // An IPv4 client of a dual-stack listener is written as IPv4.
            address: address.and_then(|ip| HeaderValue::try_from(ip.to_canonical().to_string()).ok()),
            proto: HeaderValue::from_static(if tls { "https" } else { "http" }),
            is_proxy: false,
        }
    }

    /// The same; what a trusted proxy says of its clients is passed on.
    #[must_use]
    pub fn trusted(self, is_proxy: bool) -> Self {
        Self { is_proxy, ..self }
    }

    /// Whether what the client says by this header goes on, and more with it.
    pub(super) fn adds_to(&self, name: &HeaderName) -> bool {
        self.is_proxy && [&FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST].contains(&name)
    }
}

/// Says where the request came from: `X-Forwarded-For`, `-Proto` and `-Host` (as every proxy says
/// it), and `Via` (RFC 9110 section 7.6.3), to which `via` is added.
///
/// Nothing that a client said about it is believed: every other `X-Forwarded-*`, `Forwarded` (RFC
/// 7239) and `X-Real-IP`, with `-` or `_`, goes. What a trusted proxy said goes on, with its own
/// address added. `host` is the client's `Host` as it came.
///
/// `survey` is of these headers.
pub fn set_forwarded(
    headers: &mut HeaderMap,
    survey: Survey,
    peer: &Peer,
    host: Option<&HeaderValue>,
    via: &HeaderValue,
) {
    let (mut all, mut proto, mut its_host) = (None, None, None);
    if peer.is_proxy {
        all = joined(headers, &FORWARDED_FOR, peer.address.as_ref());
        proto = joined(headers, &FORWARDED_PROTO, None);
        its_host = joined(headers, &FORWARDED_HOST, None);
    }
    let ours = [
        (&FORWARDED_FOR, all.as_ref().or(peer.address.as_ref())),
        (&FORWARDED_PROTO, Some(proto.as_ref().unwrap_or(&peer.proto))),
        (&FORWARDED_HOST, its_host.as_ref().or(host)),
    ];
    if survey.saw(Seen::FORWARDING) {
        let is_ours = |name: &HeaderName| ours.iter().any(|(ours, value)| *ours == name && value.is_some());
        let said = headers.keys().filter(|name| is_forwarding(name.as_str()) && !is_ours(name));
        for name in said.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
    for (name, value) in ours {
        if let Some(value) = value {
            headers.insert(name.clone(), value.clone());
        }
    }
    let via = if survey.saw(Seen::VIA) { joined(headers, &VIA, Some(via)) } else { Some(via.clone()) };
    if let Some(via) = via {
        headers.insert(VIA, via);
    }
}

/// All lines of a list in one, and this one behind them. `None` where there is none of either.
fn joined(headers: &HeaderMap, name: &HeaderName, last: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter().chain(last);
    let first = lines.next()?;
    let rest: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    if rest.is_empty() {
        return Some(first.clone());
    }
    let all: Vec<&[u8]> = std::iter::once(first.as_bytes()).chain(rest).collect();
    // What was joined from values by ", " is a value.
    HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
}

/// Whether a header claims where a request came from.
pub(super) fn is_forwarding(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded";
    match name.as_bytes().first() {
        Some(b'x') => {
            let (prefix, rest) = name.split_at_checked(PREFIX.len()).unwrap_or_default();
            let forwarded =
                spelled_alike(prefix, PREFIX) && matches!(rest.as_bytes().first(), None | Some(b'-' | b'_'));
            forwarded || spelled_alike(name, "x-real-ip")
        }
        Some(b'f') => name == "forwarded",
        _ => false,
    }
}

/// This proxy's entry in `Via`: the version that a request came in, and a pseudonym.
/// `None` where the pseudonym is no token.
pub fn via(version: Version, pseudonym: &str) -> Option<HeaderValue> {
    let version = match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    };
    HeaderValue::try_from(format!("{version} {pseudonym}")).ok()
}

/// Whether `Via` says that the request has been here before (RFC 9110 section 7.6.3): a loop.
///
/// Commas count inside comments too, so that no unclosed bracket in front of our name hides it.
pub fn has_been_here(headers: &HeaderMap, pseudonym: &str) -> bool {
    elements(headers, &VIA).any(|element| {
        let mut words = element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|received_by| received_by.eq_ignore_ascii_case(pseudonym.as_bytes()))
    })
}

/// The names that no trailer of a request may have: the credential's, and those in which the operator has a
/// say.
pub(super) fn barred(places: &[Place], edits: &HeaderEdits) -> Vec<HeaderName> {
    let carries = |place: &Place| match place {
        Place::Header { name, .. } => Some(name.clone()),
        _ => None,
    };
    places.iter().filter_map(carries).chain(edits.names().cloned()).collect()
}

/// Takes out of trailers, either way, what decides about framing, routing, authentication or the content,
/// which no recipient may take from there (RFC 9110 section 6.5.1), and what is `barred`: a recipient may
/// put trailers to the head, beside or in place of what stands there.
pub fn clean_trailers(trailers: &mut HeaderMap, barred: &[HeaderName]) {
    let forbidden: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| {
            let (token, name) = (is_token(name), name.as_str());
            !token || hop(name).is_some() || is_forwarding(name) || NO_TRAILER.iter().any(|no| spelled_alike(no, name))
        })
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
    for name in barred {
        remove_spellings(trailers, name);
    }
}

/// Beside [`HOP`] and what tells where a request came from.
const NO_TRAILER: [&str; 32] = [
    "age",
    "alt-svc",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "traceparent",
    "tracestate",
    "trailer",
    "vary",
    "via",
    "www-authenticate",
    "x-api-key",
    "x-http-method-override",
    "x-request-id",
];

/// The operator's own edits: first what goes, then what is set. Both with `_` for `-` too: a client
/// that writes `X_Tenant` must not be heard beside, or in spite of, what the operator says of
/// `X-Tenant`.
pub fn apply_edits(headers: &mut HeaderMap, edits: &HeaderEdits) {
    for name in &edits.remove {
        remove_spellings(headers, name);
    }
    for (name, value) in &edits.set {
        remove_spellings(headers, name);
        headers.insert(name.clone(), value.clone());
    }
}

static MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// How many more servers an OPTIONS may pass (RFC 9110 section 7.6.2; of TRACE nothing passes).
pub(super) fn forwards_left(headers: &HeaderMap) -> Option<u64> {
    let mut lines = headers.get_all(&MAX_FORWARDS).iter();
    let digits = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
    // `parse` would take a sign.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Counts this server. A number that cannot be read bounds nothing, and goes no further.
pub(super) fn count_forward(headers: &mut HeaderMap) {
    match forwards_left(headers) {
        Some(left) => drop(headers.insert(MAX_FORWARDS.clone(), HeaderValue::from(left.saturating_sub(1)))),
        None => drop(headers.remove(&MAX_FORWARDS)),
    }
}

/// The protocol that a client asks to change to (RFC 9110 section 7.8): the first in `Upgrade`, and
/// only where `Connection` nominates it. Never HTTP/2 (`h2c`, whose upgrade RFC 9113 took away, and
/// with which requests were smuggled past proxies). Protocol names have no case.
///
/// In HTTP/1.0 an upgrade is not to be heeded, and HTTP/2 has none: ask for HTTP/1.1 only.
pub fn requested_upgrade(headers: &HeaderMap) -> Option<&str> {
    let first = elements(headers, &UPGRADE).next()?;
    let protocol = std::str::from_utf8(first).ok().filter(|protocol| !protocol.is_empty())?;
    let name = protocol.split('/').next().unwrap_or(protocol);
    if ["h2c", "h2", "http"].iter().any(|http| name.eq_ignore_ascii_case(http)) {
        return None;
    }
    elements(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade")).then_some(protocol)
}

/// Asks for, or confirms, the change to a protocol: to be called once the other side's own headers
/// of this kind are gone.
pub fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests;
