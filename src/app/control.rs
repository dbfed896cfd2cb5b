//! The control thread: it starts the proxy, and reloads until it is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::read::{read, read_changed};
use super::report::{tell_reloaded, tell_taken, tell_warnings};
use super::{AppError, Start};
use crate::assemble::{Assembly, listen_on};
use crate::config::{Settings, Watcher};
use crate::live::{Live, Snapshot};
use crate::proxy::Shared;
use crate::server::{Bound, Worker};

/// What came of a reload.
#[derive(Debug)]
pub(super) enum Reloaded {
    /// In force now, as this generation.
    Taken(u64),
    /// Nothing in it or in the files that it names has changed.
    Unchanged,
    /// What was in force stays in force.
    Refused(AppError),
}

/// What times a drain.
pub(super) struct DrainTimes {
    pub(super) drain_delay: Duration,
    pub(super) shutdown_timeout: Duration,
}

/// The control thread's state.
pub(super) struct Control {
    start: Start,
    /// Taken out while a reload builds the next Snapshot on another thread.
    assembly: Option<Assembly>,
    settings: Settings,
    pub(super) live: Arc<Live>,
    shared: Arc<Shared>,
}

impl Control {
    pub(super) async fn start(start: Start) -> Result<(Self, Vec<Bound>, Vec<Worker>), AppError> {
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
    pub(super) async fn serve(
        mut self,
        mut hangups: mpsc::Receiver<()>,
        shutdown: impl Future<Output = ()>,
    ) -> DrainTimes {
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
