//! Start, reload, drain: the only place that starts long-lived threads and tasks. The binary, the
//! tests and the benches all come in by [`run`].
//!
//! `control` is the thread that starts the proxy and reloads; `read` makes a configuration ready to
//! run; `report` is what the log is told of it, `service` what the service manager is, `directory` what
//! the admin port may tell; `expiry` looks at certificates once a day; `admin` is that port; `capacity` is
//! what this machine lets it have; `sockets` finds each listener its socket; `handover` is between this
//! process, the one before and the one after it; `seclusion` keeps others out of its memory.

mod admin;
mod capacity;
mod control;
mod directory;
mod expiry;
pub mod handover;
mod read;
mod report;
mod seclusion;
mod service;
mod sockets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::admin::{Facts, Port};
use self::control::{Control, Ended, Started};
use self::expiry::watch_certificates;
use self::handover::{Giver, HandoverError};
use self::service::Service;
use crate::config::Problems;
use crate::server::{Bound, Leave, ListenError, ListenOn, Rounds, Turnstile, Worker, WorkerError, accept};
use crate::telemetry::metrics::Metrics;

pub use read::{assemble, warnings};
pub use seclusion::{seclude, tell_panics_by_place};

/// Wishes for a reload that wait for the one under way.
const WISHES: usize = 16;

/// Where `${NAME}` is looked up, at the start and at every reload.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The process's own environment.
pub fn process_environment() -> Environment {
    Arc::new(|name| std::env::var(name).ok())
}

/// What to run.
pub struct Start {
    /// The configuration file.
    pub config: PathBuf,
    /// Where `${NAME}` is looked up.
    pub environment: Environment,
    /// Whether the files of the configuration are watched.
    pub watch: bool,
    /// Sockets that listen already, as a service manager gives them: each goes to the listener with
    /// its address.
    pub sockets: Vec<OwnedFd>,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
}

/// Why it did not start, or not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is invalid.
    #[error("the configuration is invalid")]
    Config(Problems),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A worker did not start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A running process is there, and nothing could be taken over from it.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// A second signal came before the drain was over.
    #[error("stopped by a second signal, without finishing what was under way")]
    CutOff,
    /// The task that reads configurations broke off.
    #[error("reading the configuration was interrupted")]
    Interrupted,
}

/// An address that accepts connections. As text it is the line that `run` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepting<'a> {
    /// A listener's.
    Listener(&'a ListenOn),
    /// The admin port's; it comes after all listeners.
    Admin(&'a ListenOn),
}

impl fmt::Display for Accepting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(address) => write!(f, "listening on {address}"),
            Self::Admin(address) => write!(f, "admin on {address}"),
        }
    }
}

/// Runs the proxy until `shutdown` completes or another process has taken over, and the drain is
/// over. `announce` is told each address once it accepts connections; a message in `hangups` asks for
/// a reload.
pub async fn run(
    start: Start,
    mut announce: impl FnMut(Accepting<'_>),
    hangups: mpsc::Receiver<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let begun = (SystemTime::now(), Instant::now());
    let mut service = Service::of(&start.environment);
    let Started { control, mut sockets, workers, hatch, taken } = Control::start(start).await?;
    let workers = Arc::new(workers);
    let live = Arc::clone(&control.live);
    let (all, most) = (Arc::<Turnstile>::default(), capacity::connections());
    capacity::tell_connections(control.settings.connections, most);
    let accept_on = |(place, bound): (usize, &Arc<Bound>)| {
        let (live, workers, bound) = (Arc::clone(&live), Arc::clone(&workers), Arc::clone(bound));
        let all = Arc::clone(&all);
        tokio::spawn(async move { accept(&bound, place, &live, &workers, (&all, most)).await })
    };
    let (doors, own_door) = sockets.bound.split_at(control.settings.listeners.len());
    let accepting: Vec<_> = doors.iter().enumerate().map(accept_on).collect();
    if let Some(taken) = taken
        && let Err(error) = taken.serving().await
    {
        // The old process goes on as before; what came here in this moment is answered all the same,
        // with tokens that stay the old one's.
        if let Some(path) = &control.settings.handover {
            control.book.follow(path);
        }
        close(accepting).await;
        drain(workers, Leave::WithTheNextAnswer, control.settings.shutdown_timeout).await;
        return Err(error.into());
    }
    // Until now the process before this one has answered there.
    let (wishes, wished) = mpsc::channel(WISHES);
    let port = own_door.first().zip(control.settings.admin.as_ref()).map(|(bound, settings)| {
        let live = Arc::clone(&control.live);
        let store = &control.settings.store;
        let metrics = Arc::clone(control.metrics());
        let facts = Facts { config: control.config(), begun, listeners: doors, store, live, metrics, wishes };
        Port::open(settings, Arc::clone(bound), facts)
    });
    for bound in doors {
        announce(Accepting::Listener(bound.address()));
    }
    if let Some(bound) = own_door.first() {
        announce(Accepting::Admin(bound.address()));
    }
    sockets.own();
    if let Some(hatch) = &hatch {
        hatch.keep_file(false);
    }
    let busy = workers.iter().map(|worker| Arc::clone(worker.busy())).collect();
    let memory = tokio::spawn(capacity::watch_memory(Arc::clone(&live), Arc::clone(control.metrics()), busy));
    let watching = tokio::spawn(watch_certificates(Arc::clone(&control.live)));
    let rounds = Rounds::new(workers.iter().map(|worker| Arc::clone(worker.pulse())));
    service.serving(control.live.load().generation, rounds);
    let giver = hatch.map(|hatch| Giver::new(hatch, &sockets.bound, Arc::clone(&control.book)));
    drop(sockets);
    let giving = giver.as_ref().map(|giver| tokio::spawn(Arc::clone(giver).serve()));
    let (ended, rest) = control.serve(hangups, wished, end(shutdown, giver.as_deref()), &mut service).await;
    watching.abort();
    if let Some(port) = &port {
        port.drain(ended == Ended::HandedOver);
    }
    if let Some(giving) = giving {
        giving.abort();
        drop(giving.await);
    }
    drop(giver);
    let (leave, delay, why) = match ended {
        Ended::Stopped => (Leave::AtOnce, rest.drain_delay, "stopping"),
        Ended::HandedOver => (Leave::WithTheNextAnswer, Duration::ZERO, "handed over to another process"),
    };
    service.stopping(why, delay.saturating_add(rest.shutdown_timeout));
    let (delay_seconds, timeout_seconds) = (delay.as_secs_f64(), rest.shutdown_timeout.as_secs_f64());
    tracing::info!(delay_seconds, timeout_seconds, "draining");
    tokio::time::sleep(delay).await;
    close(accepting).await;
    drain(workers, leave, rest.shutdown_timeout).await;
    if let Some(port) = port {
        port.close().await;
    }
    memory.abort();
    drop(memory.await);
    // Nobody uses a token any more: where the vendor has a call for that, it is given up.
    drop(live);
    if let Some(assembly) = rest.assembly {
        assembly.retire().await;
    }
    service.end().await;
    tracing::info!("stopped");
    Ok(())
}

/// How it ends: by a signal, or since another process has taken over. A signal that comes while one
/// is about to waits until that is decided, or there would be no process for a moment.
async fn end(shutdown: impl Future<Output = ()>, giver: Option<&Giver>) -> Ended {
    let Some(giver) = giver else {
        shutdown.await;
        return Ended::Stopped;
    };
    tokio::select! {
        () = giver.given() => Ended::HandedOver,
        () = shutdown => if giver.decided().await { Ended::HandedOver } else { Ended::Stopped },
    }
}

/// Stops accepting.
async fn close(accepting: Vec<JoinHandle<()>>) {
    for task in accepting {
        task.abort();
        // Only once the task is gone is its listener closed and its hold on the workers released.
        drop(task.await);
    }
}

async fn drain(workers: Arc<Vec<Worker>>, leave: Leave, timeout: Duration) {
    let Some(workers) = Arc::into_inner(workers) else { return };
    for worker in &workers {
        worker.drain(leave, timeout);
    }
    let joined = tokio::task::spawn_blocking(move || {
        workers.into_iter().map(Worker::join).filter(std::thread::Result::is_err).count()
    });
    if let Ok(lost @ 1..) = joined.await {
        tracing::error!(workers = lost, "workers ended by a panic");
    }
}
