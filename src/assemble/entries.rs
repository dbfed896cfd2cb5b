//! A Snapshot's entries: what a route does, with handles to everything that it needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::access::{Access, Keyring, Passwords};
use crate::config::{CredentialSettings, ForwardSettings, RouteAction, RouteSettings, Settings};
use crate::limit::Bounds;
use crate::live::Entry;
use crate::model::Placement;
use crate::route::{Action, Credential, Forward, Rewrite, Route};
use crate::token::Cell;
use crate::upstream::{Destination, Reach, Upstream};

/// A placeholder's lifetime where the credential's own is for ever.
const PLACEHOLDER_LIFETIME: Duration = Duration::from_secs(3600);

/// A credential, ready to be shared by its routes.
pub(super) struct Ready {
    pub(super) cell: Arc<Cell>,
    pub(super) placement: Arc<Placement>,
}

/// What a route's access needs beside its rules.
pub(super) struct Gate {
    pub(super) keyring: Option<Arc<Keyring>>,
    pub(super) passwords: Arc<Passwords>,
}

/// Where each credential's token may go: to the origins that its routes name.
pub(super) fn reaches(settings: &Settings) -> HashMap<&str, Reach> {
    let mut reaches = HashMap::new();
    for route in &settings.routes {
        if let RouteAction::Forward(forward) = &route.action
            && let Some(name) = &forward.credential
        {
            reaches.entry(name.as_str()).or_insert_with(|| Reach::of(name)).add(forward.upstream.origin());
        }
    }
    reaches
}

pub(super) fn entry(
    route: &RouteSettings,
    upstream: Option<Arc<Upstream>>,
    gate: Gate,
    bounds: Bounds,
    settings: &Settings,
    ready: &BTreeMap<String, Ready>,
    reaches: &HashMap<&str, Reach>,
) -> Entry {
    let action = match &route.action {
        RouteAction::Respond(status) => Action::Respond(*status),
        // `of_route` gives every forwarding route its upstream, `check` has seen that its credential is
        // there, and the upstream is one that its token may go to. Were one of these not so, the route
        // must not forward: neither without a token nor with one that is another upstream's.
        RouteAction::Forward(forward) => upstream
            .and_then(|upstream| forward_of(route, forward, upstream, settings, ready, reaches))
            .map_or(Action::Respond(StatusCode::INTERNAL_SERVER_ERROR), |forward| Action::Forward(Box::new(forward))),
    };
    let access = Access::new(route.access.clone(), gate.keyring, gate.passwords);
    Entry { route: Arc::new(Route { name: route.label.clone(), action }), access, bounds }
}

fn forward_of(
    route: &RouteSettings,
    forward: &ForwardSettings,
    upstream: Arc<Upstream>,
    settings: &Settings,
    ready: &BTreeMap<String, Ready>,
    reaches: &HashMap<&str, Reach>,
) -> Option<Forward> {
    let credential = match &forward.credential {
        None => None,
        Some(name) => {
            let destination = reaches.get(name.as_str())?.destination(&upstream).ok()?;
            Some(credential_of(settings.credentials.get(name)?, ready.get(name)?, forward, destination))
        }
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

fn credential_of(
    credential: &CredentialSettings,
    ready: &Ready,
    forward: &ForwardSettings,
    destination: Destination,
) -> Credential {
    let origin = forward.upstream.origin();
    Credential {
        name: credential.name.clone(),
        cell: Arc::clone(&ready.cell),
        placement: Arc::clone(&ready.placement),
        destination,
        refused_when: credential.refused_when.clone(),
        own_endpoints: credential.vendor.own_endpoints().into_iter().filter(|own| own.url.origin() == origin).collect(),
        token_endpoint: forward.token_endpoint,
        vendor: Arc::clone(&credential.vendor),
        placeholder_lifetime: credential.lifetime.unwrap_or(PLACEHOLDER_LIFETIME),
    }
}
