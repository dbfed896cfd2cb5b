//! Where tokens are kept.

use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};
use sha2::{Digest, Sha256};

use crate::config::check::Check;
use crate::config::check::seal::MAKE_A_KEY;
use crate::config::file::{General, Kind, Store};
use crate::config::interpolate::MASK;
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::config::{RedisSettings, StoreSettings};
use crate::secret::{SealKeys, Secret};

/// What keys begin with unless the file says otherwise.
const PREFIX: &str = "tokenferry";
/// For one command: more than a store nearby ever needs, less than a request notices.
const TIMEOUT: Duration = Duration::from_millis(250);

const WRITE_URL: &str = "write redis://HOST:6379/0, or rediss:// for TLS, with odd characters of a password as %XX";

impl Check<'_> {
    /// Memory where an error was reported.
    pub(super) fn store(&mut self, root: &Node, general: &General) -> StoreSettings {
        let spot = Spot::ROOT.key("store");
        let (Some(store), Some(node)) = (&general.store, root.get("store")) else { return StoreSettings::Memory };
        match store.kind {
            None => self.missing(&spot, node, "kind", "write `kind: redis`, or `kind: memory`"),
            Some(Kind::Memory) => {
                for field in ["url", "key_prefix", "encryption_key", "ca", "timeout"] {
                    if node.get(field).is_some() {
                        self.report.error_at_key(
                            &spot.key(field),
                            "is of no use to a store in memory",
                            "write `kind: redis`, or take it out",
                        );
                    }
                }
            }
            Some(Kind::Redis) => {
                if let Some(settings) = self.redis(store, node, &spot) {
                    return StoreSettings::Redis(Box::new(settings));
                }
            }
        }
        StoreSettings::Memory
    }

    fn redis(&mut self, store: &Store, node: &Node, spot: &Spot<'_>) -> Option<RedisSettings> {
        let server = match &store.url {
            None => {
                self.missing(spot, node, "url", "add `url: redis://127.0.0.1:6379/0`");
                None
            }
            Some(url) => self.server(url, &spot.key("url")),
        };
        let shown = node.get("url").map(shown).unwrap_or_default();
        let keys = self.keys(store, node, spot);
        let ca = self.ca(store.ca.as_ref(), &spot.key("ca"));
        if store.ca.is_some() && store.url.as_ref().is_some_and(|url| !is_tls(url)) && server.is_some() {
            let mend = "write `url: rediss://...`, or take it out";
            self.report.error_at_key(&spot.key("ca"), "is of no use without TLS", mend);
        }
        let key_prefix = store.key_prefix.as_ref().map_or_else(|| PREFIX.to_owned(), |prefix| prefix.0.clone());
        let timeout = store.timeout.as_ref().map_or(TIMEOUT, |timeout| timeout.0);
        let mut version = Sha256::new();
        let secrets = store.url.iter().chain(store.encryption_key.iter().flat_map(|keys| &keys.0));
        for part in secrets.map(|secret| secret.expose().as_bytes()).chain([key_prefix.as_bytes()]) {
            version.update((part.len() as u64).to_be_bytes());
            version.update(part);
        }
        version.update(timeout.as_nanos().to_be_bytes());
        ca.iter().flat_map(|ca| ca.iter()).for_each(|root| version.update(root));
        let version = version.finalize().into();
        Some(RedisSettings { server: server?, shown, ca, key_prefix, keys: keys?, timeout, version })
    }

    fn server(&mut self, url: &Secret, spot: &Spot<'_>) -> Option<ConnectionInfo> {
        let text = url.expose().trim();
        if !text.starts_with("redis://") && !is_tls(url) {
            self.report.error(spot, "must begin with redis:// or rediss://", WRITE_URL);
            return None;
        }
        if text.contains(['?', '#']) {
            self.report.error(spot, "must have neither a query nor a fragment", WRITE_URL);
            return None;
        }
        let server = text.into_connection_info().ok();
        if server.is_none() {
            self.report.error(spot, "is not the URL of a Redis server", WRITE_URL);
        }
        server
    }

    fn keys(&mut self, store: &Store, node: &Node, spot: &Spot<'_>) -> Option<Arc<SealKeys>> {
        let Some(keys) = &store.encryption_key else {
            self.missing(spot, node, "encryption_key", format!("tokens are sealed with it: {MAKE_A_KEY}"));
            return None;
        };
        self.seal_keys(keys, node, spot)
    }
}

/// `redis://***@HOST:PORT/DATABASE`: what of a URL is no secret.
fn shown(url: &Node) -> String {
    let text = match &url.value {
        Value::Text(text) => text.trim(),
        Value::Resolved(resolved) => resolved.masked.trim(),
        _ => MASK,
    };
    let Some((scheme @ ("redis" | "rediss"), rest)) = text.split_once("://") else { return MASK.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("***@", host));
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]*/".contains(c));
    if plain(host) && plain(path) { format!("{scheme}://{user}{host}{path}") } else { MASK.to_owned() }
}

fn is_tls(url: &Secret) -> bool {
    url.expose().trim().starts_with("rediss://")
}
