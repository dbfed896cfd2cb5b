//! The straight way of a request, from its head to its answer's head.

use http::{Request, Response};
use hyper::body::{Body, Incoming};

use super::course::{self, Course};
use super::record::Record;
use super::refusal::{Refusal, request_id};
use super::reply::{Busy, Reply};
use super::view::{Client, Proxy, View};
use super::{forward, login};
use crate::live::Entry;

impl Proxy {
    /// Answers a request; what goes wrong is an answer too.
    pub async fn serve(&self, client: &Client, request: Request<Incoming>) -> Response<Reply> {
        let busy = Busy::new(std::rc::Rc::clone(&client.connection));
        let view = self.view();
        let mut record = Record::begin(request.method(), request.uri().path());
        let has_body = !request.body().is_end_stream();
        let mut place = None;
        let (response, early) = match self.walk(&view, client, request, record.as_deref_mut(), &mut place).await {
            Ok(response) => {
                let early = response.body().is_early();
                (response, early)
            }
            Err(refusal) => {
                let entry = place.and_then(|place| view.snapshot.entries.get(place));
                (self.refuse(&refusal, entry, record.as_deref_mut()), has_body)
            }
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
        place: &mut Option<usize>,
    ) -> Result<Response<Reply>, Refusal> {
        let (mut parts, body) = request.into_parts();
        let host = course::sound(&parts, &self.shared.pseudonym)?;
        let found = course::find(&view.snapshot, &parts, &host)?;
        *place = Some(found.place);
        // The table's answer is an index into the very list that the table was built from.
        let entry = view.snapshot.entries.get(found.place).ok_or(Refusal::Internal)?;
        let handles = view.handles.get(found.place).ok_or(Refusal::Internal)?;
        if let Some(record) = record.as_deref_mut() {
            record.route = Some(entry.route.name.clone());
        }
        let course = Course::of(entry, found, &parts)?;
        if let Course::Login { forward, credential, call } = course {
            let login = login::Login { credential, call, access: &entry.access, patience: forward.timeouts.body };
            return Box::pin(login.answer(client.peer, &parts.headers, body)).await;
        }
        let admitted = entry.access.admit(client.peer, &parts.headers)?;
        if let Some(record) = record.as_deref_mut() {
            record.key = admitted.key.map(str::to_owned);
        }
        let (forward, target, credential) = match course {
            Course::Forward { forward, target, credential } => (forward, target, credential),
            Course::Refuse(refusal) => return Err(refusal),
            Course::Login { .. } => return Err(Refusal::Internal),
        };
        if body.size_hint().lower() > forward.limits.body {
            return Err(Refusal::BodyTooLarge);
        }
        let raw_host = host.authority().cloned();
        entry.access.remove_key(&mut parts.headers);
        let exchange = forward::Exchange { proxy: self, forward, handles, client, credential, record };
        exchange.run(parts, body, &target, raw_host).await
    }

    /// The answer to a refusal. What is the proxy's or the upstream's fault is logged with its cause,
    /// though not over and over; a missing token is not, since the credential's own events tell of it
    /// once, not once a request.
    fn refuse(&self, refusal: &Refusal, entry: Option<&Entry>, record: Option<&mut Record>) -> Response<Reply> {
        let id = request_id();
        let (code, status) = (refusal.code(), refusal.status().as_u16());
        let route = entry.map(|entry| entry.route.name.as_str());
        let cause = std::error::Error::source(refusal).map(chain);
        let failed = status >= 500 && !matches!(refusal, Refusal::Token(_) | Refusal::Respond(_));
        if failed && self.is_news(route.unwrap_or_default(), code) {
            tracing::warn!(code, status, request_id = id, route, cause, "request failed");
        } else {
            tracing::debug!(code, status, request_id = id, route, cause, "request refused");
        }
        if let Some(record) = record {
            record.refusal = Some(code);
            record.request_id = Some(id.clone());
        }
        refusal.answer(&id)
    }
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
