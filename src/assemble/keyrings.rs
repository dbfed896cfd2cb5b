//! The keys of tokens' issuers: those of a URL that is still named live on, so that a reload asks nobody.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::access::{Keyring, Source, fetch_keys};
use crate::config::RouteSettings;
use crate::model::{KeySource, KeyUrl};
use crate::upstream::Upstream;

/// Every issuer's keys, from one Snapshot to the next.
#[derive(Debug)]
pub(super) struct Keyrings {
    runtime: Handle,
    /// Off in commands, which ask an issuer only where they are told to.
    fetches: bool,
    known: Vec<(KeyUrl, Arc<Keyring>)>,
}

impl Keyrings {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, fetches: false, known: Vec::new() }
    }

    /// From now on keys are fetched.
    pub(super) fn fetch(&mut self) {
        self.fetches = true;
    }

    /// The keyring of each route that names a URL, in the order of the file; `upstreams` has the way to
    /// each of them.
    pub(super) fn build(
        &mut self,
        routes: &[RouteSettings],
        upstreams: Vec<Option<Arc<Upstream>>>,
    ) -> Vec<Option<Arc<Keyring>>> {
        let mut next: Vec<(KeyUrl, Arc<Keyring>)> = Vec::new();
        let mut of = |route: &RouteSettings, upstream: Option<Arc<Upstream>>| {
            let (source, upstream) = (key_url(route)?, upstream?);
            // However it is written.
            let same = |(known, _): &&(KeyUrl, Arc<Keyring>)| (&known.url, &known.tls) == (&source.url, &source.tls);
            if let Some((_, keyring)) = next.iter().find(same) {
                return Some(Arc::clone(keyring));
            }
            let fetched = || Source { fetch: fetch_keys(upstream, &source.url), url: source.label.clone() };
            let keyring = match self.known.iter().find(same) {
                Some((_, keyring)) => Arc::clone(keyring),
                None if self.fetches => Keyring::fetching(fetched(), route.label.clone(), &self.runtime),
                None => Keyring::idle(Some(fetched())),
            };
            next.push((source.clone(), Arc::clone(&keyring)));
            Some(keyring)
        };
        let keyrings = routes.iter().zip(upstreams).map(|(route, upstream)| of(route, upstream)).collect();
        self.known = next;
        keyrings
    }
}

/// Where a route's issuer publishes its keys.
pub(super) fn key_url(route: &RouteSettings) -> Option<&KeyUrl> {
    match &route.access.jwt.as_ref()?.keys {
        KeySource::Url(source) => Some(source),
        KeySource::File(_) => None,
    }
}
