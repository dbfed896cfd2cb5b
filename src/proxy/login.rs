//! A legacy application that still logs in, or out, by itself: forwarded, its login would kill a
//! shared token, so it gets its vendor's own kind of answer with a placeholder.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;

use super::media::is_json;
use super::refusal::Refusal;
use super::reply::Reply;
use super::splice::read_whole;
use crate::model::BodyPace;
use crate::route::Credential;
use crate::secret::Secret;
use crate::vendor::OwnCall;

/// What a placeholder token reads, where no API key is asked for. It is no secret.
const PLACEHOLDER: &str = "tokenferry-placeholder";

/// A login is small; what is larger is none.
const LARGEST: u64 = 64 * 1024;

/// What a login brings in its body.
pub(super) struct Login {
    secret: Option<Secret>,
}

impl Login {
    /// Reads it whole, also where nothing of it matters: hyper closes the connection behind an answer to
    /// a request whose body has not come. `pace` is the longest silence, and the least pace.
    pub(super) async fn read(headers: &HeaderMap, body: Incoming, pace: (Duration, BodyPace)) -> Result<Self, Refusal> {
        let body = read_whole(body, LARGEST, pace).await?;
        Ok(Self { secret: client_secret(headers, &body) })
    }

    /// Its `client_secret`, which may be a key.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        self.secret.as_ref().map(|secret| secret.expose().as_bytes())
    }
}

/// The vendor's answer to it. Where the route asks for an API key, the login gets it back as its token:
/// the application then sends it with every request.
pub(super) fn answer(credential: &Credential, call: OwnCall, key: Option<&[u8]>) -> Response<Reply> {
    let token = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or(PLACEHOLDER);
    let text = credential.vendor.placeholder(call, token, credential.placeholder_lifetime);
    let mut response = Response::new(Reply::whole(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `client_secret` of a login's form or JSON body.
fn client_secret(headers: &HeaderMap, body: &Bytes) -> Option<Secret> {
    if headers.get(CONTENT_TYPE).is_some_and(is_json) {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        return value.get("client_secret")?.as_str().map(Secret::new);
    }
    form_urlencoded::parse(body).find(|(name, _)| name == "client_secret").map(|(_, value)| Secret::new(value))
}
