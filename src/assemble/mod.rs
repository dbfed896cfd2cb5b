//! From the settings to the next Snapshot: everything that can fail first, then what is carried over.
//!
//! Cells whose key and upstreams whose target are unchanged live on, so that a reload that does not
//! concern them costs no token and no connection. `upstreams` finds or makes the upstreams, `entries`
//! the routes with their handles, `keeps` what must outlive a login, `cells` the tokens, `keyrings` the keys
//! of issuers whose tokens let clients in, `collector` where traces go, `bounds` how often and how many at
//! once.

mod bounds;
mod cells;
mod collector;
mod doors;
mod entries;
mod keeps;
mod keyrings;
mod upstreams;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::runtime::Handle;

use bounds::Known;
use cells::Cells;
use collector::Collector;
use entries::{Gate, entry, reaches};
use keyrings::Keyrings;
use upstreams::{LazyRoots, Upstreams};

use crate::access::Passwords;
use crate::config::{ListenAddress, Locator, RouteAction, Settings};
use crate::limit::Pace;
use crate::live::{Directory, Door, Patience, Snapshot};
use crate::model::{HeaderCase, Origin, Problem, ServerTls, Severity};
use crate::route::Table;
use crate::server::ListenOn;
use crate::token::{Cell, Store, TokenKey};
use crate::upstream::{TlsSetupError, Upstream};

/// Why a part of settings that were checked cannot be run all the same.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct AssembleError {
    /// Where in the configuration, such as `routes[1].upstream`.
    pub path: String,
    /// What is wrong there.
    #[source]
    pub cause: AssembleFault,
}

/// What cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum AssembleFault {
    /// TLS towards an upstream or a token endpoint.
    #[error(transparent)]
    Upstream(#[from] TlsSetupError),
    /// TLS towards clients.
    #[error("TLS cannot be set up: {0}")]
    Listener(#[from] rustls::Error),
    /// A listener that the file no longer has is open to other machines until a restart.
    #[error("no `access`, and {0} is open to other machines until a restart")]
    Open(ListenOn),
}

impl AssembleError {
    /// The same, told as the configuration's other problems are.
    pub fn problem(&self, locator: &Locator) -> Problem {
        let (message, mend) = match &self.cause {
            AssembleFault::Upstream(TlsSetupError::NoRoots) => (
                "nothing to judge its certificate by: this system has no root certificates".to_owned(),
                "install ca-certificates (or point SSL_CERT_FILE at them), or name a `ca`",
            ),
            AssembleFault::Upstream(TlsSetupError::ServerName) => (
                "its host is no name that a certificate can hold".to_owned(),
                "check the URL's host; a route's upstream may name another one with `server_name`",
            ),
            AssembleFault::Upstream(TlsSetupError::Rustls(error)) => {
                (format!("TLS to it cannot be set up: {error}"), "check `ca`, `client_cert` and `client_key`")
            }
            AssembleFault::Open(address) => (
                format!("no `access`, and the listener {address} stays open to other machines until a restart"),
                "add `access: public`, or whom to let in; or restart",
            ),
            AssembleFault::Listener(error) => {
                (format!("TLS cannot be set up: {error}"), "check that `key` is the key of `cert`, and of a usual kind")
            }
        };
        locator.problem(Severity::Error, &self.path, message, mend)
    }
}

/// A listener's address, and how it speaks to its clients.
type NextDoor = (ListenOn, Door);

/// What outlives a Snapshot.
#[derive(Debug)]
pub struct Assembly {
    generation: u64,
    cells: Cells,
    upstreams: HashMap<Origin, Vec<Arc<Upstream>>>,
    doors: Vec<NextDoor>,
    /// TLS of the listeners that the file has now.
    tls: Vec<(ServerTls, Arc<ServerConfig>)>,
    collector: Collector,
    bounds: Known,
    keyrings: Keyrings,
    passwords: Arc<Passwords>,
}

/// The next configuration, and what a person should know of it.
#[derive(Debug)]
pub struct Assembled {
    /// To be put in force.
    pub snapshot: Snapshot,
    /// Routes that can never match, each with the one that always goes first (places in the file).
    pub shadowed: Vec<(usize, usize)>,
    /// Changes that only a restart brings, in words.
    pub restart_needed: Vec<String>,
    /// Each credential's token, by name: also of those that no route uses.
    pub cells: BTreeMap<String, Arc<Cell>>,
    /// The tokens that logins are made for, each once, under the key that says which login it is.
    pub logins: Vec<(TokenKey, Arc<Cell>)>,
    /// The store that replicas share, where there is one.
    pub store: Option<Arc<Store>>,
}

impl Assembled {
    /// The key by which others know this credential's login; `None` where nothing is asked for.
    pub fn key_of(&self, credential: &str) -> Option<TokenKey> {
        let cell = self.cells.get(credential)?;
        self.logins.iter().find(|(_, known)| Arc::ptr_eq(known, cell)).map(|(key, _)| *key)
    }
}

impl Assembly {
    /// Begins with nothing. Token calls run on `spawner`.
    pub fn new(spawner: Handle) -> Self {
        Self {
            generation: 0,
            cells: Cells::new(spawner.clone()),
            upstreams: HashMap::new(),
            doors: Vec::new(),
            tls: Vec::new(),
            collector: Collector::new(spawner.clone()),
            keyrings: Keyrings::new(spawner.clone()),
            passwords: Passwords::new(spawner),
            bounds: Known::default(),
        }
    }

    /// The same, for a proxy that serves: its spans are sent where the configuration says, and the keys of
    /// issuers are fetched.
    #[must_use]
    pub fn serving(mut self) -> Self {
        self.collector.export();
        self.keyrings.fetch();
        self
    }

    /// Lets go of everything, and waits a moment for tokens that are given up by that, and for spans
    /// that are still to be sent. Whoever holds a Snapshot still keeps its tokens.
    pub async fn retire(self) {
        self.cells.retire().await;
        self.collector.close().await;
    }

    /// Builds the next Snapshot. On an error, of which all are told, nothing has changed.
    pub fn build(&mut self, settings: &Settings) -> Result<Assembled, Vec<AssembleError>> {
        let mut roots = LazyRoots::default();
        let mut upstreams = Upstreams { before: &self.upstreams, next: HashMap::new() };
        let (mut errors, mut roots_told) = (Vec::new(), false);
        let mut built = |upstream: Result<Option<Arc<Upstream>>, TlsSetupError>, path: &dyn Fn() -> String| {
            upstream.unwrap_or_else(|cause| {
                let no_roots = matches!(cause, TlsSetupError::NoRoots);
                if no_roots && std::mem::replace(&mut roots_told, true) {
                    // The machine's fault, not each upstream's: told at the first one.
                    return None;
                }
                errors.push(AssembleError { path: path(), cause: cause.into() });
                None
            })
        };
        let mut token_upstreams = Vec::with_capacity(settings.credentials.len());
        for (name, credential) in &settings.credentials {
            let upstream = upstreams.of_credential(credential, &mut roots);
            token_upstreams.push(built(upstream, &|| format!("credentials.{name}")));
        }
        let mut route_upstreams = Vec::with_capacity(settings.routes.len());
        for (place, route) in settings.routes.iter().enumerate() {
            let upstream = upstreams.of_route(route, preserves(settings), &mut roots);
            route_upstreams.push(built(upstream, &|| format!("routes[{place}].upstream")));
        }
        let mut key_upstreams = Vec::with_capacity(settings.routes.len());
        for (place, route) in settings.routes.iter().enumerate() {
            let upstream = upstreams.of_keys(route, &mut roots);
            key_upstreams.push(built(upstream, &|| format!("routes[{place}].access.jwt.jwks")));
        }
        let collector = settings.telemetry.as_ref().and_then(|telemetry| {
            built(upstreams.of_collector(telemetry, &mut roots), &|| "telemetry.otlp".to_owned())
        });
        let doors = self.next_doors(&settings.listeners, record_case(settings), &mut errors);
        if let Some((address, _)) = self.doors.iter().find(|(address, _)| address.is_open()) {
            let silent = settings.routes.iter().enumerate().filter(|(_, route)| !route.says_access);
            let told = |(place, _)| AssembleError {
                path: format!("routes[{place}]"),
                cause: AssembleFault::Open(address.clone()),
            };
            errors.extend(silent.map(told));
        }
        if !errors.is_empty() {
            return Err(errors);
        }

        // Nothing fails from here on.
        let next = upstreams.next;
        let with_tls = settings.listeners.iter().zip(&doors);
        self.tls = with_tls.filter_map(|(listener, (_, door))| listener.tls.clone().zip(door.tls.clone())).collect();
        let (doors, mut restart_needed) = self.keep_doors(doors);
        if self.cells.store(&settings.store).0 != settings.store {
            restart_needed.push("`store` has changed".to_owned());
        }
        let traces = self.collector.traces(settings.telemetry.as_ref(), collector);
        let ready = self.cells.build(settings, token_upstreams, traces.as_ref());
        let bounds = self.bounds.build(&settings.routes);
        let reaches = reaches(settings);
        let keyrings = self.keyrings.build(&settings.routes, key_upstreams);
        let gates = keyrings.into_iter().map(|keyring| Gate { keyring, passwords: Arc::clone(&self.passwords) });
        let entries = settings
            .routes
            .iter()
            .zip(route_upstreams)
            .zip(gates)
            .zip(bounds)
            .map(|(((route, upstream), gate), bounds)| entry(route, upstream, gate, bounds, settings, &ready, &reaches))
            .collect();
        self.upstreams = next;
        self.generation += 1;
        let table = Table::new(settings.routes.iter().map(|route| route.matcher.clone()).collect());
        let shadowed = table.shadowed();
        let snapshot = Snapshot {
            generation: self.generation,
            table,
            entries,
            client: Patience {
                header: settings.client.header_timeout,
                idle: settings.client.idle_timeout,
                handshake: settings.client.handshake_timeout,
                head_size: settings.client.head_size,
                header_count: settings.client.header_count,
            },
            access_log: settings.log.access,
            trusted_proxies: settings.trusted_proxies.clone(),
            doors,
            connections: settings.connections,
            memory: settings.memory,
            guesses: Pace::new(settings.guesses.rate, settings.guesses.burst),
            traces,
            directory: Directory::default(),
        };
        let logins = self.cells.logins(settings, &ready);
        let cells = ready.into_iter().map(|(name, ready)| (name, ready.cell)).collect();
        let store = self.cells.shared().cloned();
        Ok(Assembled { snapshot, shadowed, restart_needed, cells, logins, store })
    }
}

/// Whether a listener wants answers' header names as the upstream wrote them.
fn preserves(settings: &Settings) -> bool {
    settings.listeners.iter().any(|listener| listener.header_case == HeaderCase::Preserve)
}

/// Whether an upstream wants header names as the client wrote them.
fn record_case(settings: &Settings) -> bool {
    settings.routes.iter().any(|route| match &route.action {
        RouteAction::Forward(forward) => forward.header_case == HeaderCase::Preserve,
        RouteAction::Respond(_) => false,
    })
}

/// The address as the server binds it.
pub fn listen_on(address: &ListenAddress) -> ListenOn {
    match address {
        ListenAddress::Tcp(address) => ListenOn::Tcp(*address),
        ListenAddress::Unix(path) => ListenOn::Unix(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_bytes;

    fn settings(listener: &str, access: &str) -> Settings {
        let yaml = format!("listeners: [{{address: '{listener}'}}]\nroutes: [{{name: a, respond: 204{access}}}]\n");
        load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &|_| None).unwrap().settings
    }

    #[tokio::test]
    async fn a_listener_that_is_open_until_a_restart_still_asks_each_route_for_its_access() {
        let mut assembly = Assembly::new(Handle::current());
        assembly.build(&settings("0.0.0.0:80", ", access: {deny: [10.0.0.0/8]}")).unwrap();
        let refused = assembly.build(&settings("127.0.0.1:80", "")).unwrap_err();
        assert!(matches!(refused[..], [AssembleError { cause: AssembleFault::Open(_), .. }]), "{refused:?}");
        let taken = assembly.build(&settings("127.0.0.1:80", ", access: public")).unwrap();
        assert_eq!((taken.snapshot.generation, taken.restart_needed.len()), (2, 2));

        let mut loopback = Assembly::new(Handle::current());
        loopback.build(&settings("127.0.0.1:80", "")).unwrap();
        loopback.build(&settings("127.0.0.1:81", "")).unwrap();
    }

    #[tokio::test]
    async fn a_changed_store_needs_a_restart_and_the_rest_is_taken() {
        let key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
        let yaml = |store: &str, status: u16| {
            let yaml = format!(
                "listeners: [{{address: '127.0.0.1:80'}}]\nstore: {store}\nroutes: [{{name: a, respond: {status}}}]\n"
            );
            load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &|_| None).unwrap().settings
        };
        let redis = format!("{{kind: redis, url: redis://a, encryption_key: {key}}}");
        let mut assembly = Assembly::new(Handle::current());
        assert!(assembly.build(&yaml("{kind: memory}", 204)).unwrap().restart_needed.is_empty());
        for _ in 0..2 {
            let changed = assembly.build(&yaml(&redis, 403)).unwrap();
            assert_eq!(changed.restart_needed, ["`store` has changed"], "as long as it differs from what runs");
        }
        assert!(assembly.build(&yaml("{kind: memory}", 403)).unwrap().restart_needed.is_empty());
    }

    #[tokio::test]
    async fn a_rotated_key_is_a_new_version_of_the_same_credential() {
        let yaml = |key: &str| {
            let yaml = format!(
                "listeners: [{{address: '127.0.0.1:80'}}]\n\
                 credentials:\n  one: {{provider: static, token: {key}}}\n  two: {{provider: static, token: other}}\n\
                 routes: [{{name: a, upstream: 'http://127.0.0.1:1', credential: one}}, \
                 {{name: b, match: {{path: /b}}, upstream: 'http://127.0.0.1:1', credential: two}}]\n"
            );
            load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &|_| None).unwrap().settings
        };
        let mut assembly = Assembly::new(Handle::current());
        let first = assembly.build(&yaml("old")).unwrap();
        let second = assembly.build(&yaml("new")).unwrap();
        assert!(Arc::ptr_eq(&first.cells["one"], &second.cells["one"]), "its token outlives the rotation");
        assert!(!Arc::ptr_eq(&second.cells["one"], &second.cells["two"]), "two keys never share a token");
    }
}
