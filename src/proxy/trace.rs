//! A request's place in its trace, and what is told of it there.
//!
//! Every request belongs to a trace: the one that its client names, else one that begins here. Where
//! that is sampled and there is a collector, the request, its wait for a token and each sending have
//! spans; where it is not, a client's `traceparent` goes on as it came, and nothing is allocated.

use std::sync::Arc;

use http::header::HeaderMap;
use http::request::Parts;
use http::{HeaderValue, Method, Version};

use super::framing::RequestHost;
use super::headers::{Seen, Survey};
use super::request_id::Mint;
use super::view::Client;
use crate::model::{Origin, known_method};
use crate::telemetry::traces::{
    Parent, Span, SpanId, SpanKind, TRACEPARENT, TRACESTATE, TraceContext, TraceId, Traces,
};

/// Stands for a `traceparent` that will be made.
pub(super) const TO_BE_MADE: HeaderValue =
    HeaderValue::from_static("00-00000000000000000000000000000000-0000000000000000-00");

/// A request's place in its trace.
#[derive(Debug)]
pub(super) struct Trace {
    context: TraceContext,
    /// What goes on instead of what came; `None` for what came.
    header: Option<HeaderValue>,
    begins: bool,
    /// Where the trace is sampled and there is a collector.
    span: Option<Box<Span>>,
}

/// What the upstream is told of the trace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Onward<'a> {
    /// What the client said, unchanged.
    AsItCame,
    /// The client's trace, below a span of this proxy.
    Continued(&'a HeaderValue),
    /// A trace that begins here: what the client said of another is not of this one.
    Begun(&'a HeaderValue),
}

impl Onward<'_> {
    /// Writes it into the head that goes on.
    pub(super) fn write(self, headers: &mut HeaderMap, survey: Survey) {
        let (Self::Continued(parent) | Self::Begun(parent)) = self else { return };
        headers.insert(TRACEPARENT.clone(), parent.clone());
        if matches!(self, Self::Begun(_)) && survey.saw(Seen::TRACE) {
            headers.remove(&TRACESTATE);
        }
    }
}

/// What would be told of a request with these headers, where a trace that begins is not known yet.
pub(super) fn foretold<'a>(headers: &HeaderMap, to_be_made: &'a HeaderValue) -> Onward<'a> {
    if TraceContext::of(headers).is_some() { Onward::AsItCame } else { Onward::Begun(to_be_made) }
}

impl Trace {
    /// The trace of a request that comes in; `survey` is of its head.
    pub(super) fn begin(head: &Parts, survey: Survey, client: &Client, traces: Option<&Traces>, mint: &Mint) -> Self {
        let came = if survey.saw(Seen::TRACE) { TraceContext::of(&head.headers) } else { None };
        let (context, parent) = match came {
            // The client has decided whether it is sampled.
            Some(came) if came.sampled && traces.is_some() => (came.below(SpanId::new()), Parent::Remote(came.span)),
            Some(came) => return Self { context: came, header: None, begins: false, span: None },
            None => {
                let trace = TraceId::new();
                let sampled = traces.is_some_and(|traces| traces.samples(trace));
                (TraceContext::begin(trace, sampled), Parent::None)
            }
        };
        let header = Some(mint.write(&context.write()));
        let span = traces.filter(|_| context.sampled).map(|traces| {
            let method = method_name(&head.method);
            let exporter = Arc::clone(traces.exporter());
            let mut span = Span::begin(exporter, SpanKind::Server, method, context, parent);
            span.set("http.request.method", method);
            span.set("url.path", head.uri.path().to_owned());
            span.set("url.scheme", if client.tls { "https" } else { "http" });
            if let Some(address) = client.peer {
                span.set("client.address", address.to_string());
            }
            span.set("network.protocol.version", protocol_version(head.version));
            Box::new(span)
        });
        Self { context, header, begins: came.is_none(), span }
    }

    /// Which trace it is.
    pub(super) fn id(&self) -> TraceId {
        self.context.trace
    }

    /// What the upstream is told of it.
    pub(super) fn onward(&self) -> Onward<'_> {
        match &self.header {
            None => Onward::AsItCame,
            Some(parent) if self.begins => Onward::Begun(parent),
            Some(parent) => Onward::Continued(parent),
        }
    }

    /// The span of the request, where there is one.
    pub(super) fn span(&mut self) -> Option<&mut Span> {
        self.span.as_deref_mut()
    }

    /// The host that it is for.
    pub(super) fn asked_of(&mut self, host: &RequestHost) {
        if let Some(span) = &mut self.span {
            span.set("server.address", host.host().to_owned());
        }
    }

    /// A span of the wait for a token of this credential.
    pub(super) fn wait(&self, credential: Option<&str>) -> Option<Box<Span>> {
        let mut span = self.child(SpanKind::Internal, "token wait")?;
        if let Some(credential) = credential {
            span.set("tokenferry.credential", credential.to_owned());
        }
        Some(span)
    }

    /// A span of one sending to the upstream.
    pub(super) fn sending(
        &self,
        method: &Method,
        origin: &Origin,
        number: u32,
        generation: Option<u64>,
    ) -> Option<Box<Span>> {
        let method = method_name(method);
        let mut span = self.child(SpanKind::Client, method)?;
        span.set("http.request.method", method);
        span.set("server.address", origin.host().to_owned());
        span.set("server.port", i64::from(origin.port()));
        span.set("url.scheme", origin.scheme().as_str());
        span.set("tokenferry.attempt", i64::from(number));
        if number > 1 {
            span.set("http.request.resend_count", i64::from(number - 1));
        }
        if let Some(generation) = generation {
            set_generation(&mut span, generation);
        }
        Some(span)
    }

    fn child(&self, kind: SpanKind, name: &'static str) -> Option<Box<Span>> {
        let span = self.span.as_ref()?;
        let context = self.context.below(SpanId::new());
        Some(Box::new(Span::begin(Arc::clone(span.exporter()), kind, name, context, Parent::Here(self.context.span))))
    }

    /// Names the span of a sending in the head that goes with it, unless an operator's edit has put
    /// something else there or taken it out.
    pub(super) fn name(&self, sending: &Span, headers: &mut HeaderMap, mint: &Mint) {
        if let Some(parent) = headers.get_mut(&TRACEPARENT)
            && self.header.as_ref() == Some(parent)
        {
            *parent = mint.write(&sending.context().write());
        }
    }
}

/// The generation of a token.
pub(super) fn set_generation(span: &mut Span, generation: u64) {
    span.set("tokenferry.generation", i64::try_from(generation).unwrap_or(i64::MAX));
}

/// A known method, or `_OTHER`, as OpenTelemetry's conventions ask: a client may invent any number.
fn method_name(method: &Method) -> &'static str {
    known_method(method).unwrap_or("_OTHER")
}

fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
