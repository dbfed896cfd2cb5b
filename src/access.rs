//! Who may come in: keys and networks.
//!
//! Networks are judged first, so that who knocks from a wrong one learns nothing of keys. The
//! address is the connection's, or the one that a trusted proxy tells.

use std::net::IpAddr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::model::{AccessPolicy, KeyDigest, Visitor, unmapped};
use crate::secret::Secret;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Old clients leave the padding out, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
            *network = unmapped(*network);
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
        headers.remove(&X_API_KEY);
        // `_` is written for `-` in CGI variables, where the two become one.
        while let Some(name) = headers.keys().find(|name| is_api_key_alias(name)).cloned() {
            headers.remove(name);
        }
    }

    fn admit_network(&self, peer: Option<IpAddr>) -> Result<(), Denied> {
        // An IPv4 client of a socket that listens for both is seen as `::ffff:a.b.c.d`.
        let peer = peer.map(|peer| peer.to_canonical());
        let within =
            |networks: &[IpNet]| peer.is_some_and(|peer| networks.iter().any(|network| network.contains(&peer)));
        if within(&self.policy.deny) || !(self.policy.allow.is_empty() || within(&self.policy.allow)) {
            return Err(Denied::Network);
        }
        Ok(())
    }

    /// The name of the configured key that this is. Every key is compared, found or not.
    fn name_of(&self, presented: &[u8]) -> Option<&str> {
        // An empty key is one that was not given, even where one was configured by mistake.
        if presented.is_empty() {
            return None;
        }
        let digest = KeyDigest::of(presented);
        let mut found = Choice::from(0);
        let mut at = u64::MAX;
        for (place, key) in (0_u64..).zip(&self.policy.api_keys) {
            let equal = key.digest.ct_eq(&digest);
            at.conditional_assign(&place, equal);
            found |= equal;
        }
        let place = usize::try_from(at).ok().filter(|_| bool::from(found))?;
        self.policy.api_keys.get(place).map(|key| key.name.as_str())
    }
}

/// What a request presents as `Authorization`: Bearer's token or Basic's password. One that is written
/// twice is not guessed at.
pub fn presented(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    values.next().is_none().then(|| presented_in(value)).flatten()
}

/// The key in an `Authorization` value: Bearer's (RFC 6750 section 2.1) or Basic's password
/// (RFC 7617 section 2). The scheme's case does not matter.
fn presented_in(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let value = value.as_bytes().trim_ascii();
    let (scheme, rest) = value.split_at_checked(value.iter().position(|byte| *byte == b' ')?)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Zeroizing::new(rest.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = Zeroizing::new(BASE64.decode(rest).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(|password| Zeroizing::new(password.to_vec()))
}

fn is_api_key_alias(name: &HeaderName) -> bool {
    let name = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    name.eq(X_API_KEY.as_str().bytes())
}

#[cfg(test)]
mod tests;
