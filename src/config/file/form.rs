//! Scalars of the file: each is parsed into a value that cannot be wrong, or refused with what is
//! wrong and how to write it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::de::MEND;

/// Why a text was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// What is wrong; no value.
    pub(crate) message: Cow<'static, str>,
    /// How to write it.
    pub(crate) mend: Cow<'static, str>,
}

/// A complaint in words.
pub(crate) fn complaint<T>(
    message: impl Into<Cow<'static, str>>,
    mend: impl Into<Cow<'static, str>>,
) -> Result<T, Complaint> {
    Err(Complaint { message: message.into(), mend: mend.into() })
}

/// How a scalar is written.
pub(crate) trait Form {
    /// What is read from it.
    type Value;
    /// What a text like this is called, with an example: "a duration such as 30s".
    const WANTED: &'static str;

    /// Reads the text.
    fn read(text: &str) -> Result<Self::Value, Complaint>;

    /// JSON Schema of the text.
    fn schema() -> serde_json::Value;
}

/// A scalar in the form `F`.
pub(crate) struct Of<F: Form>(pub(crate) F::Value);

impl<F: Form> fmt::Debug for Of<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::WANTED)
    }
}

impl<F: Form> PartialEq for Of<F>
where
    F::Value: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<F: Form> Eq for Of<F> where F::Value: Eq {}

impl<F: Form> PartialOrd for Of<F>
where
    F::Value: Ord,
{
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<F: Form> Ord for Of<F>
where
    F::Value: Ord,
{
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<F: Form> Clone for Of<F>
where
    F::Value: Clone,
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'de, F: Form> Deserialize<'de> for Of<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FormVisitor<F>(PhantomData<F>);

        impl<F: Form> Visitor<'_> for FormVisitor<F> {
            type Value = Of<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(F::WANTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Of<F>, E> {
                F::read(text)
                    .map(Of)
                    .map_err(|Complaint { message, mend }| E::custom(format_args!("{message}{MEND}{mend}")))
            }
        }

        deserializer.deserialize_str(FormVisitor(PhantomData))
    }
}

impl<F: Form> JsonSchema for Of<F> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<F>().rsplit("::").next().unwrap_or("Form").to_owned().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::try_from(F::schema()).unwrap_or_default()
    }
}
