//! A request's head as it goes to the upstream, but for its token. Pure, so that `explain` shows what
//! the walk does.

use http::header::{ACCEPT_ENCODING, COOKIE, HOST, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

use super::headers::{
    Cleaned, Peer, Seen, Survey, apply_edits, clean_request, count_forward, set_forwarded, set_upgrade,
};
use super::request_id::REQUEST_ID;
use super::trace::Onward;
use super::upgrade;
use crate::model::{Place, Protocol, Scheme};
use crate::route::{Credential, Forward};
use crate::token::inject::remove_headers;

/// What the upstream is told of the request's way to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// Of the client's connection.
    pub(super) peer: &'a Peer,
    /// This proxy's entry in `Via`.
    pub(super) via: &'a HeaderValue,
    /// The request's name.
    pub(super) request_id: &'a HeaderValue,
    /// Its trace.
    pub(super) trace: Onward<'a>,
    /// The `Host` that the upstream is to see, where it is not the client's.
    pub(super) host: Option<&'a HeaderValue>,
    /// What was seen in its head.
    pub(super) survey: Survey,
}

/// Cleans a head that came: first what concerns the client's connection, and what it nominates, then
/// what it sent in the token's places; then what the operator and the protocol want is set. Tells the
/// protocol that is asked for by an upgrade.
pub(super) fn clean(
    head: &mut Parts,
    raw_host: Option<HeaderValue>,
    forward: &Forward,
    credential: Option<&Credential>,
    told: Told<'_>,
) -> Option<HeaderValue> {
    let (headers, survey) = (&mut head.headers, told.survey);
    // HTTP/1.0 knows no upgrade (RFC 9110 section 7.8), HTTP/2 has none.
    let upgradable = head.version == Version::HTTP_11 && survey.saw(Seen::UPGRADE);
    let upgrade = upgradable.then(|| upgrade::wanted(headers, &forward.upgrades)).flatten();
    if head.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    let cleaned = if survey.saw(Seen::CONNECTION) { clean_request(headers) } else { Cleaned::default() };
    if head.method == Method::OPTIONS {
        count_forward(headers);
    }
    let places: &[Place] = credential.map_or(&[], |c| &c.placement);
    remove_headers(headers, places);
    // The token comes last. hyper keeps the room for the next answer and the next request.
    headers.reserve(OURS + places.len());
    set_forwarded(headers, survey, told.peer, raw_host.as_ref(), told.via);
    headers.insert(REQUEST_ID.clone(), told.request_id.clone());
    told.trace.write(headers, survey);
    apply_edits(headers, &forward.request_headers);
    match (told.host, raw_host) {
        (Some(host), _) => drop(headers.insert(HOST, host.clone())),
        // It is there as it came, unless the client's `Connection` took it away.
        (None, Some(host)) if headers.get(HOST) != Some(&host) => drop(headers.insert(HOST, host)),
        (None, _) => {}
    }
    if cleaned.trailers && may_be_http2(forward) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if credential.is_some_and(|c| c.refused_when.json.is_some()) {
        // A refusal inside an answer is only seen in plain text.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if let Some(protocol) = &upgrade {
        set_upgrade(headers, protocol.clone());
    }
    upgrade
}

/// Headers of the proxy's own: three of `X-Forwarded-*`, `Via`, the request's name and its trace.
const OURS: usize = 6;

/// Whether HTTP/2 may be spoken to the upstream.
fn may_be_http2(forward: &Forward) -> bool {
    let target = forward.upstream.target();
    match target.protocol {
        Protocol::Http1 => false,
        Protocol::H2 | Protocol::H2c => true,
        Protocol::Auto => target.origin.scheme() == Scheme::Https,
    }
}

/// HTTP/2 clients send each cookie on a line of its own; in HTTP/1 there is one line, and servers
/// look at no other (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // What was joined from values by "; " is a value.
    if let Ok(mut joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}
