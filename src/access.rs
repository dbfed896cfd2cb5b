//! Who may come in: keys and networks.

use std::net::IpAddr;

use http::HeaderMap;

use crate::model::AccessPolicy;

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
    pub fn new(policy: AccessPolicy) -> Self {
        Self { policy }
    }

    /// Whether everyone comes in.
    pub fn is_open(&self) -> bool {
        let _ = &self.policy;
        todo!()
    }

    /// Judges a request by its peer (`None` on a Unix socket) and headers: `Authorization: Bearer`,
    /// Basic's password, or `X-Api-Key`. Keys are compared as SHA-256 digests in constant time.
    pub fn admit(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Admitted<'_>, Denied> {
        let _ = (peer, headers);
        todo!()
    }

    /// Judges the networks, and this text as the key: for a login's `client_secret`.
    pub fn admit_key(&self, peer: Option<IpAddr>, key: &str) -> Result<Admitted<'_>, Denied> {
        let _ = (peer, key);
        todo!()
    }

    /// Takes out of the headers what let the request in: it never goes upstream.
    pub fn remove_key(&self, headers: &mut HeaderMap) {
        let _ = headers;
        todo!()
    }
}
