//! Reading a token answer: lenient about how names, numbers and content types are written, strict
//! about whether there is a token.

use std::borrow::Cow;

use http::header::CONTENT_ENCODING;
use serde_json::Value;
use zeroize::Zeroize;

use super::lifetime::{lifetime, retry_after};
use super::request::{basic, form_encoded};
use super::{Answer, FaultClass, FaultReason, Grant, TokenFault};
use crate::secret::Secret;

/// The longest code that is passed on, in bytes.
const LONGEST_CODE: usize = 200;

/// What was sent and must not come back in a log.
#[derive(Debug, Default)]
pub(super) struct Sent(Vec<Secret>);

impl Sent {
    pub(super) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().filter(|s| !s.is_empty()).collect())
    }

    /// The same, and the Basic credentials made of these.
    pub(super) fn with_basic(mut self, user: &str, password: &str) -> Self {
        self.0.push(basic(user, password));
        self
    }

    /// A vendor's code as it may be logged: without what was sent, visible ASCII, bounded. Scrubbed
    /// first, so that no cut leaves half a secret behind.
    fn scrub(&self, code: &str, fleeting: &[Secret]) -> Option<String> {
        let mut text = Cow::Borrowed(code.trim());
        for secret in self.0.iter().chain(fleeting).filter(|secret| !secret.is_empty()) {
            for form in [secret.expose(), form_encoded(secret.expose()).as_str()] {
                if text.contains(form) {
                    text = Cow::Owned(text.replace(form, "***"));
                }
            }
        }
        let printable = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' });
        Some(printable.take(LONGEST_CODE).collect::<String>()).filter(|code| !code.is_empty())
    }
}

/// The JSON of an answer. A token may stand anywhere in it, so all its strings are wiped.
#[derive(PartialEq, Debug)]
pub(super) struct Said(Value);

impl std::ops::Deref for Said {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        wipe_strings(&mut self.0);
    }
}

fn wipe_strings(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(elements) => elements.iter_mut().for_each(wipe_strings),
        Value::Object(members) => members.values_mut().for_each(wipe_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One reading of one answer.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    answer: &'a Answer<'a>,
    sent: Sent,
}

impl<'a> Reading<'a> {
    pub(super) fn new(answer: &'a Answer<'a>, sent: Sent) -> Self {
        Self { answer, sent }
    }

    /// The JSON of a success. `code` finds the vendor's error code in the JSON of a failure.
    pub(super) fn success(&self, code: impl Fn(&Value) -> Option<String>) -> Result<Said, TokenFault> {
        let status = self.answer.status;
        if status.is_redirection() {
            // Asking again would be answered the same way.
            return Err(self.fault(FaultClass::Refused, FaultReason::Redirect, None));
        }
        if !status.is_success() {
            let code = self.json().ok().and_then(|json| code(&json));
            return Err(self.fault(class_of_status(status.as_u16()), FaultReason::Status(status.as_u16()), code));
        }
        self.json().map_err(|reason| self.fault(FaultClass::Transient, reason, None))
    }

    fn json(&self) -> Result<Said, FaultReason> {
        // No coding was offered; an answer that has one all the same cannot be read.
        let coded = |value: &http::HeaderValue| {
            !value.as_bytes().trim_ascii().is_empty() && !value.as_bytes().eq_ignore_ascii_case(b"identity")
        };
        if self.answer.headers.get_all(CONTENT_ENCODING).iter().any(coded) {
            return Err(FaultReason::Unreadable);
        }
        let body = self.answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.answer.body).trim_ascii();
        if body.is_empty() {
            return Err(FaultReason::Empty);
        }
        serde_json::from_slice(body).map(Said).map_err(|_| FaultReason::Unreadable)
    }

    /// The token and its life.
    pub(super) fn grant(&self, token: Option<&Value>, expires_in: Option<&Value>) -> Result<Grant, TokenFault> {
        let token = match token {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            Some(Value::Number(number)) if !number.is_f64() => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed(""),
        };
        if token.is_empty() {
            return Err(self.fault(FaultClass::Transient, FaultReason::NoToken, None));
        }
        if !is_header_safe(&token) {
            return Err(self.fault(FaultClass::Transient, FaultReason::BadToken, None));
        }
        let lifetime = lifetime(expires_in, &token, self.answer.headers);
        Ok(Grant::new(Secret::new(token), lifetime))
    }

    /// An error inside a success.
    pub(super) fn error_inside(&self, class: FaultClass, code: Option<String>) -> TokenFault {
        self.fault(class, FaultReason::ErrorInside, code)
    }

    /// A success that is not this vendor's.
    pub(super) fn unreadable(&self) -> TokenFault {
        self.fault(FaultClass::Transient, FaultReason::Unreadable, None)
    }

    fn fault(&self, class: FaultClass, reason: FaultReason, code: Option<String>) -> TokenFault {
        TokenFault {
            code: code.and_then(|code| self.sent.scrub(&code, self.answer.sent)),
            retry_after: retry_after(self.answer.headers),
            ..TokenFault::new(class, reason)
        }
    }
}

/// Whether a failed status is about the credentials.
pub(super) fn class_of_status(status: u16) -> FaultClass {
    if matches!(status, 400 | 401 | 403) { FaultClass::Refused } else { FaultClass::Transient }
}

/// Whether a token can be sent: visible ASCII, spaces only inside, not empty.
pub(super) fn is_header_safe(token: &str) -> bool {
    !token.is_empty() && token == token.trim() && token.bytes().all(|b| (b' '..0x7f).contains(&b))
}

/// A member of an object by its name, as written or else without regard to case and underscores.
/// A member that is null counts as absent.
pub(super) fn member<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let object = object.as_object()?;
    object.get(name).filter(|v| !v.is_null()).or_else(|| {
        object.iter().find(|(key, value)| !value.is_null() && plain(key).eq(plain(name))).map(|(_, value)| value)
    })
}

fn plain(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|b| *b != b'_').map(|b| b.to_ascii_lowercase())
}

/// A string or a number as text; nothing else is a code.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text without a space: a code, where the same field may also hold prose.
pub(super) fn short_code(value: &Value) -> Option<String> {
    text(value).filter(|code| !code.trim().contains(char::is_whitespace))
}

/// Words by which vendors say that the credentials are at fault. Compared in upper case, without
/// anything between words: `user name`, `USER_NAME` and `userName` are one.
const OF_CREDENTIALS: &[&str] = &[
    "CREDENTIAL",
    "PASSWORD",
    "PASSCODE",
    "USERNAME",
    "INVALIDUSER",
    "UNKNOWNUSER",
    "USERNOTFOUND",
    "INVALIDLOGIN",
    "LOGINFAILED",
    "AUTHENTICATIONFAIL",
    "NOTAUTHENTICATED",
    "UNAUTHENTICATED",
    "UNAUTHORI",
    "NOTAUTHORI",
    "AUTHENTICATIONEXCEPTION",
    "AUTHORISATIONEXCEPTION",
    "AUTHORIZATIONEXCEPTION",
    "ACCESSDENIED",
    "FORBIDDEN",
    "PERMISSION",
    "LOCKED",
    "ORGANISATION",
    "INVALIDKEY",
    "WEBAPIKEY",
    "APPLICATIONKEY",
    "ACCESSTOKENIDENTIFIER",
    "AUTHENTICATIONCODE",
    "INVALIDTOKEN",
    "INVALIDJWT",
    "INVALIDCLIENT",
    "INVALIDGRANT",
    "INVALIDREQUEST",
    "INVALIDSCOPE",
    "UNSUPPORTEDGRANTTYPE",
];

/// Words by which they say that it will pass.
const OF_THE_MOMENT: &[&str] = &["UNAVAILABLE", "TEMPORAR", "TIMEOUT", "TIMEDOUT", "TRYAGAIN", "BUSY", "OVERLOAD"];

/// Whether an error inside a success is about the credentials, so that repeating it would only
/// lock the account.
pub(super) fn class_of_text(text: &str) -> FaultClass {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    let says = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    if says(OF_CREDENTIALS) && !says(OF_THE_MOMENT) { FaultClass::Refused } else { FaultClass::Transient }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_strings_of_an_answer_are_wiped_wherever_they_stand() {
        let mut value = serde_json::json!({"a": ["k3y", {"b": "k3y"}], "c": 1, "d": "k3y"});
        wipe_strings(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["", {"b": ""}], "c": 1, "d": ""}));
    }

    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::json;

    use super::*;

    fn read(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Result<Said, TokenFault> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body, sent: &[] };
        Reading::new(&answer, Sent::new([Secret::new("s3cr&t")])).success(|json| member(json, "error").and_then(text))
    }

    fn fault(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> (FaultClass, FaultReason) {
        let fault = read(status, headers, body).unwrap_err();
        (fault.class, fault.reason)
    }

    #[test]
    fn statuses_are_told_apart_by_what_retrying_would_do() {
        use FaultClass::{Refused, Transient};
        for (status, class) in [
            (400, Refused),
            (401, Refused),
            (403, Refused),
            (404, Transient),
            (405, Transient),
            (408, Transient),
            (429, Transient),
            (500, Transient),
            (502, Transient),
            (503, Transient),
        ] {
            assert_eq!(fault(status, &[], b"{}"), (class, FaultReason::Status(status)), "{status}");
        }
        for status in [301, 302, 304, 307, 308] {
            assert_eq!(fault(status, &[("location", "http://elsewhere/")], b""), (Refused, FaultReason::Redirect));
        }
    }

    #[test]
    fn what_is_no_json_is_a_passing_fault() {
        for body in [&b""[..], b"  \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"] {
            assert_eq!(fault(200, &[], body), (FaultClass::Transient, FaultReason::Empty), "{body:?}");
        }
        assert_eq!(fault(204, &[], b""), (FaultClass::Transient, FaultReason::Empty));
        let deep = "[".repeat(60_000);
        for body in [&b"<html>"[..], b"{", b"{} {}", b"access_token=x", b"\xff\xfe{\x00}\x00", deep.as_bytes()] {
            assert_eq!(fault(200, &[], body), (FaultClass::Transient, FaultReason::Unreadable), "{body:?}");
        }
        assert_eq!(
            fault(200, &[("content-encoding", "gzip")], b"{}"),
            (FaultClass::Transient, FaultReason::Unreadable)
        );
    }

    #[test]
    fn json_is_read_whatever_its_content_type_and_with_a_byte_order_mark() {
        for kind in ["application/json", "text/plain", "text/json; charset=utf-8", "text/html", "nonsense"] {
            assert_eq!(read(200, &[("content-type", kind)], b"\xef\xbb\xbf {\"a\":1}\r\n"), Ok(Said(json!({"a": 1}))));
        }
        assert_eq!(read(201, &[("content-encoding", "identity")], b"{}"), Ok(Said(json!({}))));
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        for name in ["access_token", "accessToken", "AccessToken", "ACCESS_TOKEN", "accesstoken", "_access__token_"] {
            assert_eq!(member(&json!({"a": 1, name: "t"}), "access_token"), Some(&json!("t")), "{name}");
        }
        assert_eq!(member(&json!({"access_token": null, "AccessToken": "t"}), "access_token"), Some(&json!("t")));
        assert_eq!(
            member(&json!({"AccessToken": "a", "access_token": "b"}), "access_token"),
            Some(&json!("b")),
            "the exact name goes first"
        );
        assert_eq!(member(&json!({"access-token": "t"}), "access_token"), None);
        assert_eq!(member(&json!(["access_token"]), "access_token"), None);
    }

    #[test]
    fn a_code_is_bounded_printable_and_free_of_what_was_sent() {
        let code = |error: &str| read(400, &[], json!({"error": error}).to_string().as_bytes()).unwrap_err().code;
        assert_eq!(code("invalid_client").as_deref(), Some("invalid_client"));
        assert_eq!(code("bad s3cr&t or s3cr%26t").as_deref(), Some("bad *** or ***"));
        assert_eq!(code("a\r\nb\u{7f}\u{e9}").as_deref(), Some("a??b??"));
        assert_eq!(code(&"x".repeat(1000)).map(|c| c.len()), Some(200));
        let half = format!("{}s3cr&t", "x".repeat(197));
        assert!(!code(&half).unwrap().contains("s3"), "no half of a secret at the cut");
        assert_eq!(code("  "), None);
        assert_eq!(read(400, &[], b"<html>s3cr&t</html>").unwrap_err().code, None);
    }

    #[test]
    fn a_failure_carries_its_retry_after() {
        let fault = read(503, &[("retry-after", "7")], b"").unwrap_err();
        assert_eq!(fault.retry_after, Some(std::time::Duration::from_secs(7)));
    }

    #[test]
    fn texts_that_name_the_credentials_are_told_from_the_rest() {
        for text in [
            "INVALID_CREDENTIALS",
            "invalid_grant",
            "Invalid user name or password",
            "COM.CRM.EXCEPTION.LOGIN.INVALIDUSERNAMEORPASSWORDEXCEPTION",
            "Unauthorized",
            "ACCESS_DENIED",
            "Account is locked",
        ] {
            assert_eq!(class_of_text(text), FaultClass::Refused, "{text}");
        }
        for text in [
            "",
            "ERROR",
            "COM.CRM.EXCEPTION.SYSTEM.NULLPOINTEREXCEPTION",
            "temporarily_unavailable",
            "The password service is unavailable",
            "server_error",
        ] {
            assert_eq!(class_of_text(text), FaultClass::Transient, "{text}");
        }
    }

    #[test]
    fn only_tokens_that_fit_into_a_header_are_taken() {
        for token in ["t", "a b", "eyJ.x-_~+/==", "!"] {
            assert!(is_header_safe(token), "{token}");
        }
        for token in ["", " ", " t", "t ", "t\n", "a\r\nb", "a\tb", "a\0b", "caf\u{e9}", "t\u{7f}"] {
            assert!(!is_header_safe(token), "{token:?}");
        }
    }
}
