//! Who may use a route, as written; `crate::access` judges by it.

use ipnet::IpNet;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The SHA-256 of an inbound API key: what is compared, and all that is kept.
#[derive(Clone, Copy)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key as a client presents it.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl ConstantTimeEq for KeyDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// In constant time: no comparison of keys tells by its duration how much of one was right.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for KeyDigest {}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A named inbound key. The name may be logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Whose it is.
    pub name: String,
    /// Its digest.
    pub digest: KeyDigest,
}

/// What must hold for a request to come in. Everything that is listed must hold; nothing listed
/// (`access: public`, or a loopback listener without `access`) lets everyone in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccessPolicy {
    /// If not empty, one of these keys must be presented.
    pub api_keys: Vec<ApiKey>,
    /// If not empty, the client's address must be in one of these.
    pub allow: Vec<IpNet>,
    /// The client's address must be in none of these.
    pub deny: Vec<IpNet>,
}
