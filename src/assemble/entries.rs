//! A Snapshot's entries: what a route does, with handles to everything that it needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::access::Access;
use crate::config::{CredentialSettings, ForwardSettings, RouteAction, RouteSettings, Settings};
use crate::limit::Bounds;
use crate::live::Entry;
use crate::model::Placement;
use crate::route::{Action, Credential, Forward, Rewrite, Route};
use crate::token::Cell;
use crate::upstream::Upstream;

/// A placeholder's lifetime where the credential's own is for ever.
const PLACEHOLDER_LIFETIME: Duration = Duration::from_secs(3600);

/// A credential, ready to be shared by its routes.
pub(super) struct Ready {
    pub(super) cell: Arc<Cell>,
    pub(super) placement: Arc<Placement>,
}

pub(super) fn entry(
    route: &RouteSettings,
    upstream: Option<Arc<Upstream>>,
    bounds: Bounds,
    settings: &Settings,
    ready: &BTreeMap<String, Ready>,
) -> Entry {
    let action = match &route.action {
        RouteAction::Respond(status) => Action::Respond(*status),
        // `of_route` gives every forwarding route its upstream, and `check` has seen that its
        // credential is there. Were either not so, the route must not forward without a token.
        RouteAction::Forward(forward) => upstream
            .and_then(|upstream| forward_of(route, forward, upstream, settings, ready))
            .map_or(Action::Respond(StatusCode::INTERNAL_SERVER_ERROR), |forward| Action::Forward(Box::new(forward))),
    };
    let access = Access::new(route.access.clone());
    Entry { route: Arc::new(Route { name: route.label.clone(), action }), access, bounds }
}

fn forward_of(
    route: &RouteSettings,
    forward: &ForwardSettings,
    upstream: Arc<Upstream>,
    settings: &Settings,
    ready: &BTreeMap<String, Ready>,
) -> Option<Forward> {
    let credential = match &forward.credential {
        None => None,
        Some(name) => Some(credential_of(settings.credentials.get(name)?, ready.get(name)?, forward)),
    };
    let host = HeaderValue::try_from(forward.upstream.origin().authority().as_str()).ok();
    Some(Forward {
        upstream,
        rewrite: Rewrite::new(route.matcher.path.clone(), forward.strip_prefix, forward.upstream.clone()),
        credential,
        timeouts: forward.timeouts,
        limits: forward.limits,
        request_headers: forward.request_headers.clone(),
        response_headers: forward.response_headers.clone(),
        encoded_slash: forward.encoded_slash,
        upgrades: forward.upgrades.clone(),
        host: host.filter(|_| !forward.preserve_host),
        rewrite_response: forward.rewrite_response,
    })
}

fn credential_of(credential: &CredentialSettings, ready: &Ready, forward: &ForwardSettings) -> Credential {
    let origin = forward.upstream.origin();
    Credential {
        name: credential.name.clone(),
        cell: Arc::clone(&ready.cell),
        placement: Arc::clone(&ready.placement),
        refused_when: credential.refused_when.clone(),
        own_endpoints: credential.vendor.own_endpoints().into_iter().filter(|own| own.url.origin() == origin).collect(),
        token_endpoint: forward.token_endpoint,
        vendor: Arc::clone(&credential.vendor),
        placeholder_lifetime: credential.lifetime.unwrap_or(PLACEHOLDER_LIFETIME),
    }
}
