//! What the walk would do with a request, without sending anything: for `explain`. It goes the
//! walk's own way, so that nothing is decided twice.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LOCATION, CONTENT_TYPE, HOST, LOCATION, SET_COOKIE, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

use super::course::{self, Course};
use super::forward::{Prepared, places};
use super::forwarded::client_address;
use super::framing::RequestHost;
use super::head::Told;
use super::headers::{Peer, Survey, clean_request, is_forwarding, via};
use super::kept::Room;
use super::mapping::map_back;
use super::media::is_json;
use super::refusal::Refusal;
use super::request_id::{self, TO_BE_MADE};
use super::splice::{Inbound, Need, query_name};
use super::trace;
use super::upload::Outbound;
use crate::access::{Access, Admitted, Denied, Judgement};
use crate::live::{Entry, Snapshot};
use crate::model::{CanonicalPath, ClientCertificate, EncodedSlash, Place, Visitor};
use crate::route::{Credential, Forward, RequestLine, Verdict};
use crate::token::inject::remove_headers;
use crate::token::{Guard, Token};
use crate::vendor::OwnCall;

/// Stands for this process's name in `Via`, whose end is another one with each start.
const PSEUDONYM: &str = "tokenferry-00000000";

/// A request that is asked about.
#[derive(Debug)]
pub struct Asked {
    /// Its head, as the HTTP library would hand it over.
    pub head: Parts,
    /// Its body, where one was given.
    pub body: Option<Bytes>,
    /// The client's address; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether the client's connection is TLS.
    pub tls: bool,
    /// What the client's certificate says, where it showed one that is vouched for.
    pub certificate: Option<ClientCertificate>,
}

/// What would become of it.
#[derive(Debug)]
pub struct Preview<'s> {
    /// Every route's verdict, in the order of the file; empty where no route is asked.
    pub verdicts: Vec<Verdict>,
    /// The place of the route that takes it.
    pub route: Option<usize>,
    /// Whether the client is let in; `None` where that is not asked. Where it is not, `fate` is what
    /// would follow if it were.
    pub admitted: Option<Result<Admitted<'static>, Denied>>,
    /// How it ends.
    pub fate: Fate<'s>,
}

/// How a request ends.
#[derive(Debug)]
pub enum Fate<'s> {
    /// The proxy answers by itself.
    Refused(Refusal),
    /// The proxy answers a call of the vendor's own endpoint, with a placeholder.
    Login {
        /// Whose endpoint it is.
        credential: &'s Credential,
        /// What is called.
        call: OwnCall,
    },
    /// It is forwarded.
    Sent(Box<Sending<'s>>),
}

/// A forwarded request.
#[derive(Debug)]
pub struct Sending<'s> {
    /// How the route forwards.
    pub forward: &'s Forward,
    /// Whose token goes with it. `None` also for a login that is passed on untouched.
    pub credential: Option<&'s Credential>,
    /// Method, path and query, and the headers in the order in which they were written. The body
    /// only where the token goes into it.
    pub request: Request<Option<Bytes>>,
    /// The headers of `request`, each with where it came from.
    pub headers: Vec<(HeaderName, HeaderValue, From)>,
    /// What the client sent and does not go on: nothing of this name does, or another value.
    pub removed: Vec<(HeaderName, Removed)>,
    /// The protocol of an upgrade that is let through.
    pub upgrade: Option<HeaderValue>,
    /// Answers' headers that would come back changed, for the upstream's own address.
    pub mapped: Vec<Mapped>,
}

/// An answer's header that is mapped back.
#[derive(Debug)]
pub struct Mapped {
    /// Its name.
    pub name: HeaderName,
    /// As the upstream may write it.
    pub answered: String,
    /// As the client then sees it.
    pub seen: String,
}

/// Where a header that is sent comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum From {
    /// The client, as it came.
    Client,
    /// The proxy.
    Proxy,
    /// The route's `request_headers`.
    Route,
    /// The credential.
    Token,
}

/// Why a header does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// It holds the API key that let the client in.
    Key,
    /// It is where a user or a token of the issuer lets the client in.
    Login,
    /// The token goes there.
    Token,
    /// The route's `request_headers` take it away.
    Route,
    /// It concerns the client's connection only.
    Hop,
    /// It says where the request came from, and is not believed.
    Claim,
    /// The proxy says it itself.
    Own,
}

/// Whose request it is: the peer's, or that of whom a trusted proxy tells.
pub fn client_of(snapshot: &Snapshot, asked: &Asked) -> Option<IpAddr> {
    let trusted = snapshot.trusted_proxies.as_ref();
    trusted.map_or(asked.peer, |trusted| client_address(trusted, asked.peer, &asked.head.headers))
}

/// Tells what the walk would do. `token` stands for every credential's.
pub fn preview<'s>(snapshot: &'s Snapshot, asked: Asked, token: &Token) -> Preview<'s> {
    let refused = |refusal| Preview { verdicts: Vec::new(), route: None, admitted: None, fate: Fate::Refused(refusal) };
    let host = match course::sound(&asked.head, Survey::of(&asked.head.headers), PSEUDONYM) {
        Ok(host) => host,
        Err(refusal) => return refused(refusal),
    };
    let found = course::find(snapshot, &asked.head, &host);
    let mut preview = refused(Refusal::Internal);
    preview.verdicts = verdicts(snapshot, &asked.head, &host);
    let found = match found {
        Ok(found) => found,
        Err(refusal) => return Preview { fate: Fate::Refused(refusal), ..preview },
    };
    let Some(entry) = snapshot.entries.get(found.place) else { return preview };
    preview.route = Some(found.place);
    let course = match Course::of(entry, found, &asked.head) {
        Ok(course) => course,
        Err(refusal) => return Preview { fate: Fate::Refused(refusal), ..preview },
    };
    let visitor = Visitor { address: client_of(snapshot, &asked), certificate: asked.certificate.as_ref() };
    let judged = entry.access.admit(&visitor, &asked.head.headers).and_then(Judgement::at_once);
    preview.admitted = Some(judged.map(Admitted::into_owned));
    preview.fate = match course {
        Course::Refuse(refusal) => Fate::Refused(refusal),
        Course::Login { credential, call, .. } => Fate::Login { credential, call },
        Course::Forward { forward, changed, credential } => {
            let trusted = snapshot.trusted_proxies.as_ref();
            let is_proxy = trusted.is_some_and(|trusted| trusted.trusts(asked.peer));
            let peer = Peer::new(asked.peer, asked.tls).trusted(is_proxy);
            match send(entry, asked, &host, (forward, changed, credential), token, &peer) {
                Ok(sending) => Fate::Sent(Box::new(sending)),
                Err(refusal) => Fate::Refused(refusal),
            }
        }
    };
    preview
}

fn verdicts(snapshot: &Snapshot, head: &Parts, host: &RequestHost) -> Vec<Verdict> {
    let Ok(path) = CanonicalPath::parse(head.uri.path(), EncodedSlash::Allow) else { return Vec::new() };
    let line = RequestLine { host: host.host(), path: &path, method: &head.method, headers: &head.headers };
    snapshot.table.explain(line)
}

fn send<'s>(
    entry: &Entry,
    asked: Asked,
    host: &RequestHost,
    (forward, changed, credential): (&'s Forward, Option<String>, Option<&'s Credential>),
    token: &Token,
    peer: &Peer,
) -> Result<Sending<'s>, Refusal> {
    let Asked { head: mut parts, body, tls, .. } = asked;
    if body.as_ref().is_some_and(|body| body.len() as u64 > forward.limits.body) {
        return Err(Refusal::BodyTooLarge);
    }
    let came = parts.headers.clone();
    entry.access.remove_key(&mut parts.headers);
    let raw_host = host.authority().cloned();
    // Hex digits behind a word always make a header value.
    let via = via(Version::HTTP_11, PSEUDONYM).ok_or(Refusal::Internal)?;
    let request_id = request_id::given(&parts.headers).cloned().unwrap_or(HeaderValue::from_static(TO_BE_MADE));
    let to_be_made = trace::TO_BE_MADE;
    let trace = trace::foretold(&parts.headers, &to_be_made);
    let survey = Survey::of(&parts.headers);
    let told = Told { peer, via: &via, request_id: &request_id, trace, host: forward.host.as_ref(), survey };
    let mut prepared = Prepared::new(&mut parts, raw_host, changed, forward, credential, told);
    let places = places(credential);
    prepared.body = match body {
        Some(body) if body.is_empty() => Inbound::none(places),
        Some(body) => match Need::of(prepared.headers(), places)? {
            // What is in it does not matter here.
            Need::Stream => Inbound::Empty,
            Need::Whole if body.len() as u64 > forward.limits.splice => return Err(Refusal::SpliceTooLarge),
            Need::Whole => Inbound::whole(body, prepared.headers(), places)?,
        },
        // Without a body to look at, one that claims to be JSON is taken for an object.
        None if prepared.headers().get(CONTENT_TYPE).is_some_and(is_json) => {
            match Need::of(prepared.headers(), places)? {
                Need::Stream => Inbound::Empty,
                Need::Whole => Inbound::Object(Bytes::from_static(b"{}")),
            }
        }
        None => Inbound::none(places),
    };
    let guard = match credential {
        Some(credential) => Some(Guard::of(token, places, &credential.destination).ok_or(Refusal::Internal)?),
        None => None,
    };
    let envelope = prepared.request(&forward.upstream, places, guard.as_ref(), &Room::default())?;
    let request = shown(envelope.request());
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.clone(), value.clone(), origin(name, value, &came, forward, places)))
        .collect();
    let still = |name: &HeaderName| request.headers().get_all(name).iter();
    // `Host` always is the proxy's, and `Via` is added to, as is what a trusted proxy says of its clients.
    let gone = came.keys().filter(|name| {
        let stays = came.get_all(*name).iter().all(|line| still(name).any(|sent| sent == line));
        let is_added_to = *name == VIA || peer.adds_to(name);
        *name != HOST && !is_added_to && !stays
    });
    let removed = gone.map(|name| (name.clone(), reason(name, &came, &entry.access, forward, places))).collect();
    let mapped = mapped(forward, prepared.path(), credential, !tls);
    Ok(Sending { forward, credential, headers, removed, upgrade: prepared.upgrade.clone(), mapped, request })
}

/// The request as it is shown: with its body only where that is made for the token.
fn shown(sealed: &Request<Outbound>) -> Request<Option<Bytes>> {
    let mut request = Request::new(match sealed.body() {
        Outbound::Whole(bytes) => bytes.clone(),
        _ => None,
    });
    *request.method_mut() = sealed.method().clone();
    *request.uri_mut() = sealed.uri().clone();
    *request.headers_mut() = sealed.headers().clone();
    request
}

/// What would become of an answer that leads to where the request went, and of a cookie for all of
/// the upstream.
fn mapped(forward: &Forward, target: &str, credential: Option<&Credential>, client_is_plain: bool) -> Vec<Mapped> {
    if !forward.rewrite_response {
        return Vec::new();
    }
    let upstream = forward.rewrite.base();
    let origin = upstream.origin();
    let path = if upstream.path().is_empty() { "/" } else { upstream.path() };
    let there = format!("{origin}{target}");
    let cookie = format!("id=1; Domain={}; Path={path}; Secure", origin.host());
    let query = credential.and_then(|credential| query_name(&credential.placement));
    let answer = [(LOCATION, there.clone()), (CONTENT_LOCATION, there), (SET_COOKIE, cookie)];
    let mut headers: HeaderMap = answer
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), HeaderValue::try_from(value.as_str()).ok()?)))
        .collect();
    map_back(&mut headers, &forward.rewrite, query, client_is_plain);
    let seen =
        |name: &HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    answer
        .into_iter()
        .filter_map(|(name, answered)| Some(Mapped { seen: seen(&name)?, name, answered }))
        .filter(|mapped| mapped.seen != mapped.answered)
        .collect()
}

fn origin(name: &HeaderName, value: &HeaderValue, came: &HeaderMap, forward: &Forward, places: &[Place]) -> From {
    let carries = |place: &Place| matches!(place, Place::Header { name: place, .. } if place == name);
    if places.iter().any(carries) {
        From::Token
    } else if forward.request_headers.set.iter().any(|(set, to)| set == name && to == value) {
        From::Route
    } else if came.get_all(name).iter().any(|sent| sent == value) {
        From::Client
    } else {
        From::Proxy
    }
}

/// Asks each of those that take headers away, in the order of the walk.
fn reason(name: &HeaderName, came: &HeaderMap, access: &Access, forward: &Forward, places: &[Place]) -> Removed {
    let lines = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    let takes = |take: &dyn Fn(&mut HeaderMap)| {
        // `Connection` goes along: what it nominates goes too.
        let kept = [name.clone(), http::header::CONNECTION];
        let mut headers: HeaderMap =
            came.iter().filter(|(n, _)| kept.contains(n)).map(|(n, v)| (n.clone(), v.clone())).collect();
        take(&mut headers);
        lines(&headers).is_empty()
    };
    if takes(&|headers| access.remove_key(headers)) {
        if *name == AUTHORIZATION && access.claims_authorization() { Removed::Login } else { Removed::Key }
    } else if takes(&|headers| {
        clean_request(headers);
    }) {
        Removed::Hop
    } else if takes(&|headers| remove_headers(headers, places)) {
        Removed::Token
    } else if is_forwarding(name.as_str()) {
        Removed::Claim
    } else if forward.request_headers.remove.contains(name)
        || forward.request_headers.set.iter().any(|(set, _)| set == name)
    {
        Removed::Route
    } else {
        Removed::Own
    }
}
