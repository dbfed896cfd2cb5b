//! Which credentials are the same one.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::hex;
use crate::secret::Secret;
use crate::vendor::Identity;

/// A digest of provider, endpoint, client or user, scope and extras.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey([u8; 32]);

/// A digest of a credential's secrets: a version of it. Lives in memory only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretVersion([u8; 32]);

impl TokenKey {
    /// The key of a credential of this provider. The order of the parts does not matter: a map of
    /// extras that was only written in another order is the same credential.
    pub fn of(provider: &str, identity: &Identity) -> Self {
        let mut parts: Vec<_> = identity.parts.iter().map(|(name, value)| (*name, value.as_str())).collect();
        parts.sort_unstable();
        let fields = parts.iter().flat_map(|(name, value)| [*name, *value]);
        Self(digest("tokenferry credential", std::iter::once(provider).chain(fields)))
    }
}

impl TokenKey {
    /// The whole of it in hex: where this credential's things lie in a store.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl SecretVersion {
    /// The whole of it in hex. To be sealed wherever it is kept: it helps to guess a weak secret.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// From what [`SecretVersion::hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }

    /// The version that these secrets make.
    pub fn of(identity: &Identity) -> Self {
        Self(digest("tokenferry secret", identity.secrets.iter().map(Secret::expose)))
    }
}

/// SHA-256 over fields that carry their length, so that no two lists of fields run together
/// (`ab`, `c` is not `a`, `bc`). `purpose` keeps digests of different things apart.
fn digest<'a>(purpose: &'a str, fields: impl Iterator<Item = &'a str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for field in std::iter::once(purpose).chain(fields) {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field.as_bytes());
    }
    hasher.finalize().into()
}

/// The first four bytes, enough to tell keys apart in a log.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(")?;
        f.write_str(&hex(self.0.first_chunk::<4>().map_or(&[], |start| start)))?;
        f.write_str(")")
    }
}

/// Nothing of it: even a part of a digest helps to guess a weak secret.
impl fmt::Debug for SecretVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretVersion(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(parts: &[(&'static str, &str)], secrets: &[&str]) -> Identity {
        Identity {
            parts: parts.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
            secrets: secrets.iter().map(|s| Secret::new(*s)).collect(),
        }
    }

    #[test]
    fn credentials_that_differ_in_any_part_have_different_keys() {
        let of = |provider: &str, parts: &[(&'static str, &str)]| TokenKey::of(provider, &identity(parts, &[]));
        let keys = [
            of("oauth2", &[("client", "a"), ("scope", "bc")]),
            of("oauth2", &[("client", "ab"), ("scope", "c")]),
            of("oauth2", &[("client", "a"), ("audience", "bc")]),
            of("oauth2", &[("client", "a"), ("scope", "bc"), ("extra", "")]),
            of("oauth2", &[("client", "a")]),
            of("crayon", &[("client", "a"), ("scope", "bc")]),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn a_version_is_read_back_from_its_hex() {
        let version = SecretVersion::of(&identity(&[], &["old"]));
        assert_eq!(SecretVersion::from_hex(&version.hex()), Some(version));
        for wrong in ["", "ab", &"g".repeat(64), &"+f".repeat(32), &"é".repeat(32)] {
            assert!(SecretVersion::from_hex(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_order_of_parts_and_the_secret_are_no_part_of_the_key() {
        let a = identity(&[("x", "1"), ("y", "2")], &["old"]);
        let b = identity(&[("y", "2"), ("x", "1")], &["new"]);
        assert_eq!(TokenKey::of("p", &a), TokenKey::of("p", &b));
        assert_ne!(SecretVersion::of(&a), SecretVersion::of(&b));
    }

    #[test]
    fn a_secret_moved_between_fields_is_another_version() {
        let version = |secrets: &[&str]| SecretVersion::of(&identity(&[], secrets));
        assert_ne!(version(&["ab", "c"]), version(&["a", "bc"]));
        assert_ne!(version(&["a"]), version(&["a", ""]));
        assert_eq!(version(&["a", "b"]), version(&["a", "b"]));
        assert_eq!(format!("{:?}", version(&["a"])), "SecretVersion(***)");
    }
}
