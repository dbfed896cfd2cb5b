//! `tokenferry demo`: the vendors' simulators on loopback, and the proxy in front of them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{fail, run};
use crate::app::{Accepting, Start};
use crate::demo::Stage;
use crate::server::ListenOn;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::settle_logs;

/// Runs the command.
pub(super) fn demo() -> ExitCode {
    if let Err(code) = run::logs() {
        return code;
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(perform());
            settle_logs();
            code
        }
        Err(error) => fail(&format!("cannot start: {error}"), 1),
    }
}

/// The folder that the staged configuration is written to; gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tokenferry-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it holds the demo's made-up credentials only.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

async fn perform() -> ExitCode {
    let stage = match Stage::set().await {
        Ok(stage) => stage,
        Err(error) => return fail(&format!("a simulator cannot be started: {error}"), 1),
    };
    let written = Folder::new().and_then(|folder| {
        let config = folder.0.join("proxy.yaml");
        std::fs::write(&config, stage.yaml())?;
        Ok((folder, config))
    });
    let (_folder, config) = match written {
        Ok(written) => written,
        Err(error) => return fail(&format!("cannot write the demo's configuration: {error}"), 1),
    };
    let variables = stage.variables().clone();
    let environment = Arc::new(move |name: &str| variables.get(name).cloned());
    let start = Start { config, environment, watch: true, sockets: Vec::new(), metrics: Metrics::new() };
    let name = start.config.display().to_string();
    let announce = |accepting: Accepting<'_>| {
        // A closed stdout is no reason not to serve.
        let _ = match accepting {
            Accepting::Listener(address) => tell(&stage, address, &name),
            Accepting::Admin(address) => tell_the_rest(address),
        };
    };
    match run::serve(start, announce).await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(error)) => fail(&error.to_string(), 1),
        Err(error) => fail(&format!("cannot listen for signals: {error}"), 1),
    }
}

fn tell(stage: &Stage, address: &ListenOn, config: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    writeln!(out)?;
    writeln!(out, "This is the shipped proxy.yaml, with simulators on this machine in the vendors' place")?;
    writeln!(out, "({config}; edit it, and it is reloaded). Requests need no token: the proxy logs in.")?;
    for (about, path) in stage.requests() {
        writeln!(out)?;
        writeln!(out, "# {about}")?;
        writeln!(out, "curl http://{address}{path}")?;
    }
    out.flush()
}

/// The admin port accepts after all listeners do.
fn tell_the_rest(admin: &ListenOn) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out)?;
    writeln!(out, "# The status page, for a browser")?;
    writeln!(out, "http://{admin}/")?;
    writeln!(out)?;
    writeln!(out, "Ctrl-C ends it.")?;
    out.flush()
}
