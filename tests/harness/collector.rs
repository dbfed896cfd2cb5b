//! A collector of traces: takes OTLP over HTTP as the real ones do, and misbehaves as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message;
use tokio::net::TcpListener;

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Takes,
    /// Reads the request and never answers.
    Hangs,
    Answers(u16),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Post {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A span as it came, in words.
#[derive(Clone, Debug)]
pub struct Seen {
    pub span: Span,
    /// What is said of the service.
    pub resource: Vec<KeyValue>,
}

/// A server on loopback; ends when dropped.
pub struct Collector {
    pub address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    posts: Arc<Mutex<Vec<Post>>>,
    taken: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Mood::Takes)
    }

    /// Where a socket listens already.
    pub fn start_on(listener: TcpListener, mood: Mood) -> Self {
        let address = listener.local_addr().unwrap();
        let (mood, posts, taken) = (Arc::new(Mutex::new(mood)), Arc::default(), Arc::default());
        let state = (Arc::clone(&mood), Arc::clone(&posts), Arc::clone(&taken));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(request, state.clone()));
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self { address, mood, posts, taken, task }
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Every request so far, whatever became of it.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// Every span that was taken so far.
    pub fn spans(&self) -> Vec<Seen> {
        self.taken.lock().unwrap().clone()
    }

    /// The spans of this trace, once there are so many.
    pub async fn trace(&self, trace: &str, spans: usize) -> Vec<Seen> {
        self.wait(spans, |seen| seen.trace() == trace).await
    }

    /// The spans for which this holds, once there are so many.
    pub async fn wait(&self, spans: usize, holds: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found: Vec<Seen> = self.spans().into_iter().filter(&holds).collect();
            if found.len() >= spans {
                assert_eq!(found.len(), spans, "{found:#?}");
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {spans} spans: {:#?}", found.len(), self.spans());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    pub fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty where there is none.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub fn name(&self) -> &str {
        &self.span.name
    }

    pub fn failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
    }

    /// An attribute, in words; empty where there is none.
    pub fn says(&self, attribute: &str) -> String {
        said(&self.span.attributes, attribute)
    }

    /// The same of the service.
    pub fn service(&self, attribute: &str) -> String {
        said(&self.resource, attribute)
    }
}

/// The one of these with this name.
pub fn named<'s>(spans: &'s [Seen], name: &str) -> &'s Seen {
    let found: Vec<&Seen> = spans.iter().filter(|seen| seen.name() == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn said(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        None => String::new(),
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(is)) => is.to_string(),
        Some(other) => panic!("{name}: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type State = (Arc<Mutex<Mood>>, Arc<Mutex<Vec<Post>>>, Arc<Mutex<Vec<Seen>>>);

async fn serve(request: Request<Incoming>, state: State) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (mood, posts, taken) = state;
    posts.lock().unwrap().push(Post { path: parts.uri.to_string(), headers: parts.headers, body: body.clone() });
    let now = *mood.lock().unwrap();
    match now {
        Mood::Takes => {}
        Mood::Hangs => std::future::pending().await,
        Mood::Answers(status) => return Ok(Response::builder().status(status).body(Full::default()).unwrap()),
    }
    let batch = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let mut taken = taken.lock().unwrap();
    for resource in batch.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            taken.push(Seen { span, resource: attributes.clone() });
        }
    }
    Ok(Response::builder().header("content-type", "application/x-protobuf").body(Full::default()).unwrap())
}
