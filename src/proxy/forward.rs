//! Sends a request with its token, and sends it again while the fault is not the client's.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use zeroize::Zeroizing;

use super::head::{Told, clean};
use super::headers::{Seen, Survey, apply_edits, clean_response};
use super::kept::{Kept, Room};
use super::record::Record;
use super::refusal::{Refusal, UpstreamFault};
use super::reply::Reply;
use super::splice::{self, Inbound, Query};
use super::trace::set_generation;
use super::upload::{Outbound, Upload, UploadFault};
use super::view::{Client, Handles, Proxy};
use super::wait::Answered;
use super::{mapping, media, refused, upgrade, wait};
use crate::limit::Present;
use crate::model::{HeaderCase, Place};
use crate::route::{Credential, Forward};
use crate::secret::wiped_bytes;
use crate::telemetry::metrics::{Again, Replayed};
use crate::telemetry::traces::Span;
use crate::token::{AfterRefusal, Guard, Lane};
use crate::upstream::{ConnectError, Envelope, Plan, SendError, Upstream};

/// How long it is waited for what other requests show of a token that was refused.
const EVIDENCE: Duration = Duration::from_millis(100);

/// A refusal that came so long after its sending may be of a token that was alive at first.
const LATE: Duration = Duration::from_secs(1);

/// So many of them, and the request is not sent again: its answers outlast their token.
const LATE_REFUSALS: u32 = 4;

/// One request on a forwarding route.
pub(super) struct Exchange<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) forward: &'a Forward,
    pub(super) handles: &'a Handles,
    pub(super) client: &'a Client,
    /// `None` also for a login that is passed on untouched.
    pub(super) credential: Option<&'a Credential>,
    pub(super) record: &'a mut Record,
    /// The request as one of those under way on its route, where they are counted.
    pub(super) present: Option<Present>,
}

/// A request as it goes to the upstream, but for its token.
pub(super) struct Prepared<'h> {
    /// The client's, cleaned. Its headers go with the first sending; hyper keeps their room for the answer's.
    head: &'h mut Parts,
    /// The headers of any further sending, once the first has begun.
    kept: Option<Kept>,
    /// The upstream's path, where it is not the client's.
    changed: Option<String>,
    pub(super) body: Inbound,
    /// The protocol that is asked for by an upgrade.
    pub(super) upgrade: Option<HeaderValue>,
    /// Whether the upstream is to see the client's spelling of header names, which hyper keeps in the
    /// head's extensions.
    spelled: bool,
}

/// What one sending came to.
enum Outcome {
    /// There is an answer, and it is the client's.
    Answered,
    /// There is one, by which the vendor refused the token of this generation.
    Refused(u64),
    /// A reused connection broke before its answer; a fresh one may do.
    Stale,
    /// The token was replaced while a connection was made: nothing was sent.
    Outdated,
}

impl<'h> Prepared<'h> {
    /// What goes of this head, without a body.
    pub(super) fn new(
        head: &'h mut Parts,
        raw_host: Option<HeaderValue>,
        changed: Option<String>,
        forward: &Forward,
        credential: Option<&Credential>,
        told: Told<'_>,
    ) -> Self {
        let upgrade = clean(head, raw_host, forward, credential, told);
        let spelled = forward.upstream.target().header_case == HeaderCase::Preserve;
        Self { head, kept: None, changed, body: Inbound::Empty, upgrade, spelled }
    }

    /// The headers, before the first sending.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The upstream's path.
    pub(super) fn path(&self) -> &str {
        self.changed.as_deref().unwrap_or_else(|| self.head.uri.path())
    }

    /// The headers for one more sending.
    fn take_headers(&mut self, room: &Room) -> Result<HeaderMap, Refusal> {
        match &self.kept {
            None => {
                let headers = std::mem::take(&mut self.head.headers);
                self.kept = Some(Kept::of(&headers, room));
                Ok(headers)
            }
            Some(kept) => kept.headers().ok_or(Refusal::Internal),
        }
    }

    /// The request with its token in every place, addressed to where its token may go; without one, to
    /// this upstream.
    pub(super) fn request<'g>(
        &mut self,
        upstream: &'g Upstream,
        places: &[Place],
        guard: Option<&'g Guard>,
        room: &Room,
    ) -> Result<Envelope<'g, Outbound>, Refusal> {
        let mut headers = self.take_headers(room)?;
        let uri = &self.head.uri;
        let injected = splice::inject(places, guard, uri.query(), &self.body)?;
        if injected.body_made && !headers.get(CONTENT_TYPE).is_some_and(media::is_json) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let path_and_query = match (&self.changed, &injected.query) {
            (None, Query::Kept) => uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            (_, query) => {
                let text = match query.now(uri.query()) {
                    // In one piece: a text that grows leaves copies behind.
                    Some(query) => [self.path(), "?", query].concat(),
                    None => self.path().to_owned(),
                };
                // The token may be in it.
                let text = wiped_bytes(Zeroizing::new(text.into_bytes()));
                PathAndQuery::from_maybe_shared(text).map_err(|_| Refusal::Query)?
            }
        };
        let mut request = Request::new(injected.body);
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = Uri::from(path_and_query);
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        if self.spelled {
            *request.extensions_mut() = self.head.extensions.clone();
        }
        Ok(match guard {
            Some(guard) => guard.seal(request),
            None => Envelope::to(upstream, request),
        })
    }
}

/// Where the token goes.
pub(super) fn places(credential: Option<&Credential>) -> &[Place] {
    credential.map_or(&[], |credential| &credential.placement)
}

impl Exchange<'_> {
    /// Forwards the request. `changed` is the upstream's path for it, where it is not the client's.
    pub(super) async fn run(
        mut self,
        (head, survey): (&mut Parts, Survey),
        body: Incoming,
        changed: Option<String>,
        raw_host: Option<HeaderValue>,
    ) -> Result<Response<Reply>, Refusal> {
        #[cfg(test)]
        super::caught::on_purpose_under_way(&head.headers);
        let client_upgrade = head.extensions.remove::<OnUpgrade>();
        let told = Told {
            peer: &self.client.told,
            via: self.proxy.via(head.version),
            request_id: self.record.request_id(),
            trace: self.record.trace().onward(),
            host: self.handles.host.as_ref(),
            survey,
        };
        let mut prepared = Prepared::new(head, raw_host, changed, self.forward, self.credential, told);
        let places = places(self.credential);
        prepared.body = if body.is_end_stream() {
            Inbound::none(places)
        } else {
            let budget = &self.proxy.shared.budget;
            splice::take_in(body, prepared.headers(), self.forward, budget, places).await?
        };
        let mut answered = None;
        let exchanged = self.exchange(&mut prepared, &mut answered).await;
        self.record.received(prepared.body.received());
        if let Some(kept) = prepared.kept.take() {
            self.proxy.room.give_back(kept);
        }
        exchanged?;
        let answered = answered.ok_or(Refusal::Internal)?;
        self.record.comes_from(answered.response.body().peer());
        self.hand_back(answered, prepared, client_upgrade)
    }

    /// Sends it, and sends it again, until there is an answer that is the client's.
    async fn exchange(&mut self, prepared: &mut Prepared<'_>, answered: &mut Option<Answered>) -> Result<(), Refusal> {
        let (mut reuse, mut replaced) = (true, false);
        // Tokens may change as often as they like; what ends a request that is refused again and again
        // is the patience for its answer.
        let (mut refused_first, mut refused_late) = (None, 0);
        loop {
            let guard = self.token().await?;
            self.record.sending(guard.as_ref().map(|guard| guard.generation));
            let began = Instant::now();
            let mut span = self.span(prepared, guard.as_ref());
            let sent = self.send(prepared, guard, (reuse, began), span.as_deref(), answered).await;
            self.record.answered(began.elapsed());
            if let Some(span) = &mut span {
                tell(span, &sent, answered.as_ref());
            }
            drop(span);
            match sent? {
                Outcome::Answered => {
                    self.record.came_to(Replayed::Answered);
                    return Ok(());
                }
                Outcome::Stale => {
                    self.record.again(Again::Connection);
                    reuse = false;
                }
                Outcome::Outdated => {}
                Outcome::Refused(generation) => {
                    self.record.came_to(Replayed::Refused);
                    let lane = self.handles.lane.as_ref().ok_or(Refusal::Internal)?;
                    let cell = lane.cell();
                    let current = cell.is_current(generation);
                    let after = match if replaced { cell.refused_again(generation) } else { cell.refused(generation) } {
                        AfterRefusal::Unsure => {
                            tokio::time::sleep(EVIDENCE).await;
                            cell.refused_at_last(generation)
                        }
                        after => after,
                    };
                    let now = Instant::now();
                    let late = now.duration_since(*refused_first.get_or_insert(now)) >= self.forward.timeouts.response;
                    refused_late += u32::from(now.duration_since(began) >= LATE);
                    let after = if refused_late >= LATE_REFUSALS { self.give_in() } else { after };
                    match after {
                        AfterRefusal::Again if late => return Err(Refusal::UpstreamTimeout),
                        AfterRefusal::Again if prepared.body.replayable() => {
                            // A token is replaced once for a request; one that was replaced meanwhile
                            // does not count.
                            replaced |= current && !cell.is_current(generation);
                            self.record.again(Again::Token);
                            if let Some(refused) = answered.take() {
                                wait::discard(refused.response);
                            }
                        }
                        AfterRefusal::Again => return Err(Refusal::NotKept),
                        AfterRefusal::Pass | AfterRefusal::Unsure => return Ok(()),
                    }
                }
            }
        }
    }

    /// Answers that outlast their token are refused whenever they come.
    fn give_in(&self) -> AfterRefusal {
        tracing::warn!(
            credential = self.credential.map(|credential| credential.name.as_str()),
            "answers take longer than the token lives: the vendor refuses each when it comes, and its answer passes"
        );
        AfterRefusal::Pass
    }

    fn lane(&self) -> Option<&Rc<Lane>> {
        self.handles.lane.as_ref().filter(|_| self.credential.is_some())
    }

    /// The token to send with. A request never leaves without one where its route has a credential.
    async fn token(&mut self) -> Result<Option<Guard>, Refusal> {
        let Some(lane) = self.lane() else { return Ok(None) };
        if let Some(guard) = lane.warm() {
            return Ok(Some(guard));
        }
        let began = Instant::now();
        let mut span = self.record.trace().wait(self.credential.map(|credential| credential.name.as_str()));
        let acquired = Box::pin(lane.acquire(self.forward.timeouts.token)).await.map_err(Refusal::Token);
        self.record.waited(began.elapsed());
        if let Some(span) = &mut span {
            match &acquired {
                Ok(guard) => {
                    set_generation(span, guard.generation);
                    span.set("tokenferry.outcome", "obtained");
                    span.done();
                }
                Err(refusal) => {
                    span.set("tokenferry.outcome", "unavailable");
                    span.failed(refusal.code());
                }
            }
        }
        acquired.map(Some)
    }

    /// What is told of the sending that begins, where the request's trace is.
    fn span(&self, prepared: &Prepared<'_>, guard: Option<&Guard>) -> Option<Box<Span>> {
        let origin = &self.forward.upstream.target().origin;
        let generation = guard.map(|guard| guard.generation);
        self.record.trace().sending(&prepared.head.method, origin, self.record.sendings(), generation)
    }

    /// One sending, up to its answer's head. The guard goes with it and is dropped at the head.
    async fn send(
        &self,
        prepared: &mut Prepared<'_>,
        guard: Option<Guard>,
        (reuse, began): (bool, Instant),
        span: Option<&Span>,
        answered: &mut Option<Answered>,
    ) -> Result<Outcome, Refusal> {
        let pool = self.handles.pool.as_ref().ok_or(Refusal::Internal)?;
        let generation = guard.as_ref().map(|g| g.generation);
        let mut request =
            prepared.request(&self.forward.upstream, places(self.credential), guard.as_ref(), &self.proxy.room)?;
        if let Some(span) = span {
            self.record.trace().name(span, request.headers_mut(), &self.proxy.mint);
        }
        let slot = guard.as_ref().and_then(Guard::slot);
        let lane = self.lane().filter(|_| slot.is_some());
        let current = || lane.zip(generation).is_none_or(|(lane, generation)| lane.cell().is_current(generation));
        let still: Option<&dyn Fn() -> bool> = if lane.is_some() { Some(&current) } else { None };
        let (connect, upgrade) = (self.forward.timeouts.connect, prepared.upgrade.is_some());
        let sending = pin!(pool.deliver(request, Plan { connect, reuse, upgrade, still }));
        match prepared.body.upload() {
            Some(upload) => upload.count(slot),
            // The guard has one of its own, which ends with it.
            None => drop(slot),
        }
        let alarm = self.client.connection.alarm();
        let sent = wait::head(sending, answered, (began, alarm), prepared.body.upload(), &self.forward.timeouts).await;
        if let Some(upload) = prepared.body.upload() {
            upload.count(None);
        }
        match sent {
            Ok(()) => {}
            Err(wait::NoHead::Refusal(refusal)) => return Err(refusal),
            Err(wait::NoHead::Send(error)) => {
                drop(guard);
                return send_failed(error, prepared);
            }
        }
        let Answered { response, ahead } = answered.as_mut().ok_or(Refusal::Internal)?;
        if let (Some(guard), Some(name)) = (&guard, splice::query_name(places(self.credential))) {
            mapping::conceal(response.headers_mut(), name, |text| guard.is_told_by(text));
        }
        drop(guard);
        let Some((generation, credential)) = generation.zip(self.credential) else {
            return Ok(Outcome::Answered);
        };
        let rule = &credential.refused_when;
        if rule.status.contains(&response.status()) {
            return Ok(Outcome::Refused(generation));
        }
        let Some(json) = rule.json.as_ref().filter(|_| refused::may_tell(response)) else {
            if let Some(lane) = lane {
                lane.worked(generation);
            }
            return Ok(Outcome::Answered);
        };
        let looked = Box::pin(refused::look_ahead(response.body_mut(), json, self.forward.timeouts.body)).await;
        let (read, refused) = looked.map_err(|cause| Refusal::Upstream {
            cause: UpstreamFault::Broke(cause),
            proxy_error: "http_response_incomplete",
        })?;
        *ahead = read;
        if refused {
            return Ok(Outcome::Refused(generation));
        }
        if let Some(lane) = lane {
            lane.worked(generation);
        }
        Ok(Outcome::Answered)
    }

    /// The answer as the client sees it.
    fn hand_back(
        self,
        Answered { mut response, ahead }: Answered,
        prepared: Prepared<'_>,
        client_upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Reply>, Refusal> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // While some of the request is on its way, nobody could say where the tunnel begins
            // (RFC 9110 section 7.8).
            let whole = prepared.body.upload().is_none_or(|upload| upload.finished().is_some());
            let asked = prepared.upgrade.as_ref().zip(client_upgrade).filter(|_| whole);
            let (protocol, client) = asked.ok_or(Refusal::wrong_switch())?;
            let counted = (&self.proxy.sheet, self.present);
            return upgrade::tunnel(response, protocol, client, self.client, counted);
        }
        let status = response.status();
        let version = response.version();
        let survey = clean_response(response.headers_mut(), status, version);
        if self.forward.rewrite_response && survey.saw(Seen::MAPPED) {
            let query = self.credential.and_then(|c| splice::query_name(&c.placement));
            mapping::map_back(response.headers_mut(), &self.forward.rewrite, query, !self.client.tls);
        }
        apply_edits(response.headers_mut(), &self.forward.response_headers);
        if !self.client.preserve_case {
            // hyper keeps the upstream's spelling of header names here, and would use it.
            response.extensions_mut().clear();
        }
        *response.version_mut() = Version::HTTP_11;
        let silence = (!media::is_event_stream(response.headers())).then_some(self.forward.timeouts.body);
        self.client.connection.stall_after(silence);
        let upload: Option<Rc<Upload>> = prepared.body.into_upload().filter(|u| u.finished().is_none());
        if upload.is_some() {
            response.body_mut().keep_to_itself();
        }
        let barred = self.forward.response_headers.names().cloned().collect();
        let reply = |answer| Reply::stream(answer, ahead, silence, upload).without_trailers(barred);
        Ok(response.map(|answer| reply(answer).with_present(self.present)))
    }
}

/// What came of a sending, in its span.
fn tell(span: &mut Span, sent: &Result<Outcome, Refusal>, answered: Option<&Answered>) {
    match sent {
        Ok(Outcome::Answered) => {}
        Ok(Outcome::Refused(_)) => span.set("tokenferry.token_refused", true),
        Ok(Outcome::Stale) => return span.failed("stale_connection"),
        Ok(Outcome::Outdated) => return span.failed("token_replaced"),
        Err(refusal) => return span.failed(refusal.code()),
    }
    let Some(status) = answered.map(|answered| answered.response.status()) else { return };
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_client_error() || status.is_server_error() {
        span.failed(status.as_str().to_owned());
    }
    span.done();
}

/// A request that may have been heard is sent again only where doing it twice is doing it once
/// (RFC 9110 section 9.2.2) or where the upstream says that it did nothing with it, and only
/// after a reused connection: that may just have been closed.
fn send_failed(error: SendError<Outbound>, prepared: &Prepared<'_>) -> Result<Outcome, Refusal> {
    match prepared.body.upload().and_then(|upload| upload.fault()) {
        Some(UploadFault::TooLarge) => return Err(Refusal::BodyTooLarge),
        Some(UploadFault::Broken) => return Err(Refusal::BodyBroken),
        Some(UploadFault::Superseded) | None => {}
    }
    let again = prepared.body.replayable()
        && (error.is_unprocessed() || (prepared.head.method.is_idempotent() && error.is_connection_loss()));
    let proxy_error = error.proxy_status();
    match error {
        SendError::Unwanted => Ok(Outcome::Outdated),
        // A pool that is not the token's own is a fault of this program.
        SendError::Elsewhere => Err(Refusal::Internal),
        SendError::Unsent { cause: ConnectError::Egress(cause), .. } | SendError::Egress(cause) => {
            Err(Refusal::Egress(cause))
        }
        SendError::Unsent { cause, .. } => Err(Refusal::Connect(cause)),
        SendError::Broken { reused: true, .. } if again => Ok(Outcome::Stale),
        SendError::Broken { cause, .. } => Err(Refusal::Upstream { cause: UpstreamFault::Broke(cause), proxy_error }),
        SendError::Malformed(cause) => Err(Refusal::Upstream { cause: UpstreamFault::Malformed(cause), proxy_error }),
    }
}
