//! What is decided of a request by its head alone, before anything is awaited. Pure, so that
//! `explain` shows what the walk does.

use http::request::Parts;
use http::{Method, StatusCode};

use super::framing::{self, RequestHost};
use super::headers::{Seen, Survey, forwards_left, has_been_here};
use super::refusal::Refusal;
use crate::live::{Entry, Snapshot};
use crate::model::{CanonicalPath, EncodedSlash, PathError, TokenEndpoint};
use crate::route::{Action, Credential, Forward, RequestLine};
use crate::vendor::OwnCall;

/// Refuses what no route is asked about, and tells whom the rest is for. `survey` is of its head, and
/// `pseudonym` this process's name in `Via`.
pub(super) fn sound(parts: &Parts, survey: Survey, pseudonym: &str) -> Result<RequestHost, Refusal> {
    if is_refused(&parts.method) {
        return Err(Refusal::Method);
    }
    let host = framing::check(parts, survey)?;
    if parts.uri.query().is_some_and(|q| q.bytes().any(|b| b <= b' ' || b >= 0x7f)) {
        return Err(Refusal::Query);
    }
    if survey.saw(Seen::VIA) && has_been_here(&parts.headers, pseudonym) {
        return Err(Refusal::Loop);
    }
    Ok(host)
}

/// A tunnel past the routes, and the echoes of a request with its credential: TRACE, and what IIS took
/// for the same. Methods have a case, but not to every server.
fn is_refused(method: &Method) -> bool {
    let name = method.as_str();
    matches!(name.len(), 5 | 7) && ["TRACE", "TRACK", "CONNECT"].iter().any(|no| name.eq_ignore_ascii_case(no))
}

/// The route that takes a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Its place.
    pub(super) place: usize,
    /// Whether the path has an encoded slash. Only a route may allow it, so it is looked at after
    /// the route is known.
    pub(super) encoded_slash: bool,
}

/// Looks for the route.
pub(super) fn find(snapshot: &Snapshot, parts: &Parts, host: &RequestHost) -> Result<Found, Refusal> {
    let path = CanonicalPath::parse(parts.uri.path(), EncodedSlash::Allow)?;
    // Most paths have no escape at all.
    let encoded_slash = path.is_escaped() && path.as_str().contains("%2F");
    let line = RequestLine { host: host.host(), path: &path, method: &parts.method, headers: &parts.headers };
    match snapshot.table.find(line) {
        Some(place) => Ok(Found { place, encoded_slash }),
        None if encoded_slash => Err(PathError::EncodedSlash.into()),
        None => Err(Refusal::NoRoute),
    }
}

/// What a route does with a request that it takes.
#[derive(Debug)]
pub(super) enum Course<'s> {
    /// Answers with this refusal, once the client is let in.
    Refuse(Refusal),
    /// Answers a call of the vendor's own endpoint, which lets the client in by rules of its own.
    Login { forward: &'s Forward, credential: &'s Credential, call: OwnCall },
    /// Forwards, once the client is let in. `changed` is the upstream's path, where it is not the
    /// client's as it came.
    Forward { forward: &'s Forward, changed: Option<String>, credential: Option<&'s Credential> },
}

impl<'s> Course<'s> {
    /// The course of a request on the route that was found for it.
    pub(super) fn of(entry: &'s Entry, found: Found, parts: &Parts) -> Result<Self, Refusal> {
        let forward = match &entry.route.action {
            Action::Respond(_) if found.encoded_slash => return Ok(Self::Refuse(PathError::EncodedSlash.into())),
            Action::Respond(status) => return Ok(Self::Refuse(Refusal::Respond(*status))),
            Action::Forward(forward) => forward,
        };
        if found.encoded_slash && forward.encoded_slash == EncodedSlash::Refuse {
            return Err(PathError::EncodedSlash.into());
        }
        if parts.method == Method::OPTIONS && forwards_left(&parts.headers) == Some(0) {
            // RFC 9110 section 7.6.2: it was meant to come this far and no further.
            return Ok(Self::Refuse(Refusal::Respond(StatusCode::NO_CONTENT)));
        }
        let raw = parts.uri.path();
        let target = forward.rewrite.forward(raw);
        let credential = forward.credential.as_ref();
        let own = credential.and_then(|credential| Some((credential, credential.own_call(&target)?)));
        let changed = (target != raw).then(|| target.into_owned());
        Ok(match own {
            None => Self::Forward { forward, changed, credential },
            Some((credential, call)) => match credential.token_endpoint {
                TokenEndpoint::Answer => Self::Login { forward, credential, call },
                TokenEndpoint::Refuse => Self::Refuse(Refusal::OwnEndpoint),
                TokenEndpoint::Forward => Self::Forward { forward, changed, credential: None },
            },
        })
    }
}
