//! The control thread: it starts the proxy, and reloads until it is told to stop.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::handover::{Book, HandoverError, Hatch, Taken, take};
use super::read::{read, read_changed};
use super::report::{tell_reloaded, tell_taken, tell_warnings};
use super::service::Service;
use super::sockets::{Sockets, listen};
use super::{AppError, Start};
use crate::assemble::{Assembly, listen_on};
use crate::config::{Settings, Watcher};
use crate::live::{Live, Snapshot};
use crate::proxy::Shared;
use crate::server::Worker;
use crate::telemetry::apply_logs;

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

/// What times a drain, and what is left to do behind it.
pub(super) struct Rest {
    pub(super) drain_delay: Duration,
    pub(super) shutdown_timeout: Duration,
    /// The tokens: `None` where a reload that nobody waits for any more has them.
    pub(super) assembly: Option<Assembly>,
}

/// The control thread's state.
pub(super) struct Control {
    start: Start,
    /// Taken out while a reload builds the next Snapshot on another thread.
    assembly: Option<Assembly>,
    pub(super) settings: Settings,
    pub(super) live: Arc<Live>,
    shared: Arc<Shared>,
    pub(super) book: Arc<Book>,
}

/// Everything that serves, before it does.
pub(super) struct Started {
    pub(super) control: Control,
    pub(super) sockets: Sockets,
    pub(super) workers: Vec<Worker>,
    /// The handover socket, where the configuration has one.
    pub(super) hatch: Option<Hatch>,
    /// What the process before this one is to be told when this one serves.
    pub(super) taken: Option<Taken>,
}

/// Why the control thread stopped serving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// Another process has taken over.
    HandedOver,
}

impl Control {
    pub(super) async fn start(mut start: Start) -> Result<Started, AppError> {
        let (assembly, loaded, assembled) =
            read(&start, Assembly::new(Handle::current()).exporting()).await.map_err(|failed| failed.1)?;
        let path = loaded.settings.handover.as_deref();
        let mut taken = match path {
            Some(path) => take(path).await?,
            None => None,
        };
        let handed = taken.as_mut().map(|taken| std::mem::take(&mut taken.sockets)).unwrap_or_default();
        let addresses: Vec<_> = loaded.settings.listeners.iter().map(|listener| listen_on(&listener.address)).collect();
        let sockets = listen(&addresses, handed, std::mem::take(&mut start.sockets))?;
        let hatch = match (path, taken.as_mut().and_then(|taken| taken.hatch.take())) {
            (Some(path), Some(socket)) => Some(Hatch::adopt(socket, path)),
            // Behind the listeners: of two that start at once, the one without them leaves it alone.
            (Some(path), None) => Some(Hatch::open(path)),
            (None, _) => None,
        };
        let hatch = hatch
            .transpose()
            .map_err(|error| HandoverError::Hatch(path.map(Path::to_owned).unwrap_or_default(), error))?;
        apply_logs(&loaded.settings.log);
        tell_warnings(&loaded, &assembled);
        let book = Arc::new(Book::default());
        book.set(assembled.logins);
        let live = Live::new(assembled.snapshot);
        let shared = Shared::new(Arc::clone(&live), loaded.settings.replay_budget, Arc::clone(&start.metrics));
        let workers = (0..loaded.settings.workers)
            .map(|number| Worker::start(number, Arc::clone(&shared)))
            .collect::<Result<Vec<_>, _>>()?;
        // Last: whoever fails with another's token in hand might give it up.
        if let Some(taken) = &taken {
            book.adopt(&taken.tokens, taken.on_its_way());
        }
        tell_taken(1, &loaded.settings);
        let control = Self { start, assembly: Some(assembly), settings: loaded.settings, live, shared, book };
        Ok(Started { control, sockets, workers, hatch, taken })
    }

    /// Reloads when asked to, until `ended` says that this is over.
    pub(super) async fn serve(
        mut self,
        mut hangups: mpsc::Receiver<()>,
        ended: impl Future<Output = Ended>,
        service: &mut Service,
    ) -> (Ended, Rest) {
        let mut ended = std::pin::pin!(ended);
        // Whoever was told of a bad file is told when it is good again.
        let mut refused = false;
        let mut watcher = self.start.watch.then(|| Watcher::new(self.settings.files.clone()));
        let end = loop {
            let asked = tokio::select! {
                end = &mut ended => break end,
                Some(()) = hangups.recv() => true,
                () = changed(watcher.as_mut()) => false,
            };
            if asked {
                service.reloading();
            }
            let reloaded = tokio::select! {
                reloaded = self.reload() => reloaded,
                // A file that cannot be read to its end must not hold up the end of everything.
                end = &mut ended => break end,
            };
            if refused && matches!(reloaded, Reloaded::Unchanged) {
                tracing::info!("configuration valid again: what is in force is what the file says");
            }
            tell_reloaded(&reloaded, asked, &self.settings);
            service.reloaded(&reloaded, asked, self.live.load().generation);
            refused = matches!(reloaded, Reloaded::Refused(_));
            if let Some(watcher) = &mut watcher {
                // Where it was refused, the mend may be in a file that only the refused one names.
                watcher.set_files(match &reloaded {
                    Reloaded::Refused(AppError::Config(problems)) => problems.files.clone(),
                    _ => self.settings.files.clone(),
                });
            }
        };
        let Settings { drain_delay, shutdown_timeout, .. } = self.settings;
        (end, Rest { drain_delay, shutdown_timeout, assembly: self.assembly })
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
                apply_logs(&loaded.settings.log);
                tell_warnings(&loaded, &assembled);
                if loaded.settings.workers != self.settings.workers {
                    tracing::warn!("a change of `workers` needs a restart");
                }
                if loaded.settings.handover != self.settings.handover {
                    tracing::warn!("a change of `handover` needs a restart");
                }
                let generation = assembled.snapshot.generation;
                self.book.set(assembled.logins);
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
