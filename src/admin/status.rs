//! How things stand, as JSON.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::deed::{seconds, told_of};
use super::port::Admin;
use super::time::rfc3339;
use crate::access::KeysStatus;
use crate::live::{Listed, Reload, Signpost, Snapshot};
use crate::model::{Dated, ReadyWhen};
use crate::telemetry::metrics::RouteTotals;
use crate::vendor::LifetimeSource;

/// Names that an answer to a probe tells.
const MOST_NAMES: usize = 5;

/// Why the proxy is not ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unready {
    /// It is about to end.
    Draining,
    /// These credentials have no live token.
    Tokens(Vec<String>),
}

impl Unready {
    /// In words, and with names for those who may know them.
    pub(super) fn told(&self, may_know: bool) -> String {
        match self {
            Self::Draining => "draining".to_owned(),
            Self::Tokens(names) if may_know => {
                let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
                match names.len().checked_sub(MOST_NAMES) {
                    Some(more @ 1..) => format!("no live token yet: {shown} and {more} more"),
                    _ => format!("no live token yet: {shown}"),
                }
            }
            Self::Tokens(names) => format!("no live token yet for {} of the credentials", names.len()),
        }
    }
}

impl Admin {
    /// Why the proxy is not ready; `None` where it is.
    pub(super) fn unready(&self) -> Option<Unready> {
        if self.is_draining() {
            return Some(Unready::Draining);
        }
        let snapshot = self.live.load();
        if snapshot.directory.ready_when == ReadyWhen::Serving {
            return None;
        }
        let credentials = snapshot.directory.credentials.iter();
        let missing = credentials.filter(|listed| listed.logs_in && !listed.cell.status().live);
        let missing: Vec<String> = missing.map(|listed| listed.name.replace(char::is_control, "?")).collect();
        (!missing.is_empty()).then_some(Unready::Tokens(missing))
    }

    /// Everything that the status page shows; never a secret.
    pub(super) fn status(&self) -> Value {
        let snapshot = self.live.load();
        let reloads = self.live.reloads();
        let about = &self.about;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": rfc3339(about.started),
            "uptime_seconds": seconds(about.begun.elapsed()),
            "state": if self.is_draining() { "draining" } else { "serving" },
            "ready": self.unready().is_none(),
            "ready_when": snapshot.directory.ready_when.as_str(),
            "config": {
                "file": about.config,
                "generation": snapshot.generation,
                "taken": rfc3339(snapshot.directory.taken),
            },
            "reload": self.live.last_reload().map(|reload| last(&reload)),
            "reloads": { "taken": reloads.taken, "unchanged": reloads.unchanged, "refused": reloads.refused },
            "listeners": about.listeners,
            "store": { "kind": about.store },
            "certificates": snapshot.directory.certificates.iter().map(certificate).collect::<Vec<_>>(),
            "credentials": snapshot.directory.credentials.iter().map(credential).collect::<Vec<_>>(),
            "jwt_keys": snapshot.issuers().map(|(route, status)| keys(route, &status)).collect::<Vec<_>>(),
            "routes": self.routes(&snapshot),
        })
    }

    fn routes(&self, snapshot: &Snapshot) -> Vec<Value> {
        let now = Instant::now();
        let totals: HashMap<Arc<str>, RouteTotals> =
            self.metrics.routes().into_iter().map(|totals| (Arc::clone(&totals.name), totals)).collect();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = snapshot.directory.routes.iter().zip(&snapshot.entries);
        let told = routes.map(|(signpost, entry)| {
            let traffic = history.told(now, totals.get(entry.route.name.as_str()));
            route(signpost, traffic)
        });
        told.collect()
    }
}

fn certificate(dated: &Dated) -> Value {
    let left = dated.validity.left(SystemTime::now());
    json!({ "field": dated.field, "name": dated.name, "expires_in_seconds": left })
}

fn keys(route: &str, status: &KeysStatus) -> Value {
    let KeysStatus { url, age, failure } = status;
    json!({ "route": route, "url": url, "age_seconds": age.map(seconds), "last_error": failure })
}

/// A route's place, and its traffic behind it.
fn route(signpost: &Signpost, traffic: Map<String, Value>) -> Value {
    let Signpost { name, matches, upstream, credential } = signpost;
    let mut told = Map::new();
    told.insert("name".to_owned(), json!(name));
    told.insert("match".to_owned(), json!(matches));
    told.insert("upstream".to_owned(), json!(upstream));
    told.insert("credential".to_owned(), json!(credential));
    told.extend(traffic);
    Value::Object(told)
}

fn last(reload: &Reload) -> Value {
    json!({
        "at": rfc3339(reload.at),
        "outcome": reload.outcome.as_str(),
        "error": reload.error,
        "problems": reload.problems,
        "restart_needed": reload.restart_needed,
    })
}

fn credential(listed: &Listed) -> Value {
    let status = listed.cell.status();
    let counts = status.counts;
    json!({
        "name": listed.name,
        "provider": listed.provider,
        "exclusive": listed.exclusive,
        "state": status.state.as_str(),
        "generation": status.generation,
        "live": status.live,
        "expires_in_seconds": status.expires_in.map(seconds),
        "lifetime_seconds": status.lifetime.map(seconds),
        "lifetime_source": status.lifetime_source.filter(|_| status.live).map(source),
        "renewals": counts.renewed + counts.replaced + counts.recovered + counts.adopted,
        "logins": status.fetches,
        "failed_logins": counts.failed + counts.superseded,
        "refused": counts.refused,
        "waiting": status.waiting,
        "suspect": status.suspect,
        "disturbed": status.disturbed,
        "disturbances": status.disturbances,
        "clock_skew_seconds": status.skew,
        "last_error": status.fault.as_ref().map(told_of),
        "retry_in_seconds": status.retry_after.map(seconds),
    })
}

/// Where a lifetime is known from.
fn source(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::Answer => "the vendor's answer",
        LifetimeSource::Token => "the token itself",
        LifetimeSource::Configured => "the configuration",
    }
}
