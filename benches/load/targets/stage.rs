//! What stands behind the targets of a scenario, and what they have in common.

use super::PATIENCE;
use super::certificates::Certificates;
use super::pinning::Pinning;
use crate::args::Options;
use crate::family::Child;
use crate::scenario::{Scenario, Traffic};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// How long the login of cold-start takes.
const LOGIN_SECONDS: &str = "1";
/// How long a token of rotation lives.
const LIFETIME_SECONDS: &str = "2";

pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) scenario: Scenario,
    pub(crate) traffic: Traffic,
    pub(crate) workers: u32,
    pub(crate) pinning: Pinning,
    pub(crate) scratch: &'a Path,
    pub(crate) certificates: &'a Certificates,
    /// How many files a process may open.
    pub(crate) files: u64,
    pub(crate) vendor: Arc<Vendor>,
}

/// The API and the token endpoint: one process.
pub(crate) struct Vendor {
    pub(crate) child: Child,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) token: SocketAddr,
}

impl<'a> Stage<'a> {
    pub(crate) fn set(
        options: &'a Options,
        scenario: Scenario,
        scratch: &'a Path,
        certificates: &'a Certificates,
        files: u64,
    ) -> Result<Self, String> {
        let workers = workers(options, scenario);
        let pinning = Pinning::new(workers);
        let mut command = pinning.role("vendor");
        command.arg("--certificate").arg(&certificates.certificate).arg("--key").arg(&certificates.key);
        match scenario {
            Scenario::Rotation => command.args(["--exclusive", "--lifetime", LIFETIME_SECONDS]),
            Scenario::ColdStart => command.args(["--login-seconds", LOGIN_SECONDS]),
            _ => &mut command,
        };
        let told = |what: String| format!("the vendor: {what}");
        let child = Child::start(command).map_err(|e| told(e.to_string()))?;
        let address = |what: &str| {
            let line = child.line(&format!("{what} on "), PATIENCE).map_err(told)?;
            line.parse().map_err(|_| told(format!("{what} on {line:?}?")))
        };
        let (plain, tls, token) = (address("plain")?, address("tls")?, address("token")?);
        let vendor = Arc::new(Vendor { child, plain, tls, token });
        let traffic = scenario.traffic();
        Ok(Self { options, scenario, traffic, workers, pinning, scratch, certificates, files, vendor })
    }

    /// The same stage for another scenario's traffic.
    pub(crate) fn played_as(&self, scenario: Scenario) -> Self {
        let (traffic, vendor, pinning) = (scenario.traffic(), self.vendor.clone(), self.pinning.clone());
        Self { scenario, traffic, pinning, vendor, ..*self }
    }

    /// The upstream that the proxies are to use.
    pub(crate) fn upstream(&self) -> SocketAddr {
        if self.traffic.upstream_tls { self.vendor.tls } else { self.vendor.plain }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.traffic.upstream_tls { "https" } else { "http" }
    }

    /// Connections that a proxy must be able to hold.
    pub(crate) fn connections(&self) -> u32 {
        match self.scenario {
            Scenario::Idle => self.options.idle + 1024,
            Scenario::ColdStart => self.options.waiting + 1024,
            _ => 8192,
        }
    }
}

pub(crate) fn workers(options: &Options, scenario: Scenario) -> u32 {
    let own = match scenario {
        Scenario::Get1kTwoWorkers | Scenario::ColdStart => 2,
        _ => 1,
    };
    options.workers.unwrap_or(own)
}
