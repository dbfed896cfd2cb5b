//! `tokenferry run`: serve until told to stop.

use std::future::Future;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{fail, ready};
use crate::app::{self, Accepting, AppError, Start, process_environment};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{LogSink, init_logs, settle_logs};

/// Runs the command.
pub(super) fn run(config: &Path) -> ExitCode {
    if let Err(code) = logs() {
        return code;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), 1),
    };
    let sockets = match activated() {
        Ok(sockets) => sockets,
        Err(error) => return fail(&format!("a socket of the service manager cannot be used: {error}"), 1),
    };
    let start = Start {
        config: config.to_owned(),
        environment: process_environment(),
        watch: true,
        sockets,
        metrics: Metrics::new(),
    };
    let code = match runtime.block_on(serve(start, announce)) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(AppError::Config(problems))) => ready::refuse(&problems),
        Ok(Some(error)) => fail(&error.to_string(), 1),
        Err(error) => fail(&format!("cannot listen for signals: {error}"), 1),
    };
    // Token calls that are still under way are of no use to anybody now.
    runtime.shutdown_background();
    settle_logs();
    code
}

/// The sockets that the service manager passes by `LISTEN_FDS` (`sd_listen_fds(3)`), where it does.
fn activated() -> io::Result<Vec<OwnedFd>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for place in 0..passed.len() {
        let tcp = passed.take_tcp_listener(place).map(|socket| socket.map(OwnedFd::from));
        sockets.extend(match tcp {
            // What is no TCP socket is left at its place.
            Err(_) => passed.take_unix_listener(place)?.map(OwnedFd::from),
            Ok(socket) => socket,
        });
    }
    Ok(sockets)
}

/// Begins logging, as the environment says; panics go there too.
pub(super) fn logs() -> Result<(), ExitCode> {
    let filter = std::env::var("TOKENFERRY_LOG").ok();
    let format = std::env::var("TOKENFERRY_LOG_FORMAT").ok();
    init_logs(filter.as_deref(), format.as_deref(), LogSink::Background)
        .map_err(|error| fail(&error.to_string(), 2))?;
    app::tell_panics_by_place();
    Ok(())
}

/// Serves until a signal ends it, and reloads on SIGHUP. What was wrong, if anything was.
pub(super) async fn serve(start: Start, announce: impl FnMut(Accepting<'_>)) -> io::Result<Option<AppError>> {
    let (hangup, hangups) = mpsc::channel(1);
    let mut hup = signal(SignalKind::hangup())?;
    let forwarding = tokio::spawn(async move {
        while hup.recv().await.is_some() {
            // A reload that is waited for already will see this change too.
            let _ = hangup.try_send(());
        }
    });
    let stop = stop_signal()?;
    let (first, told) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        stop.await;
        let _ = first.send(());
    };
    let running = app::run(start, announce, hangups, shutdown);
    let second = async move {
        let _ = told.await;
        // Made only now, it hears only what comes after the first signal.
        match stop_signal() {
            Ok(next) => next.await,
            Err(_) => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = running => ended.err(),
        () = second => {
            Some(AppError::CutOff)
        }
    };
    forwarding.abort();
    Ok(ended)
}

/// Completes with the next SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// One line an address, for people and for programs that wait for it.
fn announce(accepting: Accepting<'_>) {
    let mut stdout = io::stdout().lock();
    // A closed stdout is no reason not to serve.
    let _ = writeln!(stdout, "{accepting}").and_then(|()| stdout.flush());
}
