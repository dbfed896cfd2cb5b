//! A request's head as it goes to the upstream, but for its token. Pure, so that `explain` shows what
//! the walk does.

use http::header::{ACCEPT_ENCODING, COOKIE, HOST, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

use super::headers::{Peer, apply_edits, clean_request, count_forward, set_forwarded, set_upgrade};
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
}

/// The cleaned head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) headers: HeaderMap,
    /// The protocol that is asked for by an upgrade.
    pub(super) upgrade: Option<HeaderValue>,
}

impl Head {
    /// Cleans what came: first what concerns the client's connection, and what it nominates, then
    /// what it sent in the token's places; then what the operator and the protocol want is set.
    pub(super) fn new(
        parts: Parts,
        raw_host: Option<HeaderValue>,
        forward: &Forward,
        credential: Option<&Credential>,
        told: Told<'_>,
    ) -> Self {
        let mut headers = parts.headers;
        // HTTP/1.0 knows no upgrade (RFC 9110 section 7.8), HTTP/2 has none.
        let upgradable = parts.version == Version::HTTP_11;
        let upgrade = upgradable.then(|| upgrade::wanted(&headers, &forward.upgrades)).flatten();
        if parts.version == Version::HTTP_2 {
            join_cookies(&mut headers);
        }
        let cleaned = clean_request(&mut headers);
        if parts.method == Method::OPTIONS {
            count_forward(&mut headers);
        }
        let places: &[Place] = credential.map_or(&[], |c| &c.placement);
        remove_headers(&mut headers, places);
        set_forwarded(&mut headers, told.peer, raw_host.as_ref(), told.via);
        headers.insert(REQUEST_ID.clone(), told.request_id.clone());
        told.trace.write(&mut headers);
        apply_edits(&mut headers, &forward.request_headers);
        match &forward.host {
            Some(host) => drop(headers.insert(HOST, host.clone())),
            None => drop(raw_host.and_then(|host| headers.insert(HOST, host))),
        }
        if cleaned.trailers && may_be_http2(forward) {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if credential.is_some_and(|c| c.refused_when.json.is_some()) {
            // A refusal inside an answer is only seen in plain text.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(protocol) = &upgrade {
            set_upgrade(&mut headers, protocol.clone());
        }
        Self { headers, upgrade }
    }
}

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
