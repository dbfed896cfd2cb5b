//! Upstreams of routes and token endpoints: one for each target, carried over where it is unchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::keyrings::key_url;
use crate::config::{CredentialSettings, EgressSettings, RouteAction, RouteSettings, TelemetrySettings};
use crate::model::{Egress, EndpointUrl, HeaderCase, Origin, Protocol, UpstreamTls};
use crate::upstream::{Roots, Target, TlsSetupError, Upstream};

/// The system's roots are read once, and only if somebody needs them.
#[derive(Default)]
pub(super) struct LazyRoots(Option<Roots>);

impl LazyRoots {
    fn load(&mut self) -> &Roots {
        self.0.get_or_insert_with(Roots::system)
    }
}

/// Upstreams by target, those of before first.
pub(super) struct Upstreams<'a> {
    pub(super) before: &'a HashMap<Origin, Vec<Arc<Upstream>>>,
    pub(super) next: HashMap<Origin, Vec<Arc<Upstream>>>,
}

impl Upstreams<'_> {
    fn of(&mut self, target: Target, roots: &mut LazyRoots) -> Result<Arc<Upstream>, TlsSetupError> {
        let known = |map: &HashMap<Origin, Vec<Arc<Upstream>>>| {
            map.get(&target.origin)?.iter().find(|upstream| *upstream.target() == target).cloned()
        };
        if let Some(upstream) = known(&self.next) {
            return Ok(upstream);
        }
        let upstream = match known(self.before) {
            Some(upstream) => upstream,
            None => Upstream::new(target.clone(), roots.load())?,
        };
        self.next.entry(target.origin).or_default().push(Arc::clone(&upstream));
        Ok(upstream)
    }

    pub(super) fn of_credential(
        &mut self,
        credential: &CredentialSettings,
        roots: &mut LazyRoots,
    ) -> Result<Option<Arc<Upstream>>, TlsSetupError> {
        let Some(url) = credential.vendor.token_url() else { return Ok(None) };
        let target = Target {
            egress: egress(credential.egress.as_ref(), false),
            credential: Some(credential.name.clone()),
            ..endpoint(url, &credential.tls)
        };
        self.of(target, roots).map(Some)
    }

    pub(super) fn of_collector(
        &mut self,
        telemetry: &TelemetrySettings,
        roots: &mut LazyRoots,
    ) -> Result<Option<Arc<Upstream>>, TlsSetupError> {
        self.of(endpoint(&telemetry.endpoint, &telemetry.tls), roots).map(Some)
    }

    /// The way to the keys of the issuer whose tokens a route takes.
    pub(super) fn of_keys(
        &mut self,
        route: &RouteSettings,
        roots: &mut LazyRoots,
    ) -> Result<Option<Arc<Upstream>>, TlsSetupError> {
        key_url(route).map(|source| self.of(endpoint(&source.url, &source.tls), roots)).transpose()
    }

    pub(super) fn of_route(
        &mut self,
        route: &RouteSettings,
        preserve_answers: bool,
        roots: &mut LazyRoots,
    ) -> Result<Option<Arc<Upstream>>, TlsSetupError> {
        let RouteAction::Forward(forward) = &route.action else { return Ok(None) };
        let target = Target {
            origin: forward.upstream.origin().clone(),
            protocol: forward.protocol,
            tls: forward.tls.clone(),
            egress: egress(forward.egress.as_ref(), forward.preserve_host),
            header_case: forward.header_case,
            preserve_answers,
            idle: forward.pool_idle,
            age: forward.pool_age,
            connections: forward.limits.connections,
            credential: forward.credential.clone(),
        };
        self.of(target, roots).map(Some)
    }
}

/// What is asked now and then, each time over a connection of its own.
fn endpoint(url: &EndpointUrl, tls: &UpstreamTls) -> Target {
    Target {
        origin: url.origin().clone(),
        protocol: Protocol::Http1,
        tls: tls.clone(),
        egress: None,
        header_case: HeaderCase::Title,
        preserve_answers: false,
        idle: Duration::ZERO,
        age: Duration::ZERO,
        connections: None,
        credential: None,
    }
}

/// The variable that names a proxy is nothing to its connections.
fn egress(settings: Option<&EgressSettings>, tunnel: bool) -> Option<Egress> {
    settings.map(|settings| Egress { proxy: settings.proxy.clone(), tunnel })
}
