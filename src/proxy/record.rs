//! What becomes of a request, from its head to its answer's last byte: for the metrics, for the
//! access line, for the trace. Without its query and without a secret.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};

use super::refusal::{RESPOND, Refusal};
use super::reply::ReplyError;
use super::trace::{Trace, set_generation};
use super::upload::Upload;
use super::view::Client;
use crate::model::{AccessLog, ClientCertificate};
use crate::telemetry::metrics::{Again, Finished, Replayed, RouteMeter};

/// The target of access lines.
const TARGET: &str = "access";

/// What is known of a route where requests are counted and told of. One a route and worker, so that
/// a request's reference to it is counted in this worker's own memory.
#[derive(Debug, Default)]
pub(super) struct Tag {
    /// The route's name; empty for requests that no route takes.
    pub(super) route: String,
    /// Its credential's name.
    pub(super) credential: Option<String>,
    /// Where its requests are counted.
    pub(super) meter: Arc<RouteMeter>,
}

/// What is known of a request; told when it is dropped, with its answer's last byte.
#[derive(Debug)]
pub(super) struct Record {
    started: Instant,
    tag: Rc<Tag>,
    method: Method,
    request_id: HeaderValue,
    trace: Trace,
    status: Option<StatusCode>,
    /// The refusal's code, where the proxy answered by itself.
    refusal: Option<&'static str>,
    /// The generation of the token it was last sent with.
    generation: Option<u64>,
    /// How often it was sent.
    sendings: u32,
    /// Why it is being sent again, until that came to something.
    again: Option<Again>,
    /// How long it waited for tokens; `None` where it did not have to.
    token_wait: Option<Duration>,
    /// How long the upstream took, from each sending to its answer's head or its end.
    upstream: Option<Duration>,
    /// Bytes of its body.
    received: u64,
    /// Bytes of its answer's body.
    sent: u64,
    /// Whether its answer broke off.
    broken: bool,
    /// What only the access line tells.
    line: Option<Line>,
}

/// What is kept for the access line, where there may be one.
#[derive(Debug)]
struct Line {
    /// Whether there is one for every request.
    always: bool,
    client: Option<IpAddr>,
    uri: Uri,
    /// Whose certificate the client showed.
    certificate: Option<Rc<ClientCertificate>>,
    /// Where its answer came from.
    upstream: Option<SocketAddr>,
    /// The name of the key, the user or the like that let it in.
    key: Option<String>,
    /// Why it failed.
    cause: Option<String>,
}

impl Record {
    /// Begins a record of a request, whose route is not known yet.
    pub(super) fn begin(
        head: &Parts,
        request_id: HeaderValue,
        trace: Trace,
        client: &Client,
        tag: Rc<Tag>,
        log: AccessLog,
    ) -> Self {
        let wanted = log != AccessLog::Off && tracing::enabled!(target: TARGET, tracing::Level::INFO);
        let line = wanted.then(|| {
            let (always, uri) = (log == AccessLog::All, head.uri.clone());
            let certificate = client.certificate.as_ref().map(|(certificate, _)| Rc::clone(certificate));
            Line { always, client: client.peer, uri, certificate, upstream: None, key: None, cause: None }
        });
        Self {
            started: Instant::now(),
            tag,
            method: head.method.clone(),
            request_id,
            trace,
            status: None,
            refusal: None,
            generation: None,
            sendings: 0,
            again: None,
            token_wait: None,
            upstream: None,
            received: 0,
            sent: 0,
            broken: false,
            line,
        }
    }

    /// The route that takes it.
    pub(super) fn routed(&mut self, tag: &Rc<Tag>) {
        self.tag = Rc::clone(tag);
    }

    /// Who was let in, as far as an access rule says.
    pub(super) fn let_in_by(&mut self, key: Option<&str>) {
        if let Some(line) = &mut self.line {
            line.key = key.map(str::to_owned);
        }
    }

    /// It waited for a token.
    pub(super) fn waited(&mut self, time: Duration) {
        *self.token_wait.get_or_insert_default() += time;
    }

    /// It is sent, once more, with the token of this generation.
    pub(super) fn sending(&mut self, generation: Option<u64>) {
        self.sendings += 1;
        self.generation = generation;
    }

    /// A sending that began so long ago has its answer's head, or has failed.
    pub(super) fn answered(&mut self, time: Duration) {
        *self.upstream.get_or_insert_default() += time;
    }

    /// Its answer comes from there.
    pub(super) fn comes_from(&mut self, upstream: Option<SocketAddr>) {
        if let Some(line) = &mut self.line {
            line.upstream = upstream;
        }
    }

    /// It is to be sent again, for this reason.
    pub(super) fn again(&mut self, why: Again) {
        self.came_to(Replayed::Failed);
        self.again = Some(why);
    }

    /// What its sending came to; of interest where it was not the first.
    pub(super) fn came_to(&mut self, what: Replayed) {
        if let Some(why) = self.again.take() {
            self.tag.meter.replayed(why, what);
        }
    }

    /// So many bytes of its body have come.
    pub(super) fn received(&mut self, bytes: u64) {
        self.received = self.received.max(bytes);
    }

    /// The status that the client is told.
    pub(super) fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The proxy answers by itself.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.refusal = Some(refusal.code());
        if let Some(line) = &mut self.line {
            line.cause = std::error::Error::source(refusal).map(chain);
        }
    }

    /// So many more bytes of its answer went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Its answer broke off.
    pub(super) fn broke_off(&mut self, error: &ReplyError) {
        self.broken = true;
        if let Some(line) = &mut self.line {
            line.cause = Some(chain(error));
        }
    }

    /// The rest of its body that came beside its answer.
    pub(super) fn came_along(&mut self, upload: &Upload) {
        self.received(upload.read());
    }

    /// The route that takes it, if one does.
    pub(super) fn route(&self) -> Option<&str> {
        Some(self.tag.route.as_str()).filter(|route| !route.is_empty())
    }

    /// Its name, for whoever tells of it.
    pub(super) fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// Its place in its trace.
    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The same, to say more of it.
    pub(super) fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// The number of the sending under way, from 1.
    pub(super) fn sendings(&self) -> u32 {
        self.sendings
    }

    /// Whether it did not end as its client wished: no answer before the client went away, the
    /// proxy's own refusal (but for what a route is told to answer), a 5xx, or an answer that broke off.
    fn failed(&self) -> bool {
        let refused = self.refusal.is_some_and(|code| code != RESPOND);
        self.broken || refused || self.status.is_none_or(|status| status.is_server_error())
    }

    fn count(&self) {
        self.tag.meter.count(&Finished {
            method: &self.method,
            status: self.status,
            refusal: self.refusal,
            duration: self.started.elapsed(),
            upstream: self.upstream,
            // With a token that was at hand it did not have to wait.
            token_wait: self.token_wait.or_else(|| self.generation.map(|_| Duration::ZERO)),
            received: self.received,
            sent: self.sent,
        });
    }

    /// Says in its span what has become of it.
    fn trace_end(&mut self) {
        let (tag, generation) = (&self.tag, self.generation);
        let (status, refusal, broken) = (self.status, self.refusal, self.broken);
        let Some(span) = self.trace.span() else { return };
        if !tag.route.is_empty() {
            let name = format!("{} {}", span.name(), tag.route);
            span.rename(name);
            span.set("tokenferry.route", tag.route.clone());
        }
        if let (Some(generation), Some(credential)) = (generation, &tag.credential) {
            span.set("tokenferry.credential", credential.clone());
            set_generation(span, generation);
        }
        if let Some(refusal) = refusal {
            span.set("tokenferry.refusal", refusal);
        }
        // Without a status its client went away before there was one.
        let Some(status) = status else { return };
        span.set("http.response.status_code", i64::from(status.as_u16()));
        match (broken, status.is_server_error(), refusal) {
            (true, ..) => span.failed("broken"),
            (_, true, Some(refusal)) => span.failed(refusal),
            (_, true, None) => span.failed(status.as_str().to_owned()),
            _ => span.done(),
        }
    }

    fn write(&self, line: &Line) {
        tracing::info!(
            target: TARGET,
            client = line.client.map(tracing::field::display),
            certificate = line.certificate.as_ref().map(|certificate| certificate.name()),
            key = line.key,
            method = %self.method,
            path = line.uri.path(),
            route = self.route(),
            status = self.status.map(|status| status.as_u16()),
            received = self.received,
            sent = self.sent,
            duration_ms = millis(self.started.elapsed()),
            upstream = line.upstream.map(tracing::field::display),
            upstream_ms = self.upstream.map(millis),
            token_wait_ms = self.token_wait.map(millis),
            credential = self.tag.credential.as_deref().filter(|_| self.generation.is_some()),
            generation = self.generation,
            sendings = self.sendings,
            refusal = self.refusal,
            cause = line.cause,
            request_id = self.request_id.to_str().unwrap_or_default(),
            trace_id = %self.trace.id(),
            "request"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.came_to(Replayed::Failed);
        self.count();
        self.trace_end();
        if let Some(line) = self.line.take().filter(|line| line.always || self.failed()) {
            self.write(&line);
        }
    }
}

/// To the microsecond.
fn millis(time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for centuries")]
    let micros = time.as_micros() as f64;
    micros / 1000.0
}

/// An error and what it came from.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
