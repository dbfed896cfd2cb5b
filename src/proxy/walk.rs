//! The straight way of a request, from its head to its answer's head.

use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};

use super::framing::{self, RequestHost};
use super::headers::has_been_here;
use super::record::Record;
use super::refusal::{Refusal, request_id};
use super::reply::{Busy, Reply};
use super::view::{Client, Proxy, View};
use super::{forward, login};
use crate::model::{CanonicalPath, EncodedSlash, PathError, TokenEndpoint};
use crate::route::{Action, RequestLine};

impl Proxy {
    /// Answers a request; what goes wrong is an answer too.
    pub async fn serve(&self, client: &Client, request: Request<Incoming>) -> Response<Reply> {
        let busy = Busy::new(std::rc::Rc::clone(&client.connection));
        let view = self.view();
        let mut record = Record::begin(request.method(), request.uri().path());
        let has_body = !request.body().is_end_stream();
        let (response, early) = match self.walk(&view, client, request, record.as_deref_mut()).await {
            Ok(response) => {
                let early = response.body().is_early();
                (response, early)
            }
            Err(refusal) => (answer_refusal(&refusal, record.as_deref_mut()), has_body),
        };
        if early {
            client.connection.answered_early();
        }
        if let Some(record) = record.as_deref_mut() {
            record.status = Some(response.status());
        }
        response.map(|reply| reply.with_record(record).with_busy(busy))
    }

    async fn walk(
        &self,
        view: &View,
        client: &Client,
        request: Request<Incoming>,
        mut record: Option<&mut Record>,
    ) -> Result<Response<Reply>, Refusal> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(Refusal::Method);
        }
        let host = framing::check(&parts)?;
        if parts.uri.query().is_some_and(|q| q.bytes().any(|b| b <= b' ' || b >= 0x7f)) {
            return Err(Refusal::Query);
        }
        if has_been_here(&parts.headers, &self.shared.pseudonym) {
            return Err(Refusal::Loop);
        }
        let (found, encoded_slash) = find(view, &parts, &host)?;
        // The table's answer is an index into the very list that the table was built from.
        let entry = view.snapshot.entries.get(found).ok_or(Refusal::Internal)?;
        let handles = view.handles.get(found).ok_or(Refusal::Internal)?;
        if let Some(record) = record.as_deref_mut() {
            record.route = Some(entry.route.name.clone());
        }
        let forward = match &entry.route.action {
            Action::Respond(status) => {
                entry.access.admit(client.peer, &parts.headers)?;
                let refusal = if encoded_slash { PathError::EncodedSlash.into() } else { Refusal::Respond(*status) };
                return Err(refusal);
            }
            Action::Forward(forward) => forward,
        };
        if encoded_slash && forward.encoded_slash == EncodedSlash::Refuse {
            return Err(PathError::EncodedSlash.into());
        }
        let target = forward.rewrite.forward(parts.uri.path());
        let own = forward.credential.as_ref().and_then(|c| Some((c, c.own_call(&target)?)));
        if let Some((credential, call)) = own
            && credential.token_endpoint == TokenEndpoint::Answer
        {
            let login = login::Login { credential, call, access: &entry.access, patience: forward.timeouts.body };
            return login.answer(client.peer, &parts.headers, body).await;
        }
        let admitted = entry.access.admit(client.peer, &parts.headers)?;
        if let Some(record) = record.as_deref_mut() {
            record.key = admitted.key.map(str::to_owned);
        }
        let with_credential = match own {
            None => true,
            Some((credential, _)) if credential.token_endpoint == TokenEndpoint::Forward => false,
            Some(_) => return Err(Refusal::OwnEndpoint),
        };
        if body.size_hint().lower() > forward.limits.body {
            return Err(Refusal::BodyTooLarge);
        }
        let raw_host = host.authority().cloned();
        entry.access.remove_key(&mut parts.headers);
        let exchange = forward::Exchange { proxy: self, forward, handles, client, with_credential, record };
        exchange.run(parts, body, &target, raw_host).await
    }
}

/// The route that takes a request, and whether its path has an encoded slash (which only a route
/// may allow, so it is looked at after the route is known).
fn find(view: &View, parts: &http::request::Parts, host: &RequestHost) -> Result<(usize, bool), Refusal> {
    let path = CanonicalPath::parse(parts.uri.path(), EncodedSlash::Allow)?;
    let encoded_slash = path.as_str().contains("%2F");
    let line = RequestLine { host: host.host(), path: &path, method: &parts.method, headers: &parts.headers };
    match view.snapshot.table.find(line) {
        Some(found) => Ok((found, encoded_slash)),
        None if encoded_slash => Err(PathError::EncodedSlash.into()),
        None => Err(Refusal::NoRoute),
    }
}

/// The answer to a refusal. What is the proxy's or the upstream's fault is logged with its cause;
/// a missing token is not, since the credential's own events tell of it once, not once a request.
fn answer_refusal(refusal: &Refusal, record: Option<&mut Record>) -> Response<Reply> {
    let id = request_id();
    let status = refusal.status();
    if status.is_server_error() && !matches!(refusal, Refusal::Token(_) | Refusal::Respond(_)) {
        let cause = std::error::Error::source(refusal).map(chain);
        tracing::warn!(
            code = refusal.code(),
            status = status.as_u16(),
            request_id = id,
            route = record.as_ref().and_then(|r| r.route.as_deref()),
            cause,
            "request failed"
        );
    } else {
        tracing::debug!(code = refusal.code(), status = status.as_u16(), request_id = id, "request refused");
    }
    if let Some(record) = record {
        record.refusal = Some(refusal.code());
        record.request_id = Some(id.clone());
    }
    refusal.answer(&id)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
