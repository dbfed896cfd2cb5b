//! The pieces that token requests are made of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use zeroize::Zeroizing;

use super::TokenRequest;
use crate::model::EndpointUrl;
use crate::secret::{Secret, secret_header};

/// `application/json`.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// `application/x-www-form-urlencoded`.
pub(super) const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A POST that asks for JSON.
pub(super) fn post(url: &EndpointUrl, content_type: HeaderValue, basic: Option<&Secret>, body: Secret) -> TokenRequest {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(ACCEPT, JSON);
    if let Some(basic) = basic {
        headers.insert(AUTHORIZATION, authorization(basic));
    }
    TokenRequest { method: Method::POST, url: url.clone(), headers, body, fleeting: Vec::new() }
}

/// The credentials of RFC 7617 as they are: `base64(user:password)`, without the scheme.
pub(super) fn basic(user: &str, password: &str) -> Secret {
    Secret::new(STANDARD.encode(Zeroizing::new([user, ":", password].concat()).as_bytes()))
}

/// The credentials of RFC 6749 section 2.3.1, which wants both form-encoded before.
pub(super) fn basic_form_encoded(user: &str, password: &str) -> Secret {
    basic(&form_encoded(user), &Zeroizing::new(form_encoded(password)))
}

fn authorization(basic: &Secret) -> HeaderValue {
    #[expect(clippy::expect_used, reason = "base64 is visible ASCII")]
    let value = secret_header(Zeroizing::new(["Basic ", basic.expose()].concat())).expect("base64 fits into a header");
    value
}

/// One string, form-encoded.
pub(super) fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A form, in this order.
pub(super) fn form<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Secret {
    let fields: Vec<_> = fields.into_iter().collect();
    // Room for all of it, each byte escaped: a string that grows leaves copies behind that nobody wipes.
    let longest = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let room = String::with_capacity(longest);
    Secret::new(form_urlencoded::Serializer::new(room).extend_pairs(fields).finish())
}

/// A JSON object of strings, in this order.
pub(super) fn json_object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> Secret {
    let members: Vec<_> = members.into_iter().collect();
    // Room for all of it, each byte escaped, for the same reason.
    let longest = members.iter().map(|(name, value)| 6 * (name.len() + value.len()) + 6).sum::<usize>() + 2;
    let mut text = String::with_capacity(longest);
    text.push('{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&json_string(name));
        text.push(':');
        text.push_str(&Zeroizing::new(json_string(value)));
    }
    text.push('}');
    Secret::new(text)
}

/// A JSON string, quotes included.
pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
