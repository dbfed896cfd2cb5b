//! What `GET /metrics` answers: everything that is counted, in the form that the scraper asks for.
//!
//! `accept` finds out which form that is, `family` writes metrics by prometheus-client, `text` turns
//! what it writes into the older form, and `process` asks the kernel about this process. Nothing here
//! has a counter of its own: numbers are read where they are counted, at each scrape.

mod accept;
mod family;
mod process;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::{Registry, Unit};

pub use self::accept::Form;
use self::family::Families;
use self::process::Process;
use self::text::as_text;
use crate::access::KeysStatus;
use crate::live::Insecure;
use crate::model::Dated;
use crate::telemetry::metrics::{HistogramTotals, Metrics, RouteTotals, status_word};
use crate::telemetry::traces::Counts;
use crate::token::CellStatus;

/// What there is to tell at a moment. It has names from the configuration, and no secret.
#[derive(Debug)]
pub struct Facts {
    /// What the workers counted.
    pub metrics: Arc<Metrics>,
    /// The credentials' names and cells.
    pub credentials: Vec<(String, CellStatus)>,
    /// The keys of tokens' issuers, by the names of the routes.
    pub issuers: Vec<(String, KeysStatus)>,
    /// What came of reloads.
    pub reloads: Reloads,
    /// Whether the last reload was not refused; true before the first.
    pub last_reload_successful: bool,
    /// The number of the configuration in force.
    pub generation: u64,
    /// When this process began to run.
    pub started: SystemTime,
    /// What this process has too little of now.
    pub short_of: [(&'static str, bool); 3],
    /// Log lines that were dropped since nobody took them fast enough.
    pub log_lines_dropped: u64,
    /// What became of the spans of the collector in force.
    pub spans: Counts,
    /// Certificates that somebody has to renew in time.
    pub certificates: Vec<Dated>,
    /// Who verifies no certificate of the server's.
    pub insecure: Vec<Insecure>,
}

/// How often a reload came to what, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reloads {
    /// Another configuration came into force.
    pub taken: u64,
    /// Nothing had changed.
    pub unchanged: u64,
    /// What was in force stayed in force.
    pub refused: u64,
}

/// All metrics, in this form.
pub fn exposition(facts: Facts, form: Form) -> String {
    let started = facts.started;
    let mut ours = Registry::with_prefix("tokenferry");
    ours.register_collector(Box::new(facts));
    // Those have names that every dashboard knows.
    let mut everybodys = Registry::default();
    everybodys.register_collector(Box::new(Process::look(started)));
    let mut page = String::new();
    let written = encode_registry(&mut page, &ours).and_then(|()| encode_registry(&mut page, &everybodys));
    if written.is_err() {
        // Writing to a String cannot fail, and nothing here says that it has.
        tracing::error!("the metrics could not be written");
    }
    match form {
        Form::Text => as_text(&page),
        Form::OpenMetrics => {
            let _ = encode_eof(&mut page);
            page
        }
    }
}

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut families = Families(encoder);
        families.info(
            "build",
            "Version of the proxy; the value is always 1",
            &[("version", env!("CARGO_PKG_VERSION")), ("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)],
        )?;
        traffic(&mut families, &self.metrics.routes())?;
        let open = self.metrics.connections();
        families.gauges(
            "connections",
            "Connections that are open now: side is client or upstream",
            None,
            [([("side", "client")], open.clients), ([("side", "upstream")], open.upstreams)],
        )?;
        let refused = self.metrics.refused_connections();
        families.counters(
            "connections_refused",
            "Connections that were refused before their first request",
            None,
            refused.iter().map(|(listener, reason, count)| ([("listener", &**listener), ("reason", *reason)], *count)),
        )?;
        tokens(&mut families, &self.credentials)?;
        keys(&mut families, &self.issuers)?;
        self.configuration(&mut families)?;
        self.certificates(&mut families)?;
        families.counter("admin_denied", "Requests to the admin port that were denied", self.metrics.times_denied())?;
        families.counter("panics", "Requests that panicked, each answered 500 or broken off", self.metrics.panics())?;
        families.gauges(
            "overloaded",
            "Whether there is too little of a resource for new work: 1 or 0",
            None,
            self.short_of.iter().map(|(resource, short)| ([("resource", *resource)], u64::from(*short))),
        )?;
        let dropped = "Log lines that were dropped since stderr was not read fast enough";
        families.counter("log_lines_dropped", dropped, self.log_lines_dropped)?;
        let Counts { sent, dropped, lost } = self.spans;
        families.counters(
            "spans",
            "Spans of traces: sent to the collector, dropped since too many waited, or lost since it was away",
            None,
            [("sent", sent), ("dropped", dropped), ("lost", lost)]
                .map(|(outcome, count)| ([("outcome", outcome)], count)),
        )
    }
}

/// What routes did. A request that no route took is one of the route `none`.
fn traffic(families: &mut Families<'_>, routes: &[RouteTotals]) -> std::fmt::Result {
    families.counters(
        "requests",
        "Requests, each counted with its answer's last byte; status other: the client went before there was an answer",
        None,
        routes.iter().flat_map(|route| {
            let row = |((method, status), count): (&(&'static str, u16), &u64)| {
                (
                    [("route", (*route.name).into()), ("method", (*method).into()), ("status", status_word(*status))],
                    *count,
                )
            };
            route.answers.iter().map(row)
        }),
    )?;
    let mut histogram = |name, help, of: fn(&RouteTotals) -> &HistogramTotals| {
        // Of thousands of routes most may be quiet, and each histogram is dozens of lines.
        let busy = routes.iter().filter(|route| of(route).count() > 0);
        families.histograms(name, help, busy.map(|route| ([("route", &*route.name)], of(route))))
    };
    histogram("request_duration", "From a request's head to its answer's last byte", |route| &route.duration)?;
    histogram(
        "upstream_duration",
        "From a sending, connecting included, to the head of its answer or its failure; all of a request's together",
        |route| &route.upstream,
    )?;
    histogram(
        "token_wait",
        "How long requests waited for a token; each that needs one is counted, with 0 where the token was at hand",
        |route| &route.token_wait,
    )?;
    let mut bytes = |name, help, of: fn(&RouteTotals) -> u64| {
        let rows = routes.iter().map(|route| ([("route", &*route.name)], of(route)));
        families.counters(name, help, Some(&Unit::Bytes), rows)
    };
    bytes("request_body", "Bytes of requests' bodies", |route| route.received)?;
    bytes("response_body", "Bytes of answers' bodies", |route| route.sent)?;
    families.counters(
        "refusals",
        "Requests that the proxy answered by itself, by the code that the answer has",
        None,
        routes.iter().flat_map(|route| {
            route.refusals.iter().map(|(code, count)| ([("route", &*route.name), ("code", *code)], *count))
        }),
    )?;
    families.counters(
        "replays",
        "Sendings beyond a request's first: made since the token was refused or the connection broke, and then \
         answered, refused (the token) or failed (no answer)",
        None,
        routes.iter().flat_map(|route| {
            route.replays.iter().map(|(outcome, count)| ([("route", &*route.name), ("outcome", *outcome)], *count))
        }),
    )
}

/// What credentials did.
fn tokens(families: &mut Families<'_>, credentials: &[(String, CellStatus)]) -> std::fmt::Result {
    families.counters(
        "token_requests",
        "Logins and tokens that came otherwise, by what the log says became of them",
        None,
        credentials.iter().flat_map(|(name, status)| {
            let row = |(outcome, count)| ([("credential", name.as_str()), ("outcome", outcome)], count);
            status.counts.outcomes().map(row)
        }),
    )?;
    families.counters(
        "token_refused",
        "Tokens in force that the vendor refused",
        None,
        credentials.iter().map(|(name, status)| ([("credential", name.as_str())], status.counts.refused)),
    )?;
    families.counters(
        "token_disturbances",
        "Tokens of an exclusive credential that worked and were refused before their end",
        None,
        credentials.iter().map(|(name, status)| ([("credential", name.as_str())], status.disturbances)),
    )?;
    families.gauges(
        "token_expiry",
        "Left to live of the token in force; not there without one, or where it lives for ever",
        Some(&Unit::Seconds),
        credentials.iter().filter_map(|(name, status)| {
            status.expires_in.map(|left| ([("credential", name.as_str())], left.as_secs_f64()))
        }),
    )?;
    let mut gauge = |name, help, of: fn(&CellStatus) -> u64| {
        let rows = credentials.iter().map(|(name, status)| ([("credential", name.as_str())], of(status)));
        families.gauges(name, help, None, rows)
    };
    gauge("token_generation", "The number of the latest token, as logs name it; 0 before the first", |status| {
        status.generation
    })?;
    gauge("token_live", "Whether there is a live token: 1 or 0", |status| status.live.into())?;
    gauge("token_failing", "Whether the last login failed: 1 or 0", |status| status.fault.is_some().into())?;
    gauge("token_waiting", "Requests that wait for a token now", |status| status.waiting.into())?;
    gauge("token_disturbed", "Whether something else seems to log in with the same client: 1 or 0", |status| {
        status.disturbed.into()
    })
}

/// How it stands with the keys that clients' tokens are verified with.
fn keys(families: &mut Families<'_>, issuers: &[(String, KeysStatus)]) -> std::fmt::Result {
    families.gauges(
        "jwt_keys_age",
        "Since the keys of a route's issuer were fetched; not there before the first, nor for keys in a file",
        Some(&Unit::Seconds),
        issuers.iter().filter_map(|(route, status)| Some(([("route", route.as_str())], status.age?.as_secs_f64()))),
    )?;
    families.gauges(
        "jwt_keys_failing",
        "Whether the last fetch of the keys of a route's issuer failed: 1 or 0",
        None,
        issuers.iter().map(|(route, status)| ([("route", route.as_str())], u64::from(status.failure.is_some()))),
    )
}

impl Facts {
    fn configuration(&self, families: &mut Families<'_>) -> std::fmt::Result {
        let Reloads { taken, unchanged, refused } = self.reloads;
        families.counters(
            "config_reloads",
            "Reloads, by what came of them",
            None,
            [("taken", taken), ("unchanged", unchanged), ("refused", refused)]
                .map(|(outcome, count)| ([("outcome", outcome)], count)),
        )?;
        let successful = "Whether the last reload was not refused: 1 or 0; 1 before the first";
        families.gauge("config_last_reload_successful", successful, None, &u64::from(self.last_reload_successful))?;
        families.gauge("config_generation", "The number of the configuration in force", None, &self.generation)
    }
}

impl Facts {
    /// Ours, and those of others that nobody looks at.
    fn certificates(&self, families: &mut Families<'_>) -> std::fmt::Result {
        let now = SystemTime::now();
        // Of several in one file that have one name, what is told is the first that ends.
        let mut ends: BTreeMap<[&str; 2], i64> = BTreeMap::new();
        for Dated { field, name, validity } in &self.certificates {
            let left = validity.left(now);
            ends.entry([field, name]).and_modify(|first| *first = left.min(*first)).or_insert(left);
        }
        families.gauges(
            "certificate_expiry",
            "Left to live of a certificate, by the field that names its file and the first name in it; below 0 where it \
             has expired",
            Some(&Unit::Seconds),
            ends.into_iter().map(|([field, name], left)| ([("field", field), ("name", name)], left)),
        )?;
        families.gauges(
            "insecure_upstreams",
            "Routes and credentials that verify no certificate (`insecure: true`); the value is always 1",
            None,
            self.insecure.iter().map(|who| match who {
                Insecure::Credential(name) => ([("kind", "credential"), ("name", name.as_str())], 1_u64),
                Insecure::Route(name) => ([("kind", "route"), ("name", name.as_str())], 1),
            }),
        )
    }
}

/// Seconds since 1970.
fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
