//! What of a login must outlive it: the refresh token that the vendor gave in place of the one that
//! was used (RFC 6749 section 6). It is written before the access token that came with it is used,
//! or a crash would lock the credential out.
//!
//! [`Kept`] is what is written, however it is kept; [`LocalKeep`] keeps it in memory or in a file.

mod file;
mod local;

use std::fmt;

use sha2::{Digest, Sha256};

use super::TokenKey;
use super::share::Pending;
use crate::model::hex;
use crate::secret::{SealKeys, Secret, Unsealed};
use crate::vendor::Identity;

pub use file::StateFile;
pub use local::LocalKeep;

/// It could not be written, or not be read for now. Why is logged where it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what must be kept of a login could not be written")]
pub struct Unkept;

/// Keeps one credential's refresh token.
pub trait Keep: fmt::Debug + Send + Sync {
    /// The refresh token that was kept last; `None` where the configured one is still the last. What
    /// cannot be made sense of counts as none, and is logged.
    fn load(&self) -> Pending<'_, Result<Option<Secret>, Unkept>>;

    /// Keeps this one from now on. It is durable when this returns.
    fn save(&self, kept: &Secret) -> Pending<'_, Result<(), Unkept>>;
}

/// A digest of the configured refresh token, from which a kept one descends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct First([u8; 32]);

impl First {
    /// Of this one.
    pub fn of(refresh_token: &Secret) -> Self {
        let digest = Sha256::new_with_prefix("tokenferry first refresh token\0");
        Self(digest.chain_update(refresh_token.expose()).finalize().into())
    }
}

impl First {
    /// Enough to tell it from another one of the same client, and too little to find the token by.
    pub(super) fn mark(&self) -> String {
        hex(self.0.first_chunk::<8>().map_or(&[], |mark| mark))
    }
}

/// Nothing of it.
impl fmt::Debug for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("First(***)")
    }
}

/// A refresh token, and which configured one it descends from: when the operator configures another,
/// the kept one counts no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// What it descends from.
    pub first: First,
    /// The refresh token.
    pub token: Secret,
}

impl Kept {
    /// Whose it is: the client's at its endpoint. Neither the credential's name nor its scope is part of
    /// it, so that a change of those does not lock the credential out.
    pub fn key(provider: &str, identity: &Identity) -> TokenKey {
        let client = Identity { parts: identity.client(), secrets: Vec::new() };
        let (parts, _) = client.lasting();
        TokenKey::of(provider, &Identity { parts, secrets: Vec::new() })
    }

    /// What it is sealed for.
    pub fn purpose(key: &TokenKey) -> String {
        format!("refresh token {}", key.hex())
    }

    /// Sealed, for any place outside this process. `None` where the system has no randomness.
    pub fn seal(&self, keys: &SealKeys, purpose: &str) -> Option<Vec<u8>> {
        let text = zeroize::Zeroizing::new([&self.first.0[..], self.token.expose().as_bytes()].concat());
        keys.seal(purpose, &text)
    }

    /// What [`Kept::seal`] wrote.
    pub fn open(sealed: &[u8], keys: &SealKeys, purpose: &str) -> Result<Self, Unsealed> {
        let text = keys.open(purpose, sealed)?;
        let (first, token) = text.split_first_chunk().ok_or(Unsealed::Damaged)?;
        let token = std::str::from_utf8(token).map_err(|_| Unsealed::Damaged)?;
        if token.is_empty() {
            return Err(Unsealed::Damaged);
        }
        Ok(Self { first: First(*first), token: Secret::new(token) })
    }
}

#[cfg(test)]
mod tests;
