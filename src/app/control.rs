//! The control thread: it starts the proxy, and reloads until it is told to stop.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::handover::{Book, HandoverError, Hatch, Taken, take};
use super::read::{Before, read, read_changed};
use super::report::{tell_reloaded, tell_taken, tell_warnings};
use super::service::Service;
use super::sockets::{Sockets, listen};
use super::{AppError, Start, warnings};
use crate::admin::Wish;
use crate::assemble::{Assembly, listen_on};
use crate::config::{AdminSettings, Settings, Watcher};
use crate::live::{Live, Outcome, Reload, Snapshot};
use crate::model::{Problem, ReadyWhen};
use crate::proxy::Shared;
use crate::server::Worker;
use crate::telemetry::apply_logs;
use crate::telemetry::metrics::Metrics;

/// What is refused again within this time was probably not saved again.
const ONE_SAVE: Duration = Duration::from_secs(2);

/// What came of reading the configuration again.
#[derive(Debug)]
enum Reloaded {
    /// In force now, with these warnings.
    Taken(Vec<Problem>),
    /// Nothing in it or in the files that it names has changed.
    Unchanged,
    /// What was in force stays in force.
    Refused(AppError),
}

/// What only a restart changes, as it was at the start.
#[derive(Debug)]
struct Fixed {
    workers: usize,
    handover: Option<PathBuf>,
    admin: Option<AdminSettings>,
}

impl Fixed {
    fn of(settings: &Settings) -> Self {
        Self { workers: settings.workers, handover: settings.handover.clone(), admin: admin_of(settings) }
    }

    /// What of this configuration only a restart brings, in words.
    fn changed(&self, settings: &Settings) -> Vec<String> {
        let changes = [
            ("workers", settings.workers != self.workers),
            ("handover", settings.handover != self.handover),
            ("admin", admin_of(settings) != self.admin),
        ];
        let changed = changes.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(field, _)| format!("`{field}` has changed")).collect()
    }
}

/// The admin port less what changes live.
fn admin_of(settings: &Settings) -> Option<AdminSettings> {
    settings.admin.clone().map(|admin| AdminSettings { ready_when: ReadyWhen::default(), ..admin })
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
    fixed: Fixed,
    /// Of the configuration in force.
    warnings: Vec<Problem>,
    restart_needed: Vec<String>,
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
            read(&start, Assembly::new(Handle::current()).serving()).await.map_err(|failed| failed.1)?;
        let path = loaded.settings.handover.as_deref();
        let mut taken = match path {
            Some(path) => take(path).await?,
            None => None,
        };
        let handed = taken.as_mut().map(|taken| std::mem::take(&mut taken.sockets)).unwrap_or_default();
        let listeners = loaded.settings.listeners.iter().map(|listener| &listener.address);
        // The admin port comes last: what is before it has its place in the Snapshot.
        let all = listeners.chain(loaded.settings.admin.iter().map(|admin| &admin.address));
        let addresses: Vec<_> = all.map(listen_on).collect();
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
        let warnings = warnings(&loaded, &assembled);
        tell_warnings(&warnings, &assembled.restart_needed);
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
        let fixed = Fixed::of(&loaded.settings);
        let (assembly, settings, restart_needed) = (Some(assembly), loaded.settings, assembled.restart_needed);
        let control = Self { start, assembly, settings, fixed, warnings, restart_needed, live, shared, book };
        Ok(Started { control, sockets, workers, hatch, taken })
    }

    /// Where everything is counted.
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.start.metrics
    }

    /// The configuration's file.
    pub(super) fn config(&self) -> &Path {
        &self.start.config
    }

    /// Reloads when asked to, until `ended` says that this is over. Whoever wishes for a reload is told
    /// what came of it.
    pub(super) async fn serve(
        mut self,
        mut hangups: mpsc::Receiver<()>,
        mut wishes: mpsc::Receiver<Wish>,
        ended: impl Future<Output = Ended>,
        service: &mut Service,
    ) -> (Ended, Rest) {
        let mut ended = std::pin::pin!(ended);
        let mut watcher = self.start.watch.then(|| Watcher::new(self.settings.files.clone()));
        let end = loop {
            let (asked, mut waiting) = tokio::select! {
                end = &mut ended => break end,
                Some(()) = hangups.recv() => (true, Vec::new()),
                Some(wish) = wishes.recv() => (true, vec![wish]),
                () = changed(watcher.as_mut()) => (false, Vec::new()),
            };
            // One reload is enough for all that came before it; what comes later may mean a later change.
            while let Ok(wish) = wishes.try_recv() {
                waiting.push(wish);
            }
            let asked = asked || !waiting.is_empty();
            if asked {
                service.reloading();
            }
            let reloaded = tokio::select! {
                reloaded = self.reload() => reloaded,
                // A file that cannot be read to its end must not hold up the end of everything.
                end = &mut ended => break end,
            };
            if let Some(watcher) = &mut watcher {
                // Where it was refused, the mend may be in a file that only the refused one names.
                watcher.set_files(match &reloaded {
                    Reloaded::Refused(AppError::Config(problems)) => problems.files.clone(),
                    _ => self.settings.files.clone(),
                });
            }
            let reload = self.tell(reloaded, asked);
            service.reloaded(&reload, asked);
            for wish in waiting {
                // Whoever went away meanwhile is not told.
                drop(wish.send(Arc::clone(&reload)));
            }
        };
        let Settings { drain_delay, shutdown_timeout, .. } = self.settings;
        (end, Rest { drain_delay, shutdown_timeout, assembly: self.assembly })
    }

    /// Tells the log, and whoever looks at what is in force.
    fn tell(&mut self, reloaded: Reloaded, asked: bool) -> Arc<Reload> {
        // Whoever was told of a bad file is told when it is good again.
        let was_refused = self.live.last_reload().is_some_and(|last| last.outcome == Outcome::Refused);
        let (outcome, error, problems) = match reloaded {
            Reloaded::Taken(warnings) => {
                self.warnings.clone_from(&warnings);
                (Outcome::Taken, None, warnings)
            }
            Reloaded::Unchanged => (Outcome::Unchanged, None, self.warnings.clone()),
            Reloaded::Refused(AppError::Config(problems)) => (Outcome::Refused, None, problems.list),
            Reloaded::Refused(error) => (Outcome::Refused, Some(error.to_string()), Vec::new()),
        };
        let restart_needed = if outcome == Outcome::Refused { Vec::new() } else { self.restart_needed.clone() };
        let generation = self.live.load().generation;
        let reload = Arc::new(Reload { at: SystemTime::now(), outcome, generation, error, problems, restart_needed });
        if was_refused && outcome == Outcome::Unchanged {
            tracing::info!("configuration valid again: what is in force is what the file says");
        }
        // One save is often read more than once, with the same mistakes each time; a later one is news.
        let is_known = !asked
            && outcome == Outcome::Refused
            && self.live.last_reload().is_some_and(|last| {
                (last.outcome, &last.problems, &last.error) == (outcome, &reload.problems, &reload.error)
                    && reload.at.duration_since(last.at).is_ok_and(|since| since < ONE_SAVE)
            });
        if is_known {
            tracing::debug!("configuration refused again, for the same reasons");
        } else {
            tell_reloaded(&reload, asked, &self.settings);
        }
        // A file that was touched and is what it was is no news.
        if asked || was_refused || outcome != Outcome::Unchanged {
            self.live.note(Arc::clone(&reload));
        }
        reload
    }

    async fn reload(&mut self) -> Reloaded {
        let Some(assembly) = self.assembly.take() else { return Reloaded::Refused(AppError::Interrupted) };
        let (fingerprint, certificates) = (self.settings.fingerprint, self.settings.certificates.clone());
        match read_changed(&self.start, assembly, Before { fingerprint, certificates }).await {
            Ok((assembly, None)) => {
                self.assembly = Some(assembly);
                Reloaded::Unchanged
            }
            Ok((assembly, Some((loaded, assembled)))) => {
                self.assembly = Some(assembly);
                apply_logs(&loaded.settings.log);
                let warnings = warnings(&loaded, &assembled);
                self.restart_needed = assembled.restart_needed;
                self.restart_needed.extend(self.fixed.changed(&loaded.settings));
                tell_warnings(&warnings, &self.restart_needed);
                self.book.set(assembled.logins);
                self.shared.budget.resize(loaded.settings.replay_budget);
                tokio::spawn(outlive(self.live.swap(assembled.snapshot)));
                self.settings = loaded.settings;
                Reloaded::Taken(warnings)
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
