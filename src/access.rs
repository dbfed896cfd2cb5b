//! Who may come in: keys and networks.
//!
//! Networks are judged first, so that who knocks from a wrong one learns nothing of keys. A peer's
//! address is that of the connection: no `X-Forwarded-For` is believed.

mod key;
mod network;
mod presented;

use std::net::IpAddr;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::model::{AccessPolicy, Visitor};
use crate::secret::Secret;

use key::X_API_KEY;
use presented::presented_in;

pub use presented::presented;

/// Why a request was not let in. No variant tells a wrong key from a missing one to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// No key, or a wrong one: 401.
    #[error("no valid API key")]
    Key,
    /// A wrong network: 403.
    #[error("the client's network is not allowed")]
    Network,
}

/// How a request was let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admitted<'a> {
    /// The name of the key that was presented, where one was asked for; may be logged.
    pub key: Option<&'a str>,
}

/// A route's policy, ready to judge.
#[derive(Clone, Debug)]
pub struct Access {
    policy: AccessPolicy,
}

impl Access {
    /// Makes a policy ready.
    pub fn new(mut policy: AccessPolicy) -> Self {
        for network in policy.allow.iter_mut().chain(&mut policy.deny) {
            *network = network::unmapped(*network);
        }
        Self { policy }
    }

    /// Whether everyone comes in.
    pub fn is_open(&self) -> bool {
        !self.asks_for_a_key() && self.policy.allow.is_empty() && self.policy.deny.is_empty()
    }

    /// Whether a key must be presented.
    pub fn asks_for_a_key(&self) -> bool {
        !self.policy.api_keys.is_empty()
    }

    /// Judges a request by who asks and its headers: `Authorization: Bearer`,
    /// Basic's password, or `X-Api-Key`. Keys are compared as SHA-256 digests in constant time.
    ///
    /// A valid key in one place is enough, whatever stands in the other: that may be for the
    /// upstream. A place that is written twice is not guessed at.
    pub fn admit(&self, visitor: &Visitor<'_>, headers: &HeaderMap) -> Result<Admitted<'_>, Denied> {
        self.admit_network(visitor.address)?;
        if !self.asks_for_a_key() {
            return Ok(Admitted { key: None });
        }
        let doubled = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
        if doubled(&AUTHORIZATION) || doubled(&X_API_KEY) {
            return Err(Denied::Key);
        }
        let authorization = headers.get(AUTHORIZATION).and_then(presented_in);
        let bare = headers.get(&X_API_KEY).and_then(|value| self.name_of(value.as_bytes()));
        let name = authorization.and_then(|key| self.name_of(&key)).or(bare);
        name.map(|name| Admitted { key: Some(name) }).ok_or(Denied::Key)
    }

    /// Judges the networks, and this text as the key: for a login's `client_secret`.
    pub fn admit_key(&self, visitor: &Visitor<'_>, key: &str) -> Result<Admitted<'_>, Denied> {
        self.admit_network(visitor.address)?;
        if !self.asks_for_a_key() {
            return Ok(Admitted { key: None });
        }
        self.name_of(key.as_bytes()).map(|name| Admitted { key: Some(name) }).ok_or(Denied::Key)
    }

    /// The key that let a request in, as text: a login's placeholder token. `None` where no key is
    /// asked for.
    pub fn presented_key(&self, headers: &HeaderMap) -> Option<Secret> {
        if !self.asks_for_a_key() {
            return None;
        }
        let authorization = headers.get(AUTHORIZATION).and_then(presented_in);
        let bare = headers.get(&X_API_KEY).map(|value| Zeroizing::new(value.as_bytes().to_vec()));
        let key = authorization.into_iter().chain(bare).find(|key| self.name_of(key).is_some())?;
        std::str::from_utf8(&key).ok().map(Secret::new)
    }

    /// Takes out of the headers what let the request in: it never goes upstream. `X-Api-Key` goes
    /// in every spelling that a server might take for it; `Authorization` only where it holds one
    /// of the keys, since it may otherwise be meant for the upstream.
    pub fn remove_key(&self, headers: &mut HeaderMap) {
        if !self.asks_for_a_key() {
            return;
        }
        let holds_key = |value: &HeaderValue| presented_in(value).is_some_and(|key| self.name_of(&key).is_some());
        if headers.get_all(AUTHORIZATION).iter().any(holds_key) {
            headers.remove(AUTHORIZATION);
        }
        key::remove(headers);
    }

    fn admit_network(&self, peer: Option<IpAddr>) -> Result<(), Denied> {
        if network::is_let_in(peer, &self.policy.allow, &self.policy.deny) { Ok(()) } else { Err(Denied::Network) }
    }

    fn name_of(&self, presented: &[u8]) -> Option<&str> {
        key::name_of(&self.policy.api_keys, presented)
    }
}

#[cfg(test)]
mod tests;
