//! A sealed file that is replaced whole: whoever reads it sees the one before or the one after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Kept;
use crate::secret::SealKeys;

/// A refresh token is smaller than this; what is larger is not ours.
const MOST_BYTES: u64 = 1 << 20;

/// Where a refresh token is kept, and how it is sealed.
#[derive(Clone, Debug)]
pub struct StateFile {
    /// The file.
    pub path: PathBuf,
    /// The first seals, all open.
    pub keys: Arc<SealKeys>,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Kept(Kept),
    /// Something that does not open; why, without any of it.
    Foreign(String),
}

impl StateFile {
    /// Reads it. An error is one of the system's that may pass.
    pub(super) fn read(&self, purpose: &str) -> io::Result<Found> {
        let mut sealed = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(MOST_BYTES).read_to_end(&mut sealed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        if sealed.is_empty() {
            // Made beforehand, to be written to.
            return Ok(Found::Nothing);
        }
        Ok(match Kept::open(&sealed, &self.keys, purpose) {
            Ok(kept) => Found::Kept(kept),
            Err(why) => Found::Foreign(why.to_string()),
        })
    }

    /// Whether it could be replaced: asked before a login, whose refresh token may be the last that the
    /// vendor takes.
    pub(super) fn probe(&self) -> io::Result<()> {
        let next = self.next();
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        fs::remove_file(next)
    }

    /// Replaces it. When this returns without an error, it outlives a loss of power.
    pub(super) fn write(&self, kept: &Kept, purpose: &str) -> io::Result<()> {
        let sealed = kept.seal(&self.keys, purpose).ok_or_else(|| io::Error::other("the system has no randomness"))?;
        let next = self.next();
        let written = replace(&next, &self.path, &sealed).and_then(|()| File::open(self.folder())?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&next);
        }
        written
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// In the same folder, since a rename does not cross file systems; of a name of its own, since two
    /// processes may write at once.
    fn next(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}.new", fastrand::u64(..)));
        self.folder().join(name)
    }
}

fn replace(next: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(next)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(next, path)
}
