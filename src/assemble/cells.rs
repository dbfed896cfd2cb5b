//! The cells of all credentials: those whose key is known live on from one Snapshot to the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::entries::Ready;
use super::keeps::{Keeps, keep};
use crate::config::{CredentialSettings, RedisSettings, RouteAction, RouteSettings, Settings, StoreSettings};
use crate::model::Limits;
use crate::telemetry::traces::Traces;
use crate::token::{self, BootClock, Cell, CellSettings, Keep, Releases, SecretVersion, Share, Store, TokenKey};
use crate::token::{fetch, traced};
use crate::upstream::Upstream;
use crate::vendor::Identity;

/// A lease outlives the longest login by this much: what is asked of the store around it.
const LEASE_GRACE: Duration = Duration::from_secs(2);

/// Every token of this process, and what goes with them from one Snapshot to the next.
#[derive(Debug)]
pub(super) struct Cells {
    spawner: Handle,
    known: HashMap<TokenKey, (SecretVersion, Arc<Cell>)>,
    keeps: Keeps,
    releases: Releases,
    /// The store of the first configuration: another one needs a restart.
    store: Option<(StoreSettings, Option<Arc<Store>>)>,
}

impl Cells {
    pub(super) fn new(spawner: Handle) -> Self {
        let releases = Releases::default();
        Self { spawner, known: HashMap::new(), keeps: HashMap::new(), releases, store: None }
    }

    pub(super) async fn retire(self) {
        let releases = self.releases;
        drop(self.known);
        releases.done().await;
    }

    /// The store that replicas share, where there is one.
    pub(super) fn shared(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()?.1.as_ref()
    }

    /// The store that was chosen first: what is in it cannot be moved to another one.
    pub(super) fn store(&mut self, settings: &StoreSettings) -> &(StoreSettings, Option<Arc<Store>>) {
        let spawner = &self.spawner;
        self.store.get_or_insert_with(|| {
            let store = match settings {
                StoreSettings::Memory => None,
                StoreSettings::Redis(redis) => Some(store(redis, spawner.clone())),
            };
            (settings.clone(), store)
        })
    }

    /// Cells by credential name: those whose key is known live on and are told what is new.
    pub(super) fn build(
        &mut self,
        settings: &Settings,
        upstreams: Vec<Option<Arc<Upstream>>>,
        traces: Option<&Traces>,
    ) -> BTreeMap<String, Ready> {
        let waiting = settings.routes.iter().filter_map(waiting).max().unwrap_or(Limits::default().waiting);
        let mut next: HashMap<TokenKey, (SecretVersion, Arc<Cell>)> = HashMap::new();
        let mut alike: HashMap<(TokenKey, SecretVersion), TokenKey> = HashMap::new();
        let mut ready = BTreeMap::new();
        let mut keeps = Keeps::new();
        for (credential, upstream) in settings.credentials.values().zip(upstreams) {
            let identity = identity(credential);
            let secret = SecretVersion::of(&identity);
            let mut key = TokenKey::of(credential.vendor.provider(), &identity);
            if next.get(&key).is_some_and(|(other, _)| *other != secret) {
                // The same client with two secrets: two versions at once cannot share one cell.
                key = TokenKey::of(credential.vendor.provider(), &named(identity, &credential.name));
            }
            // The same login under two names is one login, also where it is known by its key alone.
            let whole = TokenKey::of(credential.vendor.provider(), &credential.vendor.identity());
            let key = *alike.entry((whole, secret)).or_insert(key);
            let store = self.shared().map(|store| &**store);
            let keep = keep(credential, store, &self.keeps, &mut keeps);
            let share = self.share(&key, credential);
            let mut settings = cell_settings(credential, upstream, keep, secret, waiting, &self.releases);
            // A token that is written in the configuration is asked of nobody.
            if let Some(traces) = traces.filter(|_| credential.vendor.token_url().is_some()) {
                settings.fetch = traced(settings.fetch, &credential.name, traces.clone());
            }
            let cell = match next.get(&key).or_else(|| self.known.get(&key)) {
                Some((_, cell)) => Arc::clone(cell),
                None => {
                    Cell::new(CellSettings { share, ..settings.clone() }, Arc::new(BootClock), self.spawner.clone())
                }
            };
            if !next.contains_key(&key) && self.known.contains_key(&key) {
                cell.configure(settings);
            }
            next.insert(key, (secret, Arc::clone(&cell)));
            ready.insert(credential.name.clone(), Ready { cell, placement: Arc::new(credential.inject.clone()) });
        }
        self.known = next;
        self.keeps = keeps;
        ready
    }

    /// The cells of those credentials that have somewhere to log in.
    pub(super) fn logins(&self, settings: &Settings, ready: &BTreeMap<String, Ready>) -> Vec<(TokenKey, Arc<Cell>)> {
        let logs_in = settings.credentials.values().filter(|credential| credential.vendor.token_url().is_some());
        let cells = logs_in.filter_map(|credential| Some(Arc::as_ptr(&ready.get(&credential.name)?.cell)));
        let cells: HashSet<*const Cell> = cells.collect();
        let known = self.known.iter().filter(|(_, (_, cell))| cells.contains(&Arc::as_ptr(cell)));
        known.map(|(key, (_, cell))| (*key, Arc::clone(cell))).collect()
    }

    /// What a credential's cells of all replicas agree on. A token that is written in the configuration
    /// is in everybody's.
    fn share(&self, key: &TokenKey, credential: &CredentialSettings) -> Option<Arc<dyn Share>> {
        let store = self.shared()?;
        credential.vendor.token_url()?;
        Some(store.share(*key, credential.timeout + credential.drain + LEASE_GRACE))
    }
}

fn store(settings: &RedisSettings, spawner: Handle) -> Arc<Store> {
    let RedisSettings { server, ca, key_prefix, keys, timeout, .. } = settings.clone();
    Store::new(token::StoreSettings { server, ca, key_prefix, timeout }, keys, spawner)
}

/// A client that is known by its secret alone (a key, a fixed token) goes by its credential's name:
/// a rotated key is then a new version of the same credential, whose token serves until the new key
/// has proved itself.
fn identity(credential: &CredentialSettings) -> Identity {
    let identity = credential.vendor.identity();
    match identity.lasting() {
        (_, true) => identity,
        (parts, false) => named(Identity { parts, secrets: identity.secrets }, &credential.name),
    }
}

fn named(mut identity: Identity, name: &str) -> Identity {
    identity.parts.push(("credential", name.to_owned()));
    identity
}

fn waiting(route: &RouteSettings) -> Option<u32> {
    match &route.action {
        RouteAction::Forward(forward) => Some(forward.limits.waiting),
        RouteAction::Respond(_) => None,
    }
}

fn cell_settings(
    credential: &CredentialSettings,
    upstream: Option<Arc<Upstream>>,
    keep: Option<Arc<dyn Keep>>,
    secret: SecretVersion,
    waiting: u32,
    releases: &Releases,
) -> CellSettings {
    let release = releases.of(credential.name.clone(), Arc::clone(&credential.vendor), upstream.clone());
    CellSettings {
        name: credential.name.clone(),
        fetch: fetch(Arc::clone(&credential.vendor), upstream, credential.timeout, keep),
        secret,
        refresh_before: credential.refresh_before,
        lifetime: credential.lifetime,
        idle_lifetime: credential.idle_lifetime,
        exclusive: credential.exclusive,
        drain: credential.drain,
        waiting,
        release,
        share: None,
    }
}
