//! Which scenarios, with which targets, and how long that takes.

use crate::args::Options;
use crate::scenario::{Client, Pace, Scenario};
use crate::targets::peer::Peer;
use crate::targets::stage::Stage;
use crate::targets::{Target, others, ours};
use serde_json::Value;

/// Files that a process needs beside its connections.
const SPARE_FILES: u64 = 600;

pub(crate) struct Plan<'a> {
    options: &'a Options,
    chosen: Vec<Scenario>,
    nginx: bool,
    haproxy: bool,
}

/// Who takes part.
enum Part<'a> {
    Direct,
    Ours,
    OursWithRoutes,
    Nginx,
    Haproxy,
    Peer(&'a Peer),
}

impl<'a> Plan<'a> {
    pub(crate) fn new(options: &'a Options, setting: &Value) -> Self {
        let chosen = if options.scenarios.is_empty() { Scenario::ALL.to_vec() } else { options.scenarios.clone() };
        Self { options, chosen, nginx: setting["nginx"].is_string(), haproxy: setting["haproxy"].is_string() }
    }

    /// Those that this machine's limits allow.
    pub(crate) fn scenarios(&self, files: u64) -> Vec<Scenario> {
        self.chosen.iter().copied().filter(|&scenario| self.needs(scenario) <= files).collect()
    }

    /// The others, and why.
    pub(crate) fn left_out(&self, files: u64) -> Vec<(Scenario, String)> {
        let short = self.chosen.iter().copied().filter(|&scenario| self.needs(scenario) > files);
        let why = |scenario| {
            let needs = self.needs(scenario);
            (
                scenario,
                format!("it needs {needs} open files a process, and no more than {files} are allowed (ulimit -Hn)"),
            )
        };
        short.map(why).collect()
    }

    fn needs(&self, scenario: Scenario) -> u64 {
        SPARE_FILES
            + match scenario {
                Scenario::Idle => u64::from(self.options.idle),
                Scenario::ColdStart => u64::from(self.options.waiting),
                _ => 2 * u64::from(self.options.connections),
            }
    }

    fn parts(&self, scenario: Scenario) -> Vec<Part<'a>> {
        let traffic = scenario.traffic();
        let mut parts = match scenario {
            Scenario::Rotation | Scenario::Reloads | Scenario::ColdStart | Scenario::Counts => return vec![Part::Ours],
            Scenario::Routes1000 => return vec![Part::Ours, Part::OursWithRoutes],
            Scenario::Idle | Scenario::H2In => vec![Part::Ours],
            _ => vec![Part::Direct, Part::Ours],
        };
        if self.nginx {
            parts.push(Part::Nginx);
        }
        if self.haproxy {
            parts.push(Part::Haproxy);
        }
        if traffic.client == Client::Plain && !traffic.upstream_tls {
            parts.extend(self.options.peers.iter().map(Part::Peer));
        }
        parts
    }

    pub(crate) fn targets(&self, stage: &Stage<'_>) -> Result<Vec<Target>, String> {
        let direct = if stage.traffic.client == Client::Tls { stage.vendor.tls } else { stage.vendor.plain };
        let start = |part| match part {
            Part::Direct => Ok(Target::direct(direct)),
            Part::Ours => ours::start(stage),
            Part::OursWithRoutes => ours::start_with_routes(stage),
            Part::Nginx => others::start_nginx(stage),
            Part::Haproxy => others::start_haproxy(stage),
            Part::Peer(peer) => others::start_peer(stage, peer),
        };
        self.parts(stage.scenario).into_iter().map(start).collect()
    }

    /// About how many seconds each takes.
    pub(crate) fn weights(&self, files: u64) -> Vec<(Scenario, f64)> {
        let weight = |scenario: Scenario| {
            let targets = self.parts(scenario).len();
            let seconds = match scenario {
                Scenario::Idle => super::idle::seconds(self.options, targets),
                Scenario::ColdStart => super::cold_start::seconds(self.options),
                Scenario::Counts => super::counted::SECONDS,
                Scenario::Rotation | Scenario::Reloads => super::changes::seconds(self.options, scenario) * 1.25,
                _ => closed_seconds(self.options, targets),
            };
            (scenario, seconds)
        };
        self.scenarios(files).into_iter().map(weight).collect()
    }
}

/// About how long the rounds of so many targets take.
pub(crate) fn closed_seconds(options: &Options, targets: usize) -> f64 {
    let calls = if options.syscalls { super::calls::SECONDS + 1.0 } else { 0.0 };
    targets as f64 * (f64::from(options.rounds) * (options.seconds * 1.25 + 0.1) + calls)
}

/// Whether it can be asked of a proxy that was not started here.
pub(crate) fn fits_any_target(scenario: Scenario) -> bool {
    let traffic = scenario.traffic();
    let special = [Scenario::Routes1000, Scenario::Rotation, Scenario::Reloads, Scenario::Counts].contains(&scenario);
    traffic.client == Client::Plain && !special && !matches!(traffic.pace, Pace::Once | Pace::Storm)
}
