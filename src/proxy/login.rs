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
use crate::access::{Access, Denied, Judgement};
use crate::model::{BodyPace, Visitor};
use crate::route::Credential;
use crate::secret::Secret;
use crate::vendor::OwnCall;

/// What a placeholder token reads, where no API key is asked for. It is no secret.
const PLACEHOLDER: &str = "tokenferry-placeholder";

/// A login is small; what is larger is none.
const LARGEST: u64 = 64 * 1024;

/// A call to one of a vendor's own endpoints.
pub(super) struct Login<'a> {
    pub(super) credential: &'a Credential,
    pub(super) call: OwnCall,
    pub(super) access: &'a Access,
    /// For the body to arrive: the longest silence, and the least pace.
    pub(super) pace: (Duration, BodyPace),
}

impl Login<'_> {
    /// Answers it. Where the route asks for an API key, the login must present it, and gets it back
    /// as its token: the application then sends it with every request.
    pub(super) async fn answer(
        &self,
        visitor: &Visitor<'_>,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Response<Reply>, Refusal> {
        let admitted = match self.access.admit(visitor, headers) {
            Ok(Judgement::Admitted(_)) => Ok(()),
            Ok(Judgement::Pending(pending)) => pending.settle().await.map(drop),
            Err(denied) => Err(denied),
        };
        // A key may also be in the body; everything else goes with a login as with every request.
        if let Err(denied) = admitted
            && denied != Denied::Key
        {
            return Err(denied.into());
        }
        // Read also where nothing of it matters: hyper closes the connection behind an answer to a
        // request whose body has not come.
        let body = read_whole(body, LARGEST, self.pace).await?;
        let presented = if admitted.is_ok() {
            self.access.presented_key(headers)
        } else {
            let secret = client_secret(headers, &body).ok_or(Denied::Key)?;
            self.access.admit_key(visitor, secret.expose())?;
            Some(secret)
        };
        let token = presented.as_ref().map_or(PLACEHOLDER, Secret::expose);
        let lifetime = self.credential.placeholder_lifetime;
        let text = self.credential.vendor.placeholder(self.call, token, lifetime);
        let mut response = Response::new(Reply::whole(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// `client_secret` of a login's form or JSON body.
fn client_secret(headers: &HeaderMap, body: &Bytes) -> Option<Secret> {
    if headers.get(CONTENT_TYPE).is_some_and(is_json) {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        return value.get("client_secret")?.as_str().map(Secret::new);
    }
    form_urlencoded::parse(body).find(|(name, _)| name == "client_secret").map(|(_, value)| Secret::new(value))
}
