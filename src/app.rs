//! Start, reload, drain: the only place that starts long-lived threads and tasks. The binary, the
//! tests and the benches all come in by [`run`].

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::assemble::{Assembled, Assembly, listen_on};
use crate::config::{Loaded, Problems, Settings, Watcher, load};
use crate::live::{Live, Snapshot};
use crate::model::{Problem, Severity};
use crate::proxy::Shared;
use crate::server::{Bound, ListenError, ListenOn, Worker, WorkerError, accept};

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

/// What came of a reload.
#[derive(Debug)]
pub enum Reloaded {
    /// In force now, as this generation.
    Taken(u64),
    /// Nothing in it or in the files that it names has changed.
    Unchanged,
    /// What was in force stays in force.
    Refused(AppError),
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

/// What times a drain.
struct DrainTimes {
    drain_delay: Duration,
    shutdown_timeout: Duration,
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

/// The control thread's state.
struct Control {
    start: Start,
    /// Taken out while a reload builds the next Snapshot on another thread.
    assembly: Option<Assembly>,
    settings: Settings,
    live: Arc<Live>,
    shared: Arc<Shared>,
}

impl Control {
    async fn start(start: Start) -> Result<(Self, Vec<Bound>, Vec<Worker>), AppError> {
        let (assembly, loaded, assembled) =
            read(&start, Assembly::new(Handle::current())).await.map_err(|failed| failed.1)?;
        let bound = loaded
            .settings
            .listeners
            .iter()
            .map(|listener| Bound::bind(&listen_on(&listener.address)))
            .collect::<Result<Vec<_>, _>>()?;
        tell_warnings(&loaded, &assembled);
        let live = Live::new(assembled.snapshot);
        let shared = Shared::new(Arc::clone(&live), loaded.settings.replay_budget);
        let workers = (0..loaded.settings.workers)
            .map(|number| Worker::start(number, Arc::clone(&shared)))
            .collect::<Result<Vec<_>, _>>()?;
        tell_taken(1, &loaded.settings);
        let control = Self { start, assembly: Some(assembly), settings: loaded.settings, live, shared };
        Ok((control, bound, workers))
    }

    /// Reloads when asked to, until the shutdown.
    async fn serve(mut self, mut hangups: mpsc::Receiver<()>, shutdown: impl Future<Output = ()>) -> DrainTimes {
        let mut shutdown = std::pin::pin!(shutdown);
        // Whoever was told of a bad file is told when it is good again.
        let mut refused = false;
        let mut watcher = self.start.watch.then(|| Watcher::new(self.settings.files.clone()));
        loop {
            let asked = tokio::select! {
                () = &mut shutdown => break,
                Some(()) = hangups.recv() => true,
                () = changed(watcher.as_mut()) => false,
            };
            let reloaded = tokio::select! {
                reloaded = self.reload() => reloaded,
                // A file that cannot be read to its end must not hold up the end of everything.
                () = &mut shutdown => break,
            };
            if refused && matches!(reloaded, Reloaded::Unchanged) {
                tracing::info!("configuration valid again: what is in force is what the file says");
            }
            tell_reloaded(&reloaded, asked, &self.settings);
            refused = matches!(reloaded, Reloaded::Refused(_));
            if let Some(watcher) = &mut watcher {
                // Where it was refused, the mend may be in a file that only the refused one names.
                watcher.set_files(match &reloaded {
                    Reloaded::Refused(AppError::Config(problems)) => problems.files.clone(),
                    _ => self.settings.files.clone(),
                });
            }
        }
        DrainTimes { drain_delay: self.settings.drain_delay, shutdown_timeout: self.settings.shutdown_timeout }
    }

    async fn reload(&mut self) -> Reloaded {
        let Some(assembly) = self.assembly.take() else { return Reloaded::Refused(AppError::Interrupted) };
        match read_changed(&self.start, assembly, self.settings.fingerprint).await {
            Ok((assembly, None)) => {
                self.assembly = Some(assembly);
                Reloaded::Unchanged
            }
            Ok((assembly, Some((loaded, assembled)))) => {
                self.assembly = Some(assembly);
                tell_warnings(&loaded, &assembled);
                if loaded.settings.workers != self.settings.workers {
                    tracing::warn!("a change of `workers` needs a restart");
                }
                let generation = assembled.snapshot.generation;
                self.shared.budget.resize(loaded.settings.replay_budget);
                tokio::spawn(outlive(self.live.swap(assembled.snapshot)));
                self.settings = loaded.settings;
                Reloaded::Taken(generation)
            }
            Err(failed) => {
                let (assembly, error) = *failed;
                self.assembly = assembly;
                Reloaded::Refused(error)
            }
        }
    }
}

/// Holds a Snapshot until no request does: a large one takes a while to drop, and that should not be
/// a worker's while.
async fn outlive(snapshot: Arc<Snapshot>) {
    while Arc::strong_count(&snapshot) > 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn changed(watcher: Option<&mut Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// An error, with the assembly where it is not lost.
type Failed = Box<(Option<Assembly>, AppError)>;

async fn read(start: &Start, assembly: Assembly) -> Result<(Assembly, Loaded, Assembled), Failed> {
    match read_changed(start, assembly, [0; 32]).await? {
        (assembly, Some((loaded, assembled))) => Ok((assembly, loaded, assembled)),
        (assembly, None) => Err(Box::new((Some(assembly), AppError::Interrupted))),
    }
}

/// Reads and assembles on a thread for blocking work: a large file must not keep the control thread
/// from accepting connections. `None` where the content is the one of `before`.
async fn read_changed(
    start: &Start,
    mut assembly: Assembly,
    before: [u8; 32],
) -> Result<(Assembly, Option<(Loaded, Assembled)>), Failed> {
    let (path, environment) = (start.config.clone(), start.environment.clone());
    let task = tokio::task::spawn_blocking(move || {
        let loaded = match load(&path, &*environment) {
            Ok(loaded) => loaded,
            Err(problems) => return Err(Box::new((Some(assembly), AppError::Config(problems)))),
        };
        if loaded.settings.fingerprint == before {
            return Ok((assembly, None));
        }
        match assemble(loaded, &mut assembly) {
            Ok(both) => Ok((assembly, Some(both))),
            Err(problems) => Err(Box::new((Some(assembly), AppError::Config(problems)))),
        }
    });
    task.await.unwrap_or_else(|_| Err(Box::new((None, AppError::Interrupted))))
}

/// Makes a configuration ready to run. What stands in the way is told beside its warnings.
pub fn assemble(loaded: Loaded, assembly: &mut Assembly) -> Result<(Loaded, Assembled), Problems> {
    match assembly.build(&loaded.settings) {
        Ok(assembled) => Ok((loaded, assembled)),
        Err(errors) => {
            let mut list = loaded.warnings;
            list.extend(errors.iter().map(|error| error.problem(&loaded.locator)));
            list.sort_by_key(|problem| (problem.line, problem.column));
            Err(Problems { list, files: loaded.settings.files })
        }
    }
}

/// All warnings of a configuration: those of its check and those of its routes' order.
pub fn warnings(loaded: &Loaded, assembled: &Assembled) -> Vec<Problem> {
    let mut warnings = loaded.warnings.clone();
    warnings.extend(assembled.shadowed.iter().map(|(hidden, first)| {
        let name = |place: &usize| loaded.settings.routes.get(*place).map_or("", |route| route.name.as_str());
        loaded.locator.problem(
            Severity::Warning,
            &format!("routes[{hidden}]"),
            format!("the route {} can never match: {} always goes first", name(hidden), name(first)),
            "narrow the other route's match, or remove this one",
        )
    }));
    warnings
}

fn tell_warnings(loaded: &Loaded, assembled: &Assembled) {
    warnings(loaded, assembled).iter().for_each(tell_problem);
    for change in &assembled.restart_needed {
        tracing::warn!("{change}: this needs a restart; the rest of the change is applied");
    }
}

fn tell_problem(problem: &Problem) {
    let Problem { message, mend, .. } = problem;
    let at = format!("{}:{}:{}", problem.file, problem.line, problem.column);
    match problem.severity {
        Severity::Error => tracing::error!(at, mend, "configuration: {message}"),
        Severity::Warning => tracing::warn!(at, mend, "configuration: {message}"),
    }
}

fn tell_taken(generation: u64, settings: &Settings) {
    tracing::info!(
        generation,
        routes = settings.routes.len(),
        credentials = settings.credentials.len(),
        workers = settings.workers,
        version = env!("CARGO_PKG_VERSION"),
        "configuration taken"
    );
}

fn tell_reloaded(reloaded: &Reloaded, asked: bool, settings: &Settings) {
    match reloaded {
        Reloaded::Taken(generation) => tell_taken(*generation, settings),
        Reloaded::Unchanged if asked => tracing::info!("configuration unchanged"),
        Reloaded::Unchanged => tracing::debug!("configuration unchanged"),
        Reloaded::Refused(AppError::Config(problems)) => {
            problems.list.iter().for_each(tell_problem);
            tracing::error!("configuration refused; the one before stays in force");
        }
        Reloaded::Refused(error) => {
            tracing::error!(%error, "configuration refused; the one before stays in force");
        }
    }
}
