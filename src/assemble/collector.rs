//! Where traces go: the exporter of before where nothing about it has changed, else another one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tokio::runtime::Handle;

use crate::config::TelemetrySettings;
use crate::telemetry::traces::{Exporter, Post, PostError, Traces};
use crate::upstream::{AGENT, ConnectError, OnceError, Upstream, once};

/// For one attempt, from the dialling to the answer's end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: it says how many spans were refused, and why.
const ANSWER_LIMIT: usize = 64 << 10;
/// OTLP over HTTP, binary.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The way to the collector, from one Snapshot to the next.
#[derive(Debug)]
pub(super) struct Collector {
    runtime: Handle,
    /// Off in commands, whose logins are nobody's traces.
    exports: bool,
    known: Option<(TelemetrySettings, Arc<Exporter>)>,
}

impl Collector {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, exports: false, known: None }
    }

    /// From now on spans are sent.
    pub(super) fn export(&mut self) {
        self.exports = true;
    }

    /// Sends what waits, for a bounded time.
    pub(super) async fn close(self) {
        let Some((_, exporter)) = self.known else { return };
        if tokio::task::spawn_blocking(move || exporter.close()).await.is_err() {
            tracing::debug!("the last spans were not sent");
        }
    }

    /// What is in force of traces with these settings. An exporter that is no longer wanted sends what
    /// it has once the last request that tells it something is over.
    pub(super) fn traces(
        &mut self,
        settings: Option<&TelemetrySettings>,
        upstream: Option<Arc<Upstream>>,
    ) -> Option<Traces> {
        let wanted = settings.zip(upstream).filter(|_| self.exports);
        let Some((settings, upstream)) = wanted else {
            self.known = None;
            return None;
        };
        let but_share = |settings: &TelemetrySettings| TelemetrySettings { sample: 0.0, ..settings.clone() };
        let exporter = match &self.known {
            Some((known, exporter)) if but_share(known) == but_share(settings) => Arc::clone(exporter),
            _ => {
                let made = Exporter::new(&settings.service_name, post(upstream, settings), self.runtime.clone());
                made.inspect_err(|error| tracing::error!(%error, "traces: there is no exporter")).ok()?
            }
        };
        self.known = Some((settings.clone(), Arc::clone(&exporter)));
        Some(Traces::new(exporter, settings.sample))
    }
}

/// One batch, on a connection of its own.
fn post(upstream: Arc<Upstream>, settings: &TelemetrySettings) -> Post {
    // A URL that was taken has a target that is one.
    let target = settings.endpoint.target().parse().unwrap_or(Uri::from_static("/v1/traces"));
    let mut headers = HeaderMap::from_iter([(USER_AGENT, AGENT)]);
    headers.extend(settings.headers.clone());
    headers.insert(CONTENT_TYPE, PROTOBUF);
    Arc::new(move |batch: Bytes| {
        let mut request = Request::new(Full::new(batch));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.clone();
        *request.headers_mut() = headers.clone();
        let upstream = Arc::clone(&upstream);
        Box::pin(async move { once(&upstream, request, PATIENCE, ANSWER_LIMIT).await.map_err(told) })
    })
}

/// As it may be told: a certificate's fault names the hosts that it is for, and the collector's may
/// have come from a reference.
fn told(error: OnceError) -> PostError {
    match error {
        OnceError::Connect(ConnectError::Tls(_)) => {
            "the TLS handshake with it failed, or its certificate was not accepted".into()
        }
        other => other.into(),
    }
}
