//! A keep of this process's own: in memory, and where there is a file also there.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use super::file::Found;
use super::{First, Keep, Kept, StateFile, Unkept};
use crate::secret::Secret;
use crate::token::Pending;

/// The target of these events: they are about a credential.
const TARGET: &str = "tokenferry::credential";

/// Keeps a refresh token in memory, and in a file where one is given.
#[derive(Clone, Debug)]
pub struct LocalKeep {
    /// The credential's name, for logs.
    credential: String,
    first: First,
    purpose: String,
    file: Option<StateFile>,
    memory: Arc<Mutex<Memory>>,
}

/// What this process knows. It outlives reloads, and with them a change of the file.
#[derive(Debug, Default)]
struct Memory {
    kept: Option<Kept>,
    /// The file does not have it: it could not be written.
    unwritten: bool,
}

impl LocalKeep {
    /// A keep for the credential with this name, whose configured refresh token is `first`. What was
    /// kept by `before`, if anything, is kept on.
    pub fn new(
        credential: &str,
        purpose: String,
        first: &Secret,
        file: Option<StateFile>,
        before: Option<&Self>,
    ) -> Self {
        let memory = before.map(|before| Arc::clone(&before.memory)).unwrap_or_default();
        Self { credential: credential.to_owned(), first: First::of(first), purpose, file, memory }
    }

    fn load_now(&self) -> Result<Option<Secret>, Unkept> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = memory.kept.clone().filter(|kept| kept.first == self.first);
        let Some(file) = &self.file else { return Ok(ours.map(|kept| kept.token)) };
        if let Err(error) = file.probe() {
            warn!(target: TARGET, credential = self.credential, file = %file.path.display(), %error,
                "the state file cannot be written: no login is made whose refresh token could not be kept");
            return Err(Unkept);
        }
        if let Some(kept) = ours.as_ref().filter(|_| memory.unwritten) {
            // The vendor has given it, and may take no other any more: not used before it is written.
            self.write(file, kept)?;
            memory.unwritten = false;
            return Ok(Some(kept.token.clone()));
        }
        match file.read(&self.purpose) {
            // What is written goes before what is remembered: another process may have written it.
            Ok(Found::Kept(kept)) if kept.first == self.first => return Ok(Some(kept.token)),
            Ok(Found::Kept(_)) => {
                info!(target: TARGET, credential = self.credential, file = %file.path.display(),
                    "another refresh token is configured than the kept one descends from: the kept one counts no more");
            }
            Ok(Found::Foreign(why)) => {
                // The configured one was used long ago: a vendor that sees it again may take none any more.
                warn!(target: TARGET, credential = self.credential, file = %file.path.display(), why,
                    "the state file does not open, and no login is made with an older refresh token: configure the \
                     key that sealed it, or remove the file to begin with the configured refresh token");
                return Err(Unkept);
            }
            Ok(Found::Nothing) => {}
            Err(error) => {
                // To go on with the configured one could use it a second time, and lose them all.
                warn!(target: TARGET, credential = self.credential, file = %file.path.display(), %error,
                    "the state file cannot be read");
                return Err(Unkept);
            }
        }
        // The file is a new one, or was lost.
        let Some(kept) = ours else { return Ok(None) };
        self.write(file, &kept)?;
        Ok(Some(kept.token))
    }

    fn save_now(&self, token: Secret) -> Result<(), Unkept> {
        let kept = Kept { first: self.first, token };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.kept = Some(kept.clone());
        let Some(file) = &self.file else { return Ok(()) };
        memory.unwritten = true;
        self.write(file, &kept)?;
        memory.unwritten = false;
        Ok(())
    }

    fn write(&self, file: &StateFile, kept: &Kept) -> Result<(), Unkept> {
        file.write(kept, &self.purpose).map_err(|error| {
            warn!(target: TARGET, credential = self.credential, file = %file.path.display(), %error,
                "the state file cannot be written: no token is used whose refresh token is not kept");
            Unkept
        })
    }
}

impl Keep for LocalKeep {
    fn load(&self) -> Pending<'_, Result<Option<Secret>, Unkept>> {
        let keep = self.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || keep.load_now()).await.unwrap_or(Err(Unkept)) })
    }

    fn save(&self, kept: &Secret) -> Pending<'_, Result<(), Unkept>> {
        let (keep, kept) = (self.clone(), kept.clone());
        Box::pin(async move { tokio::task::spawn_blocking(move || keep.save_now(kept)).await.unwrap_or(Err(Unkept)) })
    }
}
