//! Traces: which one a request belongs to (`context`), what is told of it (`span`), and how that comes
//! to a collector without a request ever waiting for it (`exporter`).
//!
//! Spans are made of the standard's own types and handed to the SDK's batch processor as they end.
//! Its tracers and samplers are not used: whether a trace is sampled is known before there is a span,
//! so that a request whose trace is not sampled makes none.

mod context;
mod exporter;
mod sampler;
mod span;

pub use context::{SpanId, TRACEPARENT, TRACEPARENT_LENGTH, TRACESTATE, TraceContext, TraceId};
pub use exporter::{Counts, Exporter, Post, PostError};
pub use sampler::Traces;
pub use span::{Parent, Span, SpanKind, Value};
