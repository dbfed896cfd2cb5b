//! How often something may happen, as written.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::config::de::MEND;
use crate::config::file::form::{Complaint, Form, Of, complaint};
use crate::model::{Per, Rate, RateError};

/// So many in a second, a minute or an hour.
pub(crate) struct Frequency;

impl Form for Frequency {
    type Value = Rate;
    const WANTED: &'static str = "a rate such as 100/s";

    fn read(text: &str) -> Result<Rate, Complaint> {
        Rate::parse(text).or_else(|error| {
            let mend = match error {
                RateError::Form => "write a count and a unit: 100/s, 10/m, 1000/h",
                RateError::Zero => "write at least 1/h; a route that nobody may use has `respond: 403`",
                RateError::TooMany => "write 1000000 at most, or take it out",
            };
            complaint(error.to_string(), mend)
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^\\s*0*[1-9][0-9]*\\s*/\\s*[smh]\\s*$|\\$\\{", "examples": ["100/s", "10/m", "1000/h"] })
    }
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counted {
    /// All of the route.
    Route,
    /// Those of one key, user or token's subject; those without one together.
    Key,
    /// Those of one client address; of IPv6, those of one network of 64 bits.
    Address,
}

impl From<Counted> for Per {
    fn from(counted: Counted) -> Self {
        match counted {
            Counted::Route => Self::Route,
            Counted::Key => Self::Key,
            Counted::Address => Self::Address,
        }
    }
}

/// How often, how many at once, and of whom.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    /// How often on average.
    #[schemars(required)]
    pub(crate) rate: Option<Of<Frequency>>,
    /// How many may come at once. Default: as many as come in a second at that rate, at least 1.
    #[schemars(range(min = 1, max = Rate::MOST), extend("examples" = [200]))]
    pub(crate) burst: Option<NonZeroU32>,
    /// Whose requests are counted together.
    #[schemars(extend("default" = "route"))]
    pub(crate) per: Option<Counted>,
}

/// A rate for all, or one or more that say for whom.
#[derive(Clone, Debug)]
pub(crate) enum Rates {
    /// `100/s`
    Plain(Rate),
    /// One map, or a list of them.
    Each(Vec<RateLimit>, bool),
}

impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RatesVisitor;

        impl<'de> Visitor<'de> for RatesVisitor {
            type Value = Rates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as 100/s, a map with `rate`, or a list of maps")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rates, E> {
                Frequency::read(text)
                    .map(Rates::Plain)
                    .map_err(|Complaint { message, mend }| E::custom(format_args!("{message}{MEND}{mend}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rates, A::Error> {
                RateLimit::deserialize(MapAccessDeserializer::new(map)).map(|one| Rates::Each(vec![one], false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Rates, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(|all| Rates::Each(all, true))
            }
        }

        deserializer.deserialize_any(RatesVisitor)
    }
}

impl JsonSchema for Rates {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rates".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (plain, one) = (generator.subschema_for::<Of<Frequency>>(), generator.subschema_for::<RateLimit>());
        json_schema!({ "anyOf": [plain, one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// How many wrong keys an address may present: a rate, or a map of a rate and a burst.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrongKeys {
    /// How many of them in the long run.
    #[schemars(extend("default" = "10/m"))]
    pub(crate) rate: Option<Of<Frequency>>,
    /// How many at first.
    #[schemars(range(min = 1, max = u32::MAX), extend("default" = 30, "examples" = [30]))]
    pub(crate) burst: Option<NonZeroU32>,
}
