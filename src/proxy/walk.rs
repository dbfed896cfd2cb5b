//! The straight way of a request, from its head to its answer's head.

use std::pin::pin;
use std::rc::Rc;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::{Body, Incoming};

use super::admission::hold;
use super::caught::{Panicked, caught};
use super::course::{self, Course};
use super::forward;
use super::headers::{Seen, Survey};
use super::login::{self, Login};
use super::record::{Record, chain};
use super::refusal::Refusal;
use super::reply::{Busy, Reply};
use super::request_id::{REQUEST_ID, given};
use super::trace::Trace;
use super::view::{Client, Proxy, View};

impl Proxy {
    /// Answers a request; what goes wrong is an answer too.
    pub async fn serve(&self, client: &Client, request: Request<Incoming>) -> Response<Reply> {
        let busy = Busy::new(Rc::clone(&client.connection));
        let view = self.view();
        let (mut head, body) = request.into_parts();
        let survey = Survey::of(&head.headers);
        let behind = client.behind(view.snapshot.trusted_proxies.as_ref(), &head.headers);
        let client = behind.as_ref().unwrap_or(client);
        let name = self.mint.name(if survey.saw(Seen::REQUEST_ID) { given(&head.headers) } else { None });
        let trace = Trace::begin(&head, survey, client, view.snapshot.traces.as_ref(), &self.mint);
        let (nowhere, log) = (Rc::clone(&view.nowhere), view.snapshot.access_log);
        let mut record = Record::begin(&head, name, trace, client, nowhere, log);
        let has_body = !body.is_end_stream();
        let walked = {
            let walk = pin!(self.walk(&view, client, (&mut head, survey), body, &mut record));
            caught(walk).await
        };
        let (mut response, early) = match walked.unwrap_or_else(|Panicked| Err(self.panicked())) {
            Ok(response) => {
                let early = response.body().is_early();
                (response, early)
            }
            Err(refusal) => (self.refuse(&refusal, &mut record), has_body),
        };
        if early {
            client.connection.answered_early();
        }
        response.headers_mut().insert(REQUEST_ID.clone(), record.request_id().clone());
        record.status(response.status());
        response.body_mut().accompany(record, busy);
        response
    }

    async fn walk(
        &self,
        view: &View,
        client: &Client,
        (parts, survey): (&mut Parts, Survey),
        body: Incoming,
        record: &mut Record,
    ) -> Result<Response<Reply>, Refusal> {
        #[cfg(test)]
        super::caught::on_purpose(&parts.headers);
        self.has_memory()?;
        // hyper counts them itself over HTTP/1, before there is a request.
        if parts.headers.len() > view.snapshot.client.header_count {
            return Err(Refusal::TooManyHeaders);
        }
        let host = course::sound(parts, survey, &self.shared.pseudonym)?;
        record.trace_mut().asked_of(&host);
        let found = course::find(&view.snapshot, parts, &host)?;
        // The table's answer is an index into the very list that the table was built from.
        let entry = view.snapshot.entries.get(found.place).ok_or(Refusal::Internal)?;
        let handles = view.handles.get(found.place).ok_or(Refusal::Internal)?;
        record.routed(&handles.tag);
        let course = Course::of(entry, found, parts)?;
        let visitor = client.visitor(&view.snapshot.doors);
        if let Course::Login { forward, credential, call } = course {
            entry.access.admit_visitor(&visitor).map_err(Refusal::Denied)?;
            let pace = (forward.timeouts.body, forward.limits.body_pace);
            // A login may show its key in its body.
            let login = Login::read(&parts.headers, body, pace).await?;
            let shown = entry.access.shown(&parts.headers).in_body(login.secret());
            let admitted = self.let_in(view, entry, &visitor, &parts.headers, &shown).await?;
            record.let_in_by(admitted.who.as_deref());
            let present = hold(entry, &visitor, &admitted)?;
            let token = admitted.key.and_then(|place| shown.key(place));
            return Ok(login::answer(credential, call, token).map(|reply| reply.with_present(present)));
        }
        let admitted = {
            let shown = entry.access.shown(&parts.headers);
            self.let_in(view, entry, &visitor, &parts.headers, &shown).await?
        };
        record.let_in_by(admitted.who.as_deref());
        let present = hold(entry, &visitor, &admitted)?;
        let (forward, changed, credential) = match course {
            Course::Forward { forward, changed, credential } => (forward, changed, credential),
            Course::Refuse(refusal) => return Err(refusal),
            Course::Login { .. } => return Err(Refusal::Internal),
        };
        if body.size_hint().lower() > forward.limits.body {
            return Err(Refusal::BodyTooLarge);
        }
        let raw_host = host.authority().cloned();
        entry.access.remove_key(&mut parts.headers);
        let exchange = forward::Exchange { proxy: self, forward, handles, client, credential, record, present };
        exchange.run((parts, survey), body, changed, raw_host).await
    }

    /// The refusal of a request that panicked. Where it did, the panic itself has told.
    fn panicked(&self) -> Refusal {
        self.shared.metrics.panicked();
        Refusal::Panicked
    }

    /// The answer to a refusal. What is the proxy's or the upstream's fault is logged with its cause,
    /// though not over and over; a missing token is not, since the credential's own events tell of it
    /// once, not once a request.
    fn refuse(&self, refusal: &Refusal, record: &mut Record) -> Response<Reply> {
        record.refused(refusal);
        let id = record.request_id().to_str().unwrap_or_default();
        let (code, status) = (refusal.code(), refusal.status().as_u16());
        let route = record.route();
        let cause = std::error::Error::source(refusal).map(chain);
        let failed = status >= 500 && !matches!(refusal, Refusal::Token(_) | Refusal::Respond(_));
        if failed && self.is_news(route.unwrap_or_default(), code) {
            tracing::warn!(code, status, request_id = id, route, cause, "request failed");
        } else {
            tracing::debug!(code, status, request_id = id, route, cause, "request refused");
        }
        refusal.answer(id)
    }
}
