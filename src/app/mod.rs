//! Start, reload, drain: the only place that starts long-lived threads and tasks. The binary, the
//! tests and the benches all come in by [`run`].
//!
//! `control` is the thread that starts the proxy and reloads; `read` makes a configuration ready to
//! run; `report` is what the log is told of it.

mod control;
mod read;
mod report;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use self::control::Control;
use crate::config::Problems;
use crate::server::{ListenError, ListenOn, Worker, WorkerError, accept};

pub use read::{assemble, warnings};

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
    /// A second signal came before the drain was over.
    #[error("stopped by a second signal, without finishing what was under way")]
    CutOff,
    /// The task that reads configurations broke off.
    #[error("reading the configuration was interrupted")]
    Interrupted,
}

/// Runs the proxy until `shutdown` completes and the drain is over. `announce` is told each address
/// once it accepts connections; a message in `hangups` asks for a reload.
pub async fn run(
    start: Start,
    mut announce: impl FnMut(&ListenOn),
    hangups: mpsc::Receiver<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let (control, bound, workers) = Control::start(start).await?;
    let workers = Arc::new(workers);
    let live = Arc::clone(&control.live);
    let accepting: Vec<_> = bound
        .into_iter()
        .enumerate()
        .map(|(place, bound)| {
            let (live, workers) = (Arc::clone(&live), Arc::clone(&workers));
            announce(bound.address());
            tokio::spawn(async move { accept(&bound, place, &live, &workers).await })
        })
        .collect();
    let settings = control.serve(hangups, shutdown).await;
    tracing::info!(delay = ?settings.drain_delay, timeout = ?settings.shutdown_timeout, "draining");
    tokio::time::sleep(settings.drain_delay).await;
    for task in accepting {
        task.abort();
        // Only once the task is gone is its listener closed and its hold on the workers released.
        drop(task.await);
    }
    drain(workers, settings.shutdown_timeout).await;
    tracing::info!("stopped");
    Ok(())
}

async fn drain(workers: Arc<Vec<Worker>>, timeout: Duration) {
    let Some(workers) = Arc::into_inner(workers) else { return };
    for worker in &workers {
        worker.drain(timeout);
    }
    let joined = tokio::task::spawn_blocking(move || {
        workers.into_iter().map(Worker::join).filter(std::thread::Result::is_err).count()
    });
    if let Ok(lost @ 1..) = joined.await {
        tracing::error!(workers = lost, "workers ended by a panic");
    }
}
