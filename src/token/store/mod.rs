//! The store that replicas share: Redis 6 or newer, or Valkey.
//!
//! `server` is the way there, `link` asks and gives up in time, `script` has what the store does in
//! one step (`lua/`), `sealed` what is sealed at rest, `event` and `listen` what processes tell each
//! other, `inbox` what of it a cell has not heard yet, `share` puts it together for one credential,
//! `keep` has what outlives tokens. `board` is the same store as a pure model: random sequences
//! are compared with a real one (`conformance`), and every interleaving of replicas is walked
//! through on it (`model`).

mod event;
mod inbox;
mod keep;
mod link;
mod listen;
mod script;
mod sealed;
mod server;
mod share;

#[cfg(test)]
pub(in crate::token) mod board;
#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(in crate::token) mod memory;
#[cfg(test)]
mod model;
#[cfg(test)]
#[path = "../../../tests/harness/redis.rs"]
#[allow(unreachable_pub, reason = "the integration tests use it too")]
mod redis_server;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::{Cmd, FromRedisValue};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use event::{Event, Kind};
use keep::Remembered;
use link::{Ask, Link};
use server::Server;
use share::RedisShare;

pub use keep::StoreKeep;

use super::{Away, Share, TokenKey};
use crate::secret::{SealKeys, Secret};

/// Where a store is, and how to be with it.
#[derive(Clone)]
pub struct StoreSettings {
    /// Host, port, whether by TLS, user and password, database.
    pub server: redis::ConnectionInfo,
    /// Roots to trust instead of the system's.
    pub ca: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// What every key begins with.
    pub key_prefix: String,
    /// For one command.
    pub timeout: Duration,
}

/// Without user and password.
impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, ca, key_prefix, timeout } = self;
        let mut shown = f.debug_struct("StoreSettings");
        shown.field("server", server.addr()).field("ca", &ca.is_some());
        shown.field("key_prefix", key_prefix).field("timeout", timeout).finish()
    }
}

/// One process's store. Ends with its last reference; shares that outlive it are told nothing any more.
#[derive(Debug)]
pub struct Store {
    core: Arc<Core>,
    task: JoinHandle<()>,
}

/// What a store's shares and its task have in common.
#[derive(Debug)]
struct Core {
    server: Arc<Server>,
    link: Link,
    keys: Arc<SealKeys>,
    prefix: String,
    channel: String,
    /// This process among the others: random, so that a restarted one is another.
    process: String,
    spawner: Handle,
    shares: Mutex<HashMap<String, Weak<RedisShare>>>,
    /// Refresh tokens that this process had, by their place.
    remembered: Mutex<HashMap<String, Arc<Mutex<Remembered>>>>,
}

impl Store {
    /// A store, whether or not it can be reached now: nothing is waited for. Its task runs on `spawner`.
    pub fn new(settings: StoreSettings, keys: Arc<SealKeys>, spawner: Handle) -> Arc<Self> {
        let server = Arc::new(Server::new(settings.server, settings.ca));
        let core = Arc::new(Core {
            link: Link::new(Arc::clone(&server), settings.timeout, spawner.clone()),
            server,
            keys,
            channel: script::channel(&settings.key_prefix),
            prefix: settings.key_prefix,
            process: format!("{:032x}", fastrand::u128(..)),
            spawner,
            shares: Mutex::default(),
            remembered: Mutex::default(),
        });
        let task = core.spawner.spawn(listen::listen(Arc::clone(&core)));
        Arc::new(Self { core, task })
    }

    /// Whether it answers now.
    pub async fn answers(&self) -> bool {
        self.core.link.knock().await
    }

    /// A credential's share: the same one for the same key, as long as somebody has it. A lease must
    /// outlive a login: the credential's `timeout` and `drain`, and a little.
    pub fn share(&self, key: TokenKey, lease: Duration) -> Arc<dyn Share> {
        let mut shares = self.core.shares();
        let hex = key.hex();
        if let Some(share) = shares.get(&hex).and_then(Weak::upgrade) {
            share.lease_for(lease);
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(RedisShare::new(Arc::clone(&self.core), &key, lease));
        shares.insert(hex, Arc::downgrade(&share));
        share
    }

    /// Where a client's refresh token is kept; `key` is what [`Kept::key`](super::Kept::key) makes of the
    /// client, `first` the configured one.
    pub fn keep(&self, key: &TokenKey, first: &Secret) -> StoreKeep {
        StoreKeep::new(Arc::clone(&self.core), key, first)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Core {
    /// Tells the other processes; returns how many heard, this one included where it listens.
    async fn publish(&self, event: &Event) -> Result<usize, Away> {
        let value = self.link.ask(Ask::Command(&Cmd::publish(&self.channel, event.text()))).await?;
        usize::from_redis_value(value).map_err(|_| Away)
    }

    /// Never waits: it is called between two reads of the connection.
    fn heard(self: &Arc<Self>, event: Event) {
        match self.live(&event.key) {
            Some(share) => share.hear(&event),
            // Nobody here sends anything with that credential's token.
            None if event.kind == Kind::Hold && event.from != self.process => {
                let core = Arc::clone(self);
                let confirm = Event { kind: Kind::Confirm, from: self.process.clone(), ms: 0, ..event };
                self.spawner.spawn(async move { _ = core.publish(&confirm).await });
            }
            None => {}
        }
    }

    /// What is remembered outlives reloads.
    fn remembered(&self, place: &str) -> Arc<Mutex<Remembered>> {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(place.to_owned()).or_default())
    }

    fn back(&self) {
        let shares: Vec<_> = self.shares().values().filter_map(Weak::upgrade).collect();
        for share in shares {
            share.back();
        }
    }

    fn live(&self, hex: &str) -> Option<Arc<RedisShare>> {
        self.shares().get(hex).and_then(Weak::upgrade)
    }

    fn shares(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<RedisShare>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
