//! What labels may say: few words, whatever clients and upstreams send.

use std::borrow::Cow;

use http::{Method, StatusCode};

use crate::model::known_method;

/// The word for what is none of the others.
const OTHER: &str = "other";

/// One of the registered methods, or `other`.
pub(super) fn method(method: &Method) -> &'static str {
    known_method(method).unwrap_or(OTHER)
}

/// A status of the five classes; 0 for none, and for one that an upstream made up.
pub(super) fn status(status: Option<StatusCode>) -> u16 {
    status.map(|status| status.as_u16()).filter(|status| (100..=599).contains(status)).unwrap_or(0)
}

/// A status as a label says it: three digits, or `other`.
pub fn status_word(status: u16) -> Cow<'static, str> {
    match status {
        0 => Cow::Borrowed(OTHER),
        200 => Cow::Borrowed("200"),
        status => Cow::Owned(status.to_string()),
    }
}
