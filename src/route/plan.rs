//! What a route does with a request that it takes: handles to everything it needs, ready made.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::Rewrite;
use crate::model::{
    CanonicalPath, EncodedSlash, EndpointUrl, HeaderEdits, Limits, Placement, RefusedWhen, Timeouts, TokenEndpoint,
};
use crate::token::Cell;
use crate::upstream::{Destination, Upstream};
use crate::vendor::{OwnCall, OwnEndpoint, Vendor};

/// A route, ready to run.
#[derive(Debug)]
pub struct Route {
    /// Its name, as logs, metrics and traces tell it.
    pub name: String,
    /// What it does.
    pub action: Action,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// Answers by itself.
    Respond(StatusCode),
    /// Forwards.
    Forward(Box<Forward>),
}

/// How a route forwards.
#[derive(Debug)]
pub struct Forward {
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// Paths, in both directions.
    pub rewrite: Rewrite,
    /// With what credential, if any.
    pub credential: Option<Credential>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much to take.
    pub limits: Limits,
    /// Edits of the request's headers.
    pub request_headers: HeaderEdits,
    /// Edits of the answer's headers.
    pub response_headers: HeaderEdits,
    /// Whether `%2f` passes.
    pub encoded_slash: EncodedSlash,
    /// Upgrade protocols that pass, in lower case.
    pub upgrades: Vec<String>,
    /// The upstream's `Host`; `None` keeps the client's.
    pub host: Option<HeaderValue>,
    /// Whether Location, Content-Location and Set-Cookie are mapped back.
    pub rewrite_response: bool,
}

/// A route's credential.
#[derive(Debug)]
pub struct Credential {
    /// Its name in the file.
    pub name: String,
    /// Its token.
    pub cell: Arc<Cell>,
    /// Where in a request the token goes.
    pub placement: Arc<Placement>,
    /// The upstream that it goes to, and no other.
    pub destination: Destination,
    /// When an answer says that the token was at fault.
    pub refused_when: RefusedWhen,
    /// The vendor's own endpoints as this route reaches them.
    pub own_endpoints: Vec<OwnEndpoint>,
    /// What is done with calls to them.
    pub token_endpoint: TokenEndpoint,
    /// The vendor, for its placeholder answers.
    pub vendor: Arc<dyn Vendor>,
    /// The lifetime that a placeholder answer tells.
    pub placeholder_lifetime: Duration,
}

impl Credential {
    /// What a request to this path of the upstream is, if it is to one of the vendor's own
    /// endpoints (with or without a trailing slash, and whether slashes are doubled, which many a
    /// server takes for one). `own_endpoints` holds only those of the route's own origin.
    pub fn own_call(&self, path: &str) -> Option<OwnCall> {
        // In whatever spelling: forwarded, a login at `/%74oken` would be one all the same.
        let is_same = |url: &EndpointUrl| {
            let (one, other) = (canonical(path), canonical(url.path()));
            segments(&one).eq(segments(&other))
        };
        self.own_endpoints.iter().find(|own| is_same(&own.url)).map(|own| own.call)
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Without an allocation where nothing is escaped.
fn canonical(path: &str) -> Cow<'_, str> {
    CanonicalPath::parse(path, EncodedSlash::Allow).map_or(Cow::Borrowed(path), CanonicalPath::into_text)
}
