//! What is counted of a route.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};

use super::count::Count;
use super::histogram::{Histogram, HistogramTotals};
use super::label;
use super::tally::Tally;

/// A request whose answer's last byte is gone, or that came to none.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// As the client sent it.
    pub method: &'a Method,
    /// The answer's status; `None` where the client went before there was one.
    pub status: Option<StatusCode>,
    /// The refusal's code, where the proxy answered by itself.
    pub refusal: Option<&'static str>,
    /// From its head to its answer's last byte.
    pub duration: Duration,
    /// From each of its sendings to the answer's head, or to its failure; `None` where there was none.
    pub upstream: Option<Duration>,
    /// How long it waited for tokens; `None` where it needed none.
    pub token_wait: Option<Duration>,
    /// Bytes of its body that came.
    pub received: u64,
    /// Bytes of its answer's body that went.
    pub sent: u64,
}

/// Why a request was sent once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// The vendor refused its token.
    Token,
    /// The connection that it went over had been closed.
    Connection,
}

/// What came of a sending beyond a request's first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// An answer that is the client's.
    Answered,
    /// The vendor refused the token.
    Refused,
    /// No answer, or no token to send it with.
    Failed,
}

/// As the label says it: why it was made, and what came of it.
fn outcome(why: Again, what: Replayed) -> &'static str {
    match (why, what) {
        (Again::Token, Replayed::Answered) => "token_answered",
        (Again::Token, Replayed::Refused) => "token_refused",
        (Again::Token, Replayed::Failed) => "token_failed",
        (Again::Connection, Replayed::Answered) => "connection_answered",
        (Again::Connection, Replayed::Refused) => "connection_refused",
        (Again::Connection, Replayed::Failed) => "connection_failed",
    }
}

/// What one worker counts of one route. Written by that worker alone, read by any.
#[derive(Default, Debug)]
pub struct RouteMeter {
    /// Made with the first request: of a thousand routes most may have none.
    rows: OnceLock<Box<Rows>>,
}

/// Aligned, so that no other worker's rows share a cache line with these.
#[derive(Default, Debug)]
#[repr(align(64))]
struct Rows {
    /// By the status's class, lest an upstream that makes up statuses makes a chain long.
    answers: [Tally<(&'static str, u16)>; 6],
    duration: Histogram,
    upstream: Histogram,
    token_wait: Histogram,
    received: Count,
    sent: Count,
    refusals: Tally<&'static str>,
    replays: Tally<&'static str>,
}

impl RouteMeter {
    /// Counts a request. Must be called by the worker's own thread.
    pub fn count(&self, request: &Finished<'_>) {
        let rows = self.rows.get_or_init(Box::default);
        let status = label::status(request.status);
        if let Some(class) = rows.answers.get(usize::from(status / 100)) {
            class.add((label::method(request.method), status));
        }
        rows.duration.observe(request.duration);
        if let Some(upstream) = request.upstream {
            rows.upstream.observe(upstream);
        }
        if let Some(wait) = request.token_wait {
            rows.token_wait.observe(wait);
        }
        rows.received.add(request.received);
        rows.sent.add(request.sent);
        if let Some(code) = request.refusal {
            rows.refusals.add(code);
        }
    }

    /// Counts a sending beyond a request's first. Must be called by the worker's own thread.
    pub fn replayed(&self, why: Again, what: Replayed) {
        self.rows.get_or_init(Box::default).replays.add(outcome(why, what));
    }
}

/// What all workers counted of a route.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct RouteTotals {
    /// The route's name, or [`NO_ROUTE`](super::NO_ROUTE).
    pub name: Arc<str>,
    /// All requests.
    pub requests: u64,
    /// Those that were answered with a status of 5xx.
    pub errors: u64,
    /// Requests by method and status; [`status_word`](super::status_word) says it.
    pub answers: BTreeMap<(&'static str, u16), u64>,
    /// From a request's head to its answer's last byte.
    pub duration: HistogramTotals,
    /// From each sending of a request to its answer's head, or to its failure.
    pub upstream: HistogramTotals,
    /// How long requests waited for tokens.
    pub token_wait: HistogramTotals,
    /// Bytes of requests' bodies.
    pub received: u64,
    /// Bytes of answers' bodies.
    pub sent: u64,
    /// What the proxy answered by itself, by the refusal's code.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Sendings beyond the first, by what came of them.
    pub replays: BTreeMap<&'static str, u64>,
}

impl RouteTotals {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn add(&mut self, meter: &RouteMeter) {
        let Some(rows) = meter.rows.get() else { return };
        for ((method, status), count) in rows.answers.iter().flat_map(Tally::rows) {
            *self.answers.entry((method, status)).or_default() += count;
            self.requests += count;
            self.errors += if status >= 500 { count } else { 0 };
        }
        self.duration.add(&rows.duration);
        self.upstream.add(&rows.upstream);
        self.token_wait.add(&rows.token_wait);
        self.received += rows.received.read();
        self.sent += rows.sent.read();
        for (sums, tally) in [(&mut self.refusals, &rows.refusals), (&mut self.replays, &rows.replays)] {
            for (word, count) in tally.rows() {
                *sums.entry(word).or_default() += count;
            }
        }
    }
}
