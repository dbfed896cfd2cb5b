//! One line a request, when it is asked for: what happened to it, without its query and without a secret.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::reply::ReplyError;

/// The target of access lines; off unless `TOKENFERRY_LOG` asks for them.
const TARGET: &str = "access";

/// Whether access lines are written.
pub(super) fn wanted() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// What is known of a request; written when it is dropped, with its answer's last byte.
#[derive(Debug)]
pub(super) struct Record {
    started: Instant,
    method: Method,
    path: String,
    /// The route's name, once it is found.
    pub route: Option<String>,
    /// The name of the API key that let it in.
    pub key: Option<String>,
    /// The answer's status.
    pub status: Option<StatusCode>,
    /// The refusal's code, where the proxy answered by itself.
    pub refusal: Option<&'static str>,
    /// The proxy's name for this request.
    pub request_id: Option<String>,
    /// The generation of the token it was last sent with.
    pub generation: Option<u64>,
    /// How long it waited for tokens.
    pub token_wait: Duration,
    /// How often it was sent.
    pub sendings: u32,
    bytes: u64,
    fault: Option<String>,
}

impl Record {
    /// Begins a record, if records are wanted. `path` is without the query.
    pub(super) fn begin(method: &Method, path: &str) -> Option<Box<Self>> {
        wanted().then(|| {
            Box::new(Self {
                started: Instant::now(),
                method: method.clone(),
                path: path.to_owned(),
                route: None,
                key: None,
                status: None,
                refusal: None,
                request_id: None,
                generation: None,
                token_wait: Duration::ZERO,
                sendings: 0,
                bytes: 0,
                fault: None,
            })
        })
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn broke_off(&mut self, error: &ReplyError) {
        self.fault = Some(error.to_string());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = self.status.map(|s| s.as_u16());
        tracing::info!(
            target: TARGET,
            method = %self.method,
            path = self.path,
            route = self.route,
            status,
            bytes = self.bytes,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            token_wait_ms = u64::try_from(self.token_wait.as_millis()).unwrap_or(u64::MAX),
            generation = self.generation,
            sendings = self.sendings,
            key = self.key,
            refusal = self.refusal,
            request_id = self.request_id,
            fault = self.fault,
            "request"
        );
    }
}
