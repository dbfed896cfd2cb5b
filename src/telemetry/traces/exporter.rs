//! From spans to the collector: by the SDK's batch processor on a thread of its own, through an HTTP
//! client that is handed in. A collector that is away costs spans, never a request.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;

use super::TraceId;

/// Spans that wait to be sent, at most: a few MiB. More are dropped, and counted.
const QUEUE: usize = 2048;
/// Spans of one batch; as soon as there are so many, they go.
const BATCH: usize = 512;
/// Between two batches that are smaller.
const DELAY: Duration = Duration::from_secs(1);
/// For a batch and all attempts at it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What waits at the end has this long to go out.
const FLUSH: Duration = Duration::from_secs(3);
/// Between two lines of spans that came too fast.
const QUIET: Duration = Duration::from_secs(60);

/// Which of several processes this one is, for as long as it runs.
static INSTANCE: LazyLock<String> = LazyLock::new(|| TraceId::new().to_string());

/// Why a batch did not arrive. Its last source is told, so that must hold nothing secret.
pub type PostError = HttpError;

/// Posts a batch (`application/x-protobuf`) to the collector, and is its own to bound in time.
pub type Post =
    Arc<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, PostError>> + Send>> + Send + Sync>;

/// What became of spans so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// The collector took them.
    pub sent: u64,
    /// The queue was full.
    pub dropped: u64,
    /// The collector was away, or refused them.
    pub lost: u64,
}

/// Takes spans, and sends them in the background.
#[derive(Debug)]
pub struct Exporter {
    processor: Arc<BatchSpanProcessor>,
    tally: Arc<Tally>,
    closed: AtomicBool,
}

impl Exporter {
    /// Begins, as this service. `post` runs on `runtime`, since the processor's thread has none.
    pub fn new(service_name: &str, post: Post, runtime: Handle) -> Result<Arc<Self>, ExporterBuildError> {
        let tally = Arc::new(Tally::default());
        let carrier = Carrier { post, runtime, tally: Arc::clone(&tally) };
        // All of it is said here, since what is not comes from the environment: there is one file. Where
        // the batch goes to is the carrier's business.
        let otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(carrier)
            .with_endpoint("http://collector/v1/traces")
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(PATIENCE)
            .with_retry_policy(RetryPolicy::recommended())
            .build()?;
        let mut watched = Watched { otlp, tally: Arc::clone(&tally) };
        watched.set_resource(&resource(service_name));
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = Arc::new(BatchSpanProcessor::new(watched, config));
        Ok(Arc::new(Self { processor, tally, closed: AtomicBool::new(false) }))
    }

    /// What became of spans so far.
    pub fn counts(&self) -> Counts {
        let Tally { sent, dropped, lost, .. } = &*self.tally;
        let [sent, dropped, lost] = [sent, dropped, lost].map(|count| count.load(Ordering::Relaxed));
        Counts { sent, dropped, lost }
    }

    /// Takes a span that ended. Never waits.
    pub(super) fn submit(&self, span: SpanData) {
        let tally = &self.tally;
        if self.closed.load(Ordering::Relaxed) || tally.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            tally.waiting.fetch_sub(1, Ordering::Relaxed);
            tally.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.processor.on_end(span);
    }

    /// Sends what waits, within a bounded time, and takes no more. Blocks.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            close(&self.processor);
        }
    }
}

/// When the last one who could have told of anything is gone, what waits still goes out.
impl Drop for Exporter {
    fn drop(&mut self) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let processor = Arc::clone(&self.processor);
        let flush = move || close(&processor);
        if std::thread::Builder::new().name("traces-flush".to_owned()).spawn(flush).is_err() {
            tracing::debug!("no thread to send the last spans by");
        }
    }
}

fn close(processor: &BatchSpanProcessor) {
    if let Err(error) = processor.shutdown_with_timeout(FLUSH) {
        tracing::debug!(%error, "the last spans were not sent");
    }
}

fn resource(service_name: &str) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", INSTANCE.as_str()))
        .build()
}

/// What is counted of spans, and known of the collector.
#[derive(Debug, Default)]
struct Tally {
    waiting: AtomicUsize,
    sent: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    /// Read and written by the processor's thread only.
    collector: Mutex<Collector>,
}

#[derive(Debug, Default)]
struct Collector {
    /// Lost since it went away; `None` while it is there.
    away: Option<u64>,
    /// Why the last attempt failed.
    fault: Option<String>,
    /// Drops that have been told of, and when.
    told: Option<(u64, Instant)>,
}

impl Tally {
    /// Tells of a collector that goes away or comes back once, not once a batch.
    fn settle(&self, spans: u64, outcome: &OTelSdkResult) {
        let mut collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                self.sent.fetch_add(spans, Ordering::Relaxed);
                if let Some(lost) = collector.away.take() {
                    tracing::info!(lost, "traces: the collector is back");
                }
            }
            Err(error) => {
                self.lost.fetch_add(spans, Ordering::Relaxed);
                let error = collector.fault.take().unwrap_or_else(|| error.to_string());
                if collector.away.is_none() {
                    tracing::warn!(
                        error,
                        "traces: the collector does not take spans; they are lost until it does, and requests go on"
                    );
                }
                *collector.away.get_or_insert(0) += spans;
            }
        }
        self.tell_of_drops(&mut collector);
    }

    fn tell_of_drops(&self, collector: &mut Collector) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let (told, quiet) = collector.told.map_or((0, false), |(told, when)| (told, when.elapsed() < QUIET));
        if dropped > told && !quiet && collector.away.is_none() {
            collector.told = Some((dropped, Instant::now()));
            tracing::warn!(
                dropped = dropped - told,
                "traces: spans come faster than the collector takes them, and were dropped; lower `telemetry.sample`"
            );
        }
    }
}

/// The exporter of spans, with an eye on what comes of it.
#[derive(Debug)]
struct Watched {
    otlp: opentelemetry_otlp::SpanExporter,
    tally: Arc<Tally>,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.tally.waiting.fetch_sub(spans, Ordering::Relaxed);
        let outcome = self.otlp.export(batch).await;
        self.tally.settle(spans as u64, &outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// The HTTP client that the exporter knows.
struct Carrier {
    post: Post,
    runtime: Handle,
    tally: Arc<Tally>,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Of the request only the body: the exporter puts headers of the environment into the rest.
        let posting = (self.post)(request.into_body());
        let answered = match self.runtime.spawn(posting).await {
            Ok(answered) => answered,
            Err(stopped) => Err(stopped.into()),
        };
        let fault = match &answered {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(last_source(error.as_ref()).to_string()),
        };
        self.tally.collector.lock().unwrap_or_else(PoisonError::into_inner).fault = fault;
        answered
    }
}

/// The last cause, which says most.
fn last_source<'e>(mut error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::telemetry::traces::{Parent, Span, SpanKind, TraceContext};

    impl Exporter {
        /// Spans are taken and go nowhere.
        pub(in crate::telemetry) fn to_nowhere() -> Arc<Self> {
            answering(|| StatusCode::OK)
        }
    }

    fn answering(status: impl Fn() -> StatusCode + Send + Sync + 'static) -> Arc<Exporter> {
        let post: Post = Arc::new(move |_| {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = status();
            Box::pin(std::future::ready(Ok(answer)))
        });
        Exporter::new("test", post, Handle::current()).unwrap()
    }

    fn spans(exporter: &Arc<Exporter>, number: usize) {
        for _ in 0..number {
            let context = TraceContext::begin(TraceId::new(), true);
            Span::begin(Arc::clone(exporter), SpanKind::Internal, "test", context, Parent::None).done();
        }
    }

    async fn closed(exporter: &Arc<Exporter>) -> Counts {
        let exporter = Arc::clone(exporter);
        tokio::task::spawn_blocking(move || {
            exporter.close();
            exporter.counts()
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn what_waits_goes_out_at_the_end() {
        let exporter = answering(|| StatusCode::OK);
        spans(&exporter, 3);
        assert_eq!(closed(&exporter).await, Counts { sent: 3, dropped: 0, lost: 0 });
        spans(&exporter, 1);
        assert_eq!(exporter.counts().dropped, 1, "and nothing is taken behind it");
    }

    #[tokio::test]
    async fn what_the_collector_refuses_is_counted() {
        let exporter = answering(|| StatusCode::INTERNAL_SERVER_ERROR);
        spans(&exporter, 3);
        assert_eq!(closed(&exporter).await, Counts { sent: 0, dropped: 0, lost: 3 });
    }

    #[tokio::test]
    async fn spans_that_come_too_fast_are_dropped_and_counted() {
        let (go, wait) = tokio::sync::watch::channel(());
        let post: Post = Arc::new(move |_| {
            let mut wait = wait.clone();
            Box::pin(async move {
                let _ = wait.changed().await;
                Ok(Response::new(Bytes::new()))
            })
        });
        let exporter = Exporter::new("test", post, Handle::current()).unwrap();
        // One batch may be under way, and its spans wait no more.
        spans(&exporter, QUEUE + BATCH + 10);
        let dropped = exporter.counts().dropped;
        assert!((10..=10 + BATCH as u64).contains(&dropped), "{dropped}");
        drop(go);
        let counts = closed(&exporter).await;
        assert_eq!((counts.sent + counts.dropped, counts.lost), ((QUEUE + BATCH + 10) as u64, 0));
    }
}
