//! Which credentials are the same one.

use crate::vendor::Identity;

/// A digest of provider, endpoint, client or user, scope and extras.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenKey([u8; 32]);

/// A digest of a credential's secrets: a version of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretVersion([u8; 32]);

impl TokenKey {
    /// The key of a credential of this provider.
    pub fn of(provider: &str, identity: &Identity) -> Self {
        let _ = (provider, identity);
        todo!()
    }
}

impl SecretVersion {
    /// The version that these secrets make.
    pub fn of(identity: &Identity) -> Self {
        let _ = identity;
        todo!()
    }
}
