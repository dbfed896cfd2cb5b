//! What is told of one piece of work.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;

use super::{Exporter, SpanId, TraceContext};

/// Attributes of most spans: room for them is made once.
const USUAL: usize = 12;

/// What an end without a word is called: whoever waited for it went away.
const CANCELLED: &str = "cancelled";

static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
});

/// The span above another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parent {
    /// There is none: the trace begins here.
    None,
    /// One of this process.
    Here(SpanId),
    /// The client's.
    Remote(SpanId),
}

/// A span under way. It ends, and is sent, when it is dropped.
#[derive(Debug)]
pub struct Span {
    exporter: Arc<Exporter>,
    context: TraceContext,
    data: Option<SpanData>,
    began: Instant,
    is_decided: bool,
}

impl Span {
    /// Begins now. `context` names the span itself; whether its trace is sampled has been decided.
    pub fn begin(
        exporter: Arc<Exporter>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        context: TraceContext,
        parent: Parent,
    ) -> Self {
        let (parent_span_id, parent_span_is_remote) = match parent {
            Parent::None => (opentelemetry::SpanId::INVALID, false),
            Parent::Here(span) => (span_id(span), false),
            Parent::Remote(span) => (span_id(span), true),
        };
        let trace_id = opentelemetry::TraceId::from_bytes(context.trace.to_bytes());
        // No trace state: what others wrote into it is not this proxy's to tell.
        let state = TraceState::default();
        let start_time = SystemTime::now();
        let data = SpanData {
            span_context: SpanContext::new(trace_id, span_id(context.span), TraceFlags::SAMPLED, false, state),
            parent_span_id,
            parent_span_is_remote,
            span_kind: kind,
            name: name.into(),
            start_time,
            end_time: start_time,
            attributes: Vec::with_capacity(USUAL),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: SCOPE.clone(),
        };
        Self { exporter, context, data: Some(data), began: Instant::now(), is_decided: false }
    }

    /// Where it will be sent.
    pub fn exporter(&self) -> &Arc<Exporter> {
        &self.exporter
    }

    /// Its own ids.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.data.as_ref().map_or("", |data| &data.name)
    }

    /// Calls it something else: what it is called best is known late.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(data) = &mut self.data {
            data.name = name.into();
        }
    }

    /// Says one more thing of it. Never a secret, a query or a header's value.
    pub fn set(&mut self, attribute: &'static str, value: impl Into<Value>) {
        if let Some(data) = &mut self.data {
            data.attributes.push(KeyValue::new(attribute, value.into()));
        }
    }

    /// It came to its end.
    pub fn done(&mut self) {
        self.is_decided = true;
    }

    /// It failed, by this kind of failure. The first one counts.
    pub fn failed(&mut self, error: impl Into<Cow<'static, str>>) {
        if std::mem::replace(&mut self.is_decided, true) {
            return;
        }
        let error = error.into();
        if let Some(data) = &mut self.data {
            data.status = Status::Error { description: Cow::Borrowed("") };
        }
        self.set("error.type", error);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.failed(CANCELLED);
        if let Some(mut data) = self.data.take() {
            // A step of the wall clock meanwhile is no part of it.
            data.end_time = data.start_time + self.began.elapsed();
            self.exporter.submit(data);
        }
    }
}

fn span_id(span: SpanId) -> opentelemetry::SpanId {
    opentelemetry::SpanId::from_bytes(span.to_bytes())
}
