//! From the file as written to the settings as meant: what refers to what, what goes with what,
//! and every problem of it at once.

mod access;
mod admin;
mod bound;
mod certificate;
mod credential;
mod egress;
mod handover;
mod header;
mod listener;
mod route;
mod seal;
mod state;
mod store;
mod telemetry;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::config::de::{Keep, read};
use crate::config::egress::EgressVariables;
use crate::config::file::{Access, General, Log, Neighbour, PARTS, RouteLimits, RouteTimeouts};
use crate::config::files::Files;
use crate::config::interpolate::Environment;
use crate::config::report::Report;
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::config::{AdminSettings, ClientSettings, Settings, StoreSettings};
use crate::model::{AccessPolicy, Dated, TrustedProxies, unmapped};

use certificate::Authorities;

/// Bodies kept for replay together.
const REPLAY_TOTAL: u64 = 64 << 20;

/// At rest the process takes 13 MiB (`VmRSS`), a debug build twice that: with less it would be short of it soon.
const MEMORY: u64 = 32 << 20;

/// What hyper needs at least for a head, and what is more than any head should be.
const HEAD_SIZE: std::ops::RangeInclusive<u64> = 8 << 10..=1 << 20;

/// A browser sends a dozen header lines; what comes through proxies has some more.
const HEADER_COUNT: std::ops::RangeInclusive<u32> = 10..=1000;

/// What every part of the check needs.
struct Check<'c> {
    report: &'c mut Report,
    files: &'c mut Files,
    /// CA files that were read: ten thousand routes may name the same one.
    authorities: HashMap<PathBuf, Option<Authorities>>,
    /// Certificates that somebody has to renew in time.
    certificates: Vec<Dated>,
    /// Files that refresh tokens are kept in, and the credentials that do.
    state_files: HashMap<PathBuf, String>,
    /// Whether replicas share a store, which keeps refresh tokens too.
    is_shared: bool,
    /// Whether a listener asks for client certificates.
    has_certificates: bool,
    /// Egress proxies that the environment names, and its variables that were told of.
    variables: EgressVariables,
    told_variables: HashSet<&'static str>,
}

/// What routes inherit.
#[derive(Default)]
struct Inherited {
    access: Option<AccessPolicy>,
    timeouts: RouteTimeouts,
    limits: RouteLimits,
    /// Whether their rate was wrong, which was told.
    told_rate: bool,
}

/// Checks a document. The settings' `files` and `fingerprint` are left empty. `None` where an
/// error was reported.
pub(crate) fn check(
    root: &Node,
    report: &mut Report,
    files: &mut Files,
    environment: Environment<'_>,
) -> Option<Settings> {
    match &root.value {
        Value::Map(entries) if !entries.is_empty() => {}
        Value::Null | Value::Map(_) => {
            report.error(
                &Spot::ROOT,
                "the file is empty",
                "write at least `listeners` and `routes`; the shipped proxy.yaml is an example",
            );
            return None;
        }
        _ => {
            report.error(
                &Spot::ROOT,
                format!("the file must be a map, not {}", root.kind()),
                "write `listeners:` and `routes:` at its left edge",
            );
            return None;
        }
    }
    let mut check = Check::new(report, files, environment);
    let general =
        read(root, Keep::Top(PARTS), PARTS, &Spot::ROOT, check.report, General::deserialize).unwrap_or_default();
    let client = check.client(&general);
    let trusted_proxies = trusted_proxies(&general);
    warn_of_everyone(trusted_proxies.as_ref(), check.report);
    let listeners = check.listeners(root, trusted_proxies.as_ref());
    check.has_certificates = listener::asks_for_certificates(root);
    let inherited = check.inherited(root, &general);
    let store = check.store(root, &general);
    check.is_shared = store != StoreSettings::Memory;
    let telemetry = check.telemetry(root, &general);
    let credentials = check.credentials(root);
    let open = listeners.iter().any(|listener| listener::is_open(&listener.address));
    let routes = check.routes(root, &credentials, &inherited, open);
    check.warn_of_clear_keys(&listeners, &routes, trusted_proxies.is_some());
    let workers = check.workers(&general);
    let handover = check.handover(root, &general, &listeners);
    let admin = check.admin(root, &general, &listeners, handover.as_deref());
    let memory = check.memory(&general);
    if !check.report.is_sound() {
        return None;
    }
    let certificates = check.certificates;
    let credentials: BTreeMap<_, _> =
        credentials.into_iter().filter_map(|(name, settings)| settings.map(|settings| (name, settings))).collect();
    let limits = general.limits.unwrap_or_default();
    let wrong_keys = limits.wrong_keys.unwrap_or_default();
    let guesses = bound::wrong_keys(wrong_keys.rate.map(|rate| rate.0), wrong_keys.burst);
    Some(Settings {
        listeners,
        workers,
        shutdown_timeout: general.shutdown_timeout.map_or(Duration::from_secs(30), |span| span.0),
        drain_delay: general.drain_delay.map_or(Duration::ZERO, |span| span.0),
        handover,
        trusted_proxies,
        admin,
        client,
        replay_budget: limits.replay_total.map_or(REPLAY_TOTAL, |size| size.0),
        connections: limits.connections.map(NonZeroU32::get),
        memory,
        guesses,
        log: general.log.as_ref().map(Log::settings).unwrap_or_default(),
        store,
        telemetry,
        credentials,
        routes,
        certificates,
        files: Vec::new(),
        fingerprint: [0; 32],
    })
}

/// "Trusted" that means everyone lets each client say where it is.
fn warn_of_everyone(trusted: Option<&TrustedProxies>, report: &mut Report) {
    if trusted.is_some_and(|trusted| trusted.networks.iter().any(|network| network.prefix_len() == 0)) {
        report.warning(
            &Spot::ROOT.key("trusted_proxies"),
            "every client is trusted to say where it is",
            "name the proxies' own addresses",
        );
    }
}

fn trusted_proxies(general: &General) -> Option<TrustedProxies> {
    let mut trusted = TrustedProxies::default();
    for place in &general.trusted_proxies {
        match place.0 {
            Neighbour::In(network) => trusted.networks.push(unmapped(network)),
            Neighbour::Unix => trusted.unix = true,
        }
    }
    (trusted != TrustedProxies::default()).then_some(trusted)
}

/// Checks what a document says of the admin port, and nothing else of it.
pub(crate) fn check_admin(root: &Node, report: &mut Report, files: &mut Files) -> Option<AdminSettings> {
    let mut check = Check::new(report, files, &|_| None);
    let general = read(root, Keep::Top(PARTS), PARTS, &Spot::ROOT, check.report, General::deserialize)?;
    check.admin(root, &general, &[], None)
}

impl<'c> Check<'c> {
    fn new(report: &'c mut Report, files: &'c mut Files, environment: Environment<'_>) -> Self {
        Self {
            report,
            files,
            authorities: HashMap::new(),
            certificates: Vec::new(),
            state_files: HashMap::new(),
            is_shared: false,
            has_certificates: false,
            variables: EgressVariables::read(environment),
            told_variables: HashSet::new(),
        }
    }
}

impl Check<'_> {
    /// Reports a field that must be there, unless it is and its value has been reported.
    fn missing(&mut self, spot: &Spot<'_>, node: &Node, field: &str, mend: impl Into<String>) {
        if !node.told_of(field) {
            self.report.error_at_key(spot, format!("`{field}` is missing"), mend);
        }
    }

    fn client(&mut self, general: &General) -> ClientSettings {
        let client = general.client.as_ref();
        let seconds = |field: Option<Duration>, default| field.unwrap_or(Duration::from_secs(default));
        let head_size = client.and_then(|client| client.head_size.as_ref()).map_or(64 << 10, |size| size.0);
        if !HEAD_SIZE.contains(&head_size) {
            let spot = Spot::ROOT.key("client");
            self.report.error(&spot.key("head_size"), "must be from 8KiB to 1MiB", "write 64KiB");
        }
        let header_count = client.and_then(|client| client.header_count).unwrap_or(100);
        if !HEADER_COUNT.contains(&header_count) {
            let spot = Spot::ROOT.key("client");
            self.report.error(&spot.key("header_count"), "must be from 10 to 1000", "write 100");
        }
        ClientSettings {
            header_timeout: seconds(client.and_then(|c| c.header_timeout.as_ref()).map(|t| t.0), 15),
            idle_timeout: seconds(client.and_then(|c| c.idle_timeout.as_ref()).map(|t| t.0), 75),
            handshake_timeout: seconds(client.and_then(|c| c.handshake_timeout.as_ref()).map(|t| t.0), 10),
            head_size: usize::try_from(head_size).unwrap_or(64 << 10),
            header_count: usize::try_from(header_count).unwrap_or(100),
        }
    }

    fn workers(&mut self, general: &General) -> usize {
        match general.workers {
            None => std::thread::available_parallelism().map_or(1, usize::from),
            Some(workers @ 1..=1024) => usize::try_from(workers).unwrap_or(1),
            Some(_) => {
                self.report.error(&Spot::ROOT.key("workers"), "must be from 1 to 1024", "leave it out for one a core");
                1
            }
        }
    }

    fn memory(&mut self, general: &General) -> Option<u64> {
        let memory = general.limits.as_ref()?.memory.as_ref()?.0;
        if memory < MEMORY {
            let (limits, mend) = (Spot::ROOT.key("limits"), "write 32MiB or more, with the unit");
            let message = "leaves next to nothing beside what the proxy itself takes, 13 MiB at rest";
            self.report.error(&limits.key("memory"), message, mend);
        }
        Some(memory)
    }

    fn inherited(&mut self, root: &Node, general: &General) -> Inherited {
        let Some(defaults) = &general.defaults else { return Inherited::default() };
        let spot = Spot::ROOT.key("defaults");
        let written = root.get("defaults").and_then(|defaults| defaults.get("limits"));
        let nothing = Inherited::default();
        if let Some(limits) = &defaults.limits {
            self.told_bounds(&spot, limits, written, &nothing);
        }
        Inherited {
            told_rate: written.is_some_and(|limits| limits.told_of("rate")),
            access: defaults.access.as_ref().map(|access: &Access| {
                let node = root.get("defaults").and_then(|defaults| defaults.get("access"));
                self.access(access, node, &spot.key("access"))
            }),
            timeouts: defaults.timeouts.clone().unwrap_or_default(),
            limits: defaults.limits.clone().unwrap_or_default(),
        }
    }
}

/// Credentials by name; `None` where one is there but not sound.
type Credentials = BTreeMap<String, Option<Arc<crate::config::CredentialSettings>>>;
