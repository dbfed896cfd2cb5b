//! What traces tell of logins.

use std::sync::Arc;

use crate::telemetry::traces::{Parent, Span, SpanKind, TraceContext, TraceId, Traces};
use crate::token::Fetch;
use crate::vendor::FaultClass;

/// The same fetch, told of in a trace of its own: it outlives the request that it began for, and many
/// may wait for it. What is sent to the vendor is as it was.
pub fn traced(fetch: Fetch, credential: &str, traces: Traces) -> Fetch {
    let credential: Arc<str> = Arc::from(credential);
    Arc::new(move || {
        let trace = TraceId::new();
        if !traces.samples(trace) {
            return fetch();
        }
        let context = TraceContext::begin(trace, true);
        let exporter = Arc::clone(traces.exporter());
        let mut span = Span::begin(exporter, SpanKind::Client, "token fetch", context, Parent::None);
        span.set("tokenferry.credential", Arc::clone(&credential));
        let fetching = fetch();
        Box::pin(async move {
            let fetched = fetching.await;
            match &fetched {
                Ok(_) => {
                    span.set("tokenferry.outcome", "obtained");
                    span.done();
                }
                Err(fault) => {
                    span.set(
                        "tokenferry.outcome",
                        match fault.class {
                            FaultClass::Transient => "transient",
                            FaultClass::Refused => "refused",
                        },
                    );
                    // Without what the vendor said of it.
                    span.failed(fault.reason.to_string());
                }
            }
            fetched
        })
    })
}
