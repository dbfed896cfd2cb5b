//! The token answer of RFC 6749 sections 5.1 and 5.2.

use std::time::Duration;

use serde_json::Value;

use super::answer::{Reading, Sent, class_of_text, member, text};
use super::request::json_string;
use super::{Answer, Grant, TokenFault};
use crate::secret::Secret;

/// The `error` of section 5.2.
pub(super) fn error(json: &Value) -> Option<String> {
    member(json, "error").and_then(text)
}

/// Reads a token answer. `vendor` looks for what a vendor says in a success beyond the RFC.
pub(super) fn read(
    answer: &Answer<'_>,
    sent: Sent,
    vendor: impl Fn(&Reading<'_>, &Value) -> Option<TokenFault>,
) -> Result<Grant, TokenFault> {
    let reading = Reading::new(answer, sent);
    let json = reading.success(error)?;
    if !json.is_object() {
        return Err(reading.unreadable());
    }
    if let Some(fault) = vendor(&reading, &json) {
        return Err(fault);
    }
    match member(&json, "error") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::String(error)) if error.trim().is_empty() => {}
        Some(error) => {
            return Err(reading.error_inside(class_of_text(&error.to_string()), text(error)));
        }
    }
    reading.grant(member(&json, "access_token"), member(&json, "expires_in"))
}

/// The refresh token of an answer that was read, where it has one (section 5.1).
pub(super) fn refresh_token(answer: &Answer<'_>) -> Option<Secret> {
    let json = Reading::new(answer, Sent::default()).success(error).ok()?;
    let text = member(&json, "refresh_token")?.as_str()?;
    (!text.is_empty()).then(|| Secret::new(text))
}

/// A token answer of section 5.1.
pub(super) fn token_answer(token: &str, lifetime: Duration) -> String {
    format!(r#"{{"access_token":{},"token_type":"Bearer","expires_in":{}}}"#, json_string(token), lifetime.as_secs())
}
