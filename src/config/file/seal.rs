//! Keys that seal what is kept outside the process.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::secret::Secret;

/// One key, or a list of them.
#[derive(Debug)]
pub(crate) struct SealKeyTexts(pub(crate) Vec<Secret>);

impl<'de> Deserialize<'de> for SealKeyTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = SealKeyTexts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key, or a list of keys")
            }

            // By its name the reader knows a text here for a secret.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<SealKeyTexts, D::Error> {
                inner.deserialize_any(self)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SealKeyTexts, E> {
                Ok(SealKeyTexts(vec![Secret::new(text)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<SealKeyTexts, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(SealKeyTexts)
            }
        }

        deserializer.deserialize_newtype_struct(Secret::SERDE_NAME, OneOrMore)
    }
}

impl JsonSchema for SealKeyTexts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SealKeys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Secret>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
