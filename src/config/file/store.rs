//! Where tokens are kept.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::config::file::form::{Complaint, Form, Of, complaint};
use crate::config::file::measure::Patience;
use crate::config::file::seal::SealKeyTexts;
use crate::config::file::word::Path;
use crate::secret::Secret;

/// Where tokens are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// memory: each process has tokens of its own. redis: all replicas share them, in Redis 6 or newer, or Valkey.
    #[schemars(required)]
    pub(crate) kind: Option<Kind>,
    /// `redis://HOST:6379/0`, or `rediss://` for TLS; with `USER:PASSWORD@` where the server asks for them.
    /// Required with `kind: redis`.
    #[schemars(extend("examples" = ["redis://127.0.0.1:6379/0", "rediss://${REDIS_USER}:${REDIS_PASSWORD}@redis.example.com:6379/0"]))]
    pub(crate) url: Option<Secret>,
    /// What every key in the store begins with: proxies with the same one share their tokens.
    #[schemars(extend("default" = "tokenferry"))]
    pub(crate) key_prefix: Option<Of<Prefix>>,
    /// What tokens are sealed with: 32 bytes in base64 (`openssl rand -base64 32`). Of a list the first seals, and all
    /// open. Required with `kind: redis`.
    pub(crate) encryption_key: Option<SealKeyTexts>,
    /// PEM file of the roots to trust; for `rediss://`. Default: the system's.
    #[schemars(extend("examples" = ["/etc/ssl/redis-ca.pem"]))]
    pub(crate) ca: Option<Of<Path>>,
    /// For one command. A store that does not answer in time is away.
    #[schemars(extend("default" = "250ms"))]
    pub(crate) timeout: Option<Of<Patience>>,
}

/// What keeps tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// This process.
    Memory,
    /// Redis or Valkey.
    Redis,
}

/// What keys in the store begin with.
pub(crate) struct Prefix;

impl Form for Prefix {
    type Value = String;
    const WANTED: &'static str = "a prefix such as tokenferry";

    fn read(text: &str) -> Result<String, Complaint> {
        // Braces would move the keys of a credential to different nodes of a cluster.
        let sound = |b: u8| b.is_ascii_graphic() && !matches!(b, b'{' | b'}' | b'"' | b'\\');
        if text.is_empty() || text.len() > 100 || !text.bytes().all(sound) {
            return complaint(
                "must be 1 to 100 visible ASCII characters, without braces, quotes and backslashes",
                "write a word such as tokenferry",
            );
        }
        Ok(text.to_owned())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[!-~]+$", "examples": ["tokenferry"] })
    }
}
