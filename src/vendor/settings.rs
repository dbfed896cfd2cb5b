//! Checking settings: every problem of a credential is collected, and none hides another.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::{FINGERPRINT, FieldProblem};
use crate::model::{BaseUrl, EndpointUrl, UrlError};
use crate::secret::Secret;

/// The problems of one credential, as they are found. A check that yields `None` has added one.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<FieldProblem>);

/// A value that may have been written and still hold nothing, as an unset variable leaves it.
pub(super) trait Blank {
    fn is_blank(&self) -> bool;
}

impl Blank for String {
    fn is_blank(&self) -> bool {
        self.trim().is_empty()
    }
}

impl Blank for Secret {
    fn is_blank(&self) -> bool {
        self.expose().trim().is_empty()
    }
}

impl Problems {
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>, mend: impl Into<String>) {
        self.0.push(FieldProblem { field: field.to_owned(), message: message.into(), mend: mend.into() });
    }

    /// A value that must be there and hold something. `why` says who needs it.
    pub(super) fn required<T: Blank>(&mut self, field: &str, value: Option<T>, why: &str) -> Option<T> {
        match value {
            Some(value) if !value.is_blank() => Some(value),
            Some(_) => {
                self.add(field, format!("is empty; {why}"), "give it a value");
                None
            }
            None => self.present(field, None, why, &format!("add {field}")),
        }
    }

    /// A value that must be there; `why` says who needs it, `mend` what to add.
    pub(super) fn present<T>(&mut self, field: &str, value: Option<T>, why: &str, mend: &str) -> Option<T> {
        if value.is_none() {
            self.add(field, format!("is missing; {why}"), mend);
        }
        value
    }

    /// A value that has no place beside others.
    pub(super) fn unused<T: Blank>(&mut self, field: &str, value: Option<&T>, why: &str) {
        if value.is_some_and(|v| !v.is_blank()) {
            self.add(field, format!("has no use: {why}"), "remove it");
        }
    }

    /// What stands before the first colon of a Basic credential cannot hold one (RFC 7617 section 2).
    pub(super) fn basic_user(&mut self, field: &str, user: Option<&str>) {
        if user.is_some_and(|u| u.contains(':')) {
            self.add(
                field,
                "must not have a colon, which ends the user name of Basic authentication",
                "copy it again from the vendor",
            );
        }
    }

    pub(super) fn endpoint(&mut self, field: &str, text: &str) -> Option<EndpointUrl> {
        let parsed = EndpointUrl::parse(text);
        self.url(field, parsed)
    }

    pub(super) fn base(&mut self, field: &str, text: &str) -> Option<BaseUrl> {
        let parsed = BaseUrl::parse(text);
        self.url(field, parsed)
    }

    fn url<T>(&mut self, field: &str, parsed: Result<T, UrlError>) -> Option<T> {
        parsed.map_err(|e| self.add(field, e.to_string(), "write it as https://host/path")).ok()
    }

    /// The built value, where nothing was found.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<FieldProblem>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// An optional value that was written but holds nothing counts as not written.
pub(super) fn filled<T: Blank>(value: Option<T>) -> Option<T> {
    value.filter(|v| !v.is_blank())
}

/// A name for something that must not be read: parts of an identity that are secret themselves, and
/// that [`Identity::lasting`](super::Identity::lasting) tells from the others.
pub(super) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // The length first, so that no two lists of parts read alike.
        digest.update(part.len().to_be_bytes());
        digest.update(part.as_bytes());
    }
    format!("{FINGERPRINT}{}", URL_SAFE_NO_PAD.encode(digest.finalize()))
}

/// Names and values in the order of the file. The values may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs(pub(super) Vec<(String, Secret)>);

impl Pairs {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.0.iter().map(|(_, value)| value.clone())
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names to strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

impl JsonSchema for Pairs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pairs".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        std::collections::BTreeMap::<String, Secret>::json_schema(generator)
    }
}
