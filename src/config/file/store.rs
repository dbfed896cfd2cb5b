//! Where tokens are kept.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::config::file::form::{Complaint, Form, Of, complaint};
use crate::config::file::measure::Patience;
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
    pub(crate) url: Option<Secret>,
    /// What every key in the store begins with: proxies with the same one share their tokens.
    #[schemars(extend("default" = "tokenferry"))]
    pub(crate) key_prefix: Option<Of<Prefix>>,
    /// What tokens are sealed with: 32 bytes in base64 (`openssl rand -base64 32`). Of a list the first seals, and all
    /// open.
    pub(crate) encryption_key: Option<Keys>,
    /// PEM file of the roots to trust instead of the system's; for `rediss://`.
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
        json!({ "type": "string", "minLength": 1, "maxLength": 100, "examples": ["tokenferry"] })
    }
}

/// One key, or a list of them.
#[derive(Debug)]
pub(crate) struct Keys(pub(crate) Vec<Secret>, /** Whether it is written as a list. */ pub(crate) bool);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key of 32 bytes in base64, or a list of them")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Keys, D::Error> {
                deserializer.deserialize_any(self)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Keys, E> {
                Ok(Keys(vec![Secret::new(text)], false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = list.next_element()? {
                    keys.push(key);
                }
                Ok(Keys(keys, true))
            }
        }

        // By the name under which the reader knows secrets: what stands here is one, in either shape.
        deserializer.deserialize_newtype_struct(Secret::SERDE_NAME, KeysVisitor)
    }
}

impl JsonSchema for Keys {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Keys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Secret>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
