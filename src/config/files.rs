//! The files that a configuration refers to: each is read once, and all are watched, also those
//! that are not there yet.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::report::Report;
use crate::config::spot::{Spot, plain};

/// Secrets, certificates and CA bundles are smaller than this.
const MOST_BYTES: u64 = 4 << 20;

/// What a secret's file may allow at most: its owner to write, its group to read.
const WIDEST: u32 = 0o640;

/// Why a file was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    Missing,
    Denied,
    Folder,
    TooLarge,
    Broken,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "does not exist",
            Self::Denied => "may not be read (permission denied)",
            Self::Folder => "is a folder",
            Self::TooLarge => "is larger than 4 MiB",
            Self::Broken => "cannot be read",
        })
    }
}

/// A file's content.
pub(crate) type Content = Arc<Zeroizing<Vec<u8>>>;

/// Everything read for one configuration.
pub(crate) struct Files {
    folder: PathBuf,
    read: HashMap<PathBuf, Result<Content, Unread>>,
    order: Vec<PathBuf>,
    /// Secret files whose mode was judged.
    judged: HashSet<PathBuf>,
}

impl Files {
    /// Relative paths are relative to this folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, read: HashMap::new(), order: Vec::new(), judged: HashSet::new() }
    }

    /// A path as the configuration means it; nothing is read there.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The path as it is read, and its content.
    pub(crate) fn read(&mut self, path: &str) -> (PathBuf, Result<Content, Unread>) {
        let full = self.folder.join(path);
        if let Some(known) = self.read.get(&full) {
            return (full, known.clone());
        }
        let content = read(&full, MOST_BYTES);
        self.order.push(full.clone());
        self.read.insert(full.clone(), content.clone());
        (full, content)
    }

    /// Warns of a secret's file that others may read or write, once a file. What a link leads to is
    /// judged: in Kubernetes that is the file itself.
    pub(crate) fn judge_mode(&mut self, full: &Path, report: &mut Report, spot: &Spot<'_>) {
        if !self.judged.insert(full.to_owned()) {
            return;
        }
        let Ok(meta) = std::fs::metadata(full) else { return };
        if let Some(wide) = too_wide(&meta) {
            let name = plain(&full.display().to_string());
            let message = format!("the file {name} holds a secret, and {wide}");
            let mend = "chmod 0640, or less; in a Kubernetes volume, defaultMode: 0440 and a fsGroup";
            report.warning(spot, message, mend);
        }
    }

    /// The paths, in the order in which they were first named.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.order
    }

    /// Adds all paths and contents to a digest.
    pub(crate) fn digest(&self, hasher: &mut Sha256) {
        for path in &self.order {
            hasher.update(path.as_os_str().as_encoded_bytes());
            match self.read.get(path) {
                Some(Ok(content)) => {
                    hasher.update(b"\0+");
                    hasher.update(content.len().to_be_bytes());
                    hasher.update(content.as_slice());
                }
                _ => hasher.update(b"\0-"),
            }
        }
    }
}

/// What is told of a secret's file whose mode allows more than it should.
pub(crate) fn too_wide(meta: &Metadata) -> Option<String> {
    let mode = meta.permissions().mode() & 0o777;
    let allows = match mode & !WIDEST {
        0 => return None,
        more if more & 0o007 != 0 => "lets others at it",
        more if more & 0o020 != 0 => "lets its group write it",
        _ => "lets it be run",
    };
    meta.is_file().then(|| format!("its mode {mode:04o} {allows}"))
}

/// Reads a file that is one: a pipe or a device would block or never end.
pub(crate) fn read(path: &Path, most: u64) -> Result<Content, Unread> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unread::Missing,
        io::ErrorKind::PermissionDenied => Unread::Denied,
        io::ErrorKind::IsADirectory => Unread::Folder,
        _ => Unread::Broken,
    };
    let meta = std::fs::metadata(path).map_err(told)?;
    if meta.is_dir() {
        return Err(Unread::Folder);
    }
    if !meta.is_file() {
        return Err(Unread::Broken);
    }
    // With room for all of it and for seeing its end: a buffer that grows leaves copies behind that nobody wipes.
    let room = usize::try_from(meta.len().min(most)).unwrap_or(0) + 2;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    std::fs::File::open(path).map_err(told)?.take(most + 1).read_to_end(&mut content).map_err(told)?;
    if content.len() as u64 > most {
        return Err(Unread::TooLarge);
    }
    Ok(Arc::new(content))
}
