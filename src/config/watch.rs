//! When to look again: events of the folders that hold the files, and a look at the content every
//! half minute where no event comes (bind mounts, network file systems).
//!
//! Folders are watched, never files: editors and the kubelet replace inodes. A `ConfigMap`'s change
//! is one rename of `..data` behind which the files lie, so the folders of everything that a path
//! passes through are watched. Events only wake; whether something changed is seen from the
//! content, by the loader.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// How long it must be quiet before a change is told: an editor's save and a `ConfigMap`'s swap are
/// several events, and only behind the last is the content whole.
const QUIET: Duration = Duration::from_millis(150);

/// The longest that a stream of events can put the telling off.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the content is looked at without an event.
const POLL: Duration = Duration::from_secs(30);

/// More symbolic links in a row than this lead nowhere (as in the kernel).
const MOST_LINKS: usize = 40;

/// Tells when one of a set of files may have changed.
///
/// Events of the operating system only hasten it: without them, or when one is lost, a change is
/// told at the next look at the content, half a minute later at most. Now and then it tells of
/// content that is in force already (after [`Watcher::new`] and each new set of files, since a
/// change between reading them and watching them would else be lost): whoever is told compares.
#[derive(Debug)]
pub struct Watcher {
    files: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
    events: Arc<Notify>,
    notify: Option<RecommendedWatcher>,
    /// The content as it was last told; `None` before it was told of these files.
    seen: Option<[u8; 32]>,
    /// An event came, and the content has not been looked at since.
    woken: bool,
    next_look: Instant,
    poll: Duration,
}

impl Watcher {
    /// Watches these files; those that are not there yet are waited for. On a tokio runtime with
    /// a clock.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self::with_poll(files, POLL, true)
    }

    fn with_poll(files: Vec<PathBuf>, poll: Duration, events: bool) -> Self {
        let wake = Arc::new(Notify::new());
        let told = Arc::clone(&wake);
        let handler = move |event: notify::Result<Event>| {
            // Reading files is an event, too, and we read them ourselves.
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                told.notify_one();
            }
        };
        // Without events (a full inotify table, a seccomp rule) the poll is left.
        let notify = if events { notify::recommended_watcher(handler).ok() } else { None };
        let mut watcher = Self {
            files: Vec::new(),
            folders: BTreeSet::new(),
            events: wake,
            notify,
            seen: None,
            woken: false,
            next_look: Instant::now() + poll,
            poll,
        };
        watcher.set_files(files);
        watcher
    }

    /// Watches these files from now on.
    pub fn set_files(&mut self, files: Vec<PathBuf>) {
        if files != self.files {
            self.files = files;
            self.seen = None;
            self.woken = true;
        }
        self.follow();
    }

    /// Waits until the content of the files is another one than when it was last told. May be
    /// dropped and called again at any time.
    pub async fn changed(&mut self) {
        loop {
            if !self.woken {
                let woken = timeout_at(self.next_look, self.events.notified()).await;
                self.woken = woken.is_ok();
            }
            if self.woken {
                self.quiet().await;
            }
            // A link may lead elsewhere now, and a folder may be a new one of the same name.
            self.follow();
            let files = self.files.clone();
            let now = tokio::task::spawn_blocking(move || digest(&files)).await.ok();
            self.woken = false;
            self.next_look = Instant::now() + self.poll;
            if now.is_some() && now != self.seen {
                self.seen = now;
                return;
            }
        }
    }

    /// Waits until no event came for a while.
    async fn quiet(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && timeout(QUIET, self.events.notified()).await.is_ok() {}
    }

    /// Watches the folders that the files' paths pass through.
    fn follow(&mut self) {
        let folders: BTreeSet<PathBuf> = self.files.iter().flat_map(|file| folders(file)).collect();
        if let Some(notify) = &mut self.notify {
            for gone in self.folders.difference(&folders) {
                let _ = notify.unwatch(gone);
            }
            for folder in &folders {
                // Watching a folder again that is watched is cheap, and needed where it is another
                // one of the same name. One that cannot be watched is left to the poll.
                let _ = notify.watch(folder, RecursiveMode::NonRecursive);
            }
        }
        self.folders = folders;
    }
}

/// The folders in which a change can make a path lead to other content: of the file, and of each
/// link on the way to it. Of a folder that is not there, the nearest above it that is.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut paths = vec![std::path::absolute(file).unwrap_or_else(|_| file.to_owned())];
    let mut links = 0;
    while let Some(path) = paths.pop() {
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            let Some(parent) = so_far.parent() else { continue };
            match std::fs::symlink_metadata(&so_far) {
                Ok(meta) if meta.is_symlink() && links < MOST_LINKS => {
                    links += 1;
                    folders.insert(parent.to_owned());
                    if let (Ok(target), Ok(rest)) = (std::fs::read_link(&so_far), path.strip_prefix(&so_far)) {
                        let target = parent.join(target);
                        paths.push(if rest.as_os_str().is_empty() { target } else { target.join(rest) });
                    }
                    break;
                }
                Ok(_) if so_far == path => {
                    folders.insert(parent.to_owned());
                }
                Ok(_) => {}
                Err(_) => {
                    folders.insert(parent.to_owned());
                    break;
                }
            }
        }
    }
    folders
}

/// Over the content of all files; a file that cannot be read counts as such.
fn digest(files: &[PathBuf]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for file in files {
        match crate::config::files::read(file, crate::config::source::MOST_BYTES as u64) {
            Ok(content) => {
                hasher.update([1]);
                hasher.update(content.len().to_be_bytes());
                hasher.update(content.as_slice());
            }
            Err(_) => hasher.update([0]),
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patience of a test with the machine; nothing waits so long when all is well.
    const SOON: Duration = Duration::from_secs(20);

    async fn told(watcher: &mut Watcher) {
        timeout(SOON, watcher.changed()).await.expect("the change is told");
    }

    /// A watcher without poll that has told of what was there.
    async fn settled(files: Vec<PathBuf>) -> Watcher {
        let mut watcher = Watcher::with_poll(files, Duration::from_secs(3600), true);
        told(&mut watcher).await;
        watcher
    }

    #[tokio::test]
    async fn a_write_and_an_editors_rename_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yaml");
        std::fs::write(&file, "a").unwrap();
        let mut watcher = settled(vec![file.clone()]).await;
        std::fs::write(&file, "b").unwrap();
        told(&mut watcher).await;
        std::fs::write(folder.path().join("new"), "c").unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
        told(&mut watcher).await;
        std::fs::write(&file, "d").unwrap();
        told(&mut watcher).await;
    }

    #[tokio::test]
    async fn a_config_maps_swap_is_told_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let swap = |version: u32| {
            let data = format!("..{version}");
            std::fs::create_dir(at(&data)).unwrap();
            std::fs::write(at(&data).join("proxy.yaml"), version.to_string()).unwrap();
            std::os::unix::fs::symlink(&data, at("..data_tmp")).unwrap();
            std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        swap(1);
        std::os::unix::fs::symlink("..data/proxy.yaml", at("proxy.yaml")).unwrap();
        let mut watcher = settled(vec![at("proxy.yaml")]).await;
        for version in 2..5 {
            swap(version);
            std::fs::remove_dir_all(at(&format!("..{}", version - 1))).unwrap();
            told(&mut watcher).await;
        }
    }

    #[tokio::test]
    async fn a_file_in_a_folder_that_is_not_there_yet_is_told_when_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("run/secrets/key");
        let mut watcher = settled(vec![secret.clone()]).await;
        std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
        // The folders are followed only once the first event was looked at, which a test cannot see.
        let writing = async {
            loop {
                std::fs::write(&secret, "x").unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::select! {
            () = told(&mut watcher) => {}
            () = writing => {}
        }
    }

    #[tokio::test]
    async fn without_any_event_the_next_look_tells() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yaml");
        std::fs::write(&file, "a").unwrap();
        let mut watcher = Watcher::with_poll(vec![file.clone()], Duration::from_millis(20), false);
        told(&mut watcher).await;
        std::fs::write(&file, "b").unwrap();
        told(&mut watcher).await;
    }

    #[tokio::test]
    async fn the_same_content_is_not_told_and_a_dropped_wait_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yaml");
        std::fs::write(&file, "a").unwrap();
        let mut watcher = settled(vec![file.clone()]).await;
        std::fs::write(&file, "a").unwrap();
        assert!(timeout(QUIET * 4, watcher.changed()).await.is_err());
        watcher.set_files(vec![file.clone()]);
        assert!(timeout(QUIET * 4, watcher.changed()).await.is_err());
        std::fs::write(&file, "b").unwrap();
        // Dropped in the middle of the quiet time.
        let _ = timeout(QUIET / 2, watcher.changed()).await;
        told(&mut watcher).await;
    }

    #[test]
    fn every_folder_that_a_path_passes_through_a_link_in_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/..1")).unwrap();
        std::fs::write(root.join("a/..1/f"), "").unwrap();
        std::os::unix::fs::symlink("..1", root.join("a/..data")).unwrap();
        std::os::unix::fs::symlink("..data/f", root.join("a/f")).unwrap();
        let watched = folders(&root.join("a/f"));
        assert_eq!(watched, BTreeSet::from([root.join("a"), root.join("a/..1")]));
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        assert_eq!(folders(&root.join("loop")), BTreeSet::from([root.clone()]));
        assert_eq!(folders(&root.join("none/at/all")), BTreeSet::from([root]));
    }
}
