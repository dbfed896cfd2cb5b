//! A request's head as it goes to the upstream, but for its token. Pure, so that `explain` shows what
//! the walk does.

use http::header::{ACCEPT_ENCODING, HOST, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};

use super::headers::{Peer, apply_edits, clean_request, set_forwarded, set_upgrade};
use super::upgrade;
use crate::model::{Place, Protocol};
use crate::route::{Credential, Forward};
use crate::token::inject::remove_headers;

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
        peer: &Peer,
        via: &HeaderValue,
    ) -> Self {
        let mut headers = parts.headers;
        // RFC 9110 section 7.8: Upgrade means nothing in HTTP/1.0.
        let may_upgrade = parts.version == Version::HTTP_11;
        let upgrade = may_upgrade.then(|| upgrade::wanted(&headers, &forward.upgrades)).flatten();
        let cleaned = clean_request(&mut headers);
        let places: &[Place] = credential.map_or(&[], |c| &c.placement);
        remove_headers(&mut headers, places);
        set_forwarded(&mut headers, peer, raw_host.as_ref(), via);
        apply_edits(&mut headers, &forward.request_headers);
        match &forward.host {
            Some(host) => drop(headers.insert(HOST, host.clone())),
            None => drop(raw_host.and_then(|host| headers.insert(HOST, host))),
        }
        if cleaned.trailers && forward.upstream.target().protocol != Protocol::Http1 {
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
