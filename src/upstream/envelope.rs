//! A request in an envelope: it says for which upstream it was made, and no other one's pool opens it.
//!
//! This is how a credential's token stays with the origins that its routes name. A token's header is
//! written into a request in one way only, which puts the request into an envelope to the [`Destination`]
//! that the token was handed out for. (In a query or a JSON body a token is text, which the walk of the
//! request writes there: of it no type tells where it goes.) A destination is made for an upstream only where the credential's
//! [`Reach`] covers it; and a [`Pool`](super::Pool) takes envelopes, opens those to its own upstream and
//! refuses all others. A bare request is nothing that it takes:
//!
//! ```compile_fail
//! use tokenferry::upstream::{Plan, Pool};
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! fn send(pool: &std::rc::Rc<Pool<Body>>, request: http::Request<Body>, plan: Plan<'_>) {
//!     let _ = pool.deliver(request, plan);
//! }
//! ```
//!
//! With an envelope it is:
//!
//! ```
//! use tokenferry::upstream::{Envelope, Plan, Pool};
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! fn send(pool: &std::rc::Rc<Pool<Body>>, request: Envelope<'_, Body>, plan: Plan<'_>) {
//!     let _ = pool.deliver(request, plan);
//! }
//! ```

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Request};

use super::Upstream;
use crate::model::Origin;

/// Where a credential's token may go: the origins that the routes with this credential name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    credential: String,
    origins: HashSet<Origin>,
}

impl Reach {
    /// Nowhere, until origins are added.
    pub fn of(credential: &str) -> Self {
        Self { credential: credential.to_owned(), origins: HashSet::new() }
    }

    /// Adds the origin of a route's upstream.
    pub fn add(&mut self, origin: &Origin) {
        if !self.origins.contains(origin) {
            self.origins.insert(origin.clone());
        }
    }

    /// This upstream as a place for the token. Refused where no route of the credential names its
    /// origin, or where its connections are another credential's.
    pub fn destination(&self, upstream: &Arc<Upstream>) -> Result<Destination, Elsewhere> {
        let target = upstream.target();
        let covered = self.origins.contains(&target.origin);
        let own = target.credential.as_deref() == Some(self.credential.as_str());
        if covered && own { Ok(Destination(Arc::clone(upstream))) } else { Err(Elsewhere) }
    }
}

/// An upstream to which a credential's token may go. Made by [`Reach::destination`] alone.
#[derive(Clone, Debug)]
pub struct Destination(Arc<Upstream>);

impl Destination {
    /// For tests of what happens before anything is sent.
    #[cfg(test)]
    pub(crate) fn anywhere() -> Self {
        let target = super::testing::target("http://127.0.0.1:1");
        Self(Upstream::new(target, &super::Roots::none()).unwrap())
    }

    /// Addresses a request to it.
    pub fn envelope<B>(&self, request: Request<B>) -> Envelope<'_, B> {
        Envelope::to(&self.0, request)
    }
}

/// A token, or a request that may hold one, was about to go to an upstream that is not its own. A fault
/// of this program; nothing has left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a credential was about to go to an upstream that is not its own")]
pub struct Elsewhere;

/// A request, and the one upstream that it is for.
pub struct Envelope<'u, B> {
    to: &'u Upstream,
    request: Request<B>,
}

impl<'u, B> Envelope<'u, B> {
    /// Addresses a request that holds no token. One that does is addressed by its token's guard.
    pub fn to(upstream: &'u Upstream, request: Request<B>) -> Self {
        Self { to: upstream, request }
    }

    /// What is in it, to be shown.
    pub fn request(&self) -> &Request<B> {
        &self.request
    }

    /// Its headers, for what is said of the sending itself.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    /// The request, for the upstream that it is for.
    pub(super) fn open(self, by: &Upstream) -> Result<Request<B>, Elsewhere> {
        if std::ptr::eq(self.to, by) { Ok(self.request) } else { Err(Elsewhere) }
    }
}

/// Nothing of the request: there may be a token in it.
impl<B> fmt::Debug for Envelope<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("to", &self.to.target().origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::target;
    use crate::upstream::{Roots, Target};

    fn upstream(url: &str, credential: Option<&str>) -> Arc<Upstream> {
        let credential = credential.map(str::to_owned);
        Upstream::new(Target { credential, ..target(url) }, &Roots::none()).unwrap()
    }

    #[test]
    fn a_token_has_no_destination_but_where_a_route_of_its_credential_leads() {
        let own = upstream("http://api.example.test:81", Some("partner"));
        let mut reach = Reach::of("partner");
        assert_eq!(reach.destination(&own).unwrap_err(), Elsewhere, "no route yet");
        reach.add(&own.target().origin);
        assert!(reach.destination(&own).is_ok());
        for (url, credential) in [
            ("http://api.example.test:82", Some("partner")),
            ("http://api.example.test.evil.test:81", Some("partner")),
            ("http://api.example.test:81", Some("other")),
            ("http://api.example.test:81", None),
        ] {
            let other = upstream(url, credential);
            assert_eq!(reach.destination(&other).unwrap_err(), Elsewhere, "{url} {credential:?}");
        }
    }

    #[test]
    fn an_envelope_is_opened_by_its_own_upstream_alone() {
        let own = upstream("http://api.example.test:81", Some("partner"));
        let twin = upstream("http://api.example.test:81", Some("partner"));
        let mut reach = Reach::of("partner");
        reach.add(&own.target().origin);
        let destination = reach.destination(&own).unwrap();
        assert!(destination.envelope(Request::new(())).open(&own).is_ok());
        assert_eq!(destination.envelope(Request::new(())).open(&twin).unwrap_err(), Elsewhere);
        assert_eq!(Envelope::to(&twin, Request::new(())).open(&own).unwrap_err(), Elsewhere);
    }

    #[test]
    fn an_envelope_shows_its_address_and_nothing_of_its_request() {
        let own = upstream("http://api.example.test:81", Some("partner"));
        let request = Request::get("/a?token=k3y").header("authorization", "Bearer k3y").body(()).unwrap();
        let shown = format!("{:?}", Envelope::to(&own, request));
        assert!(shown.contains("api.example.test:81") && !shown.contains("k3y"), "{shown}");
    }
}
