//! Questions that need no more than an answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::net::UnixStream;

use super::message::{Answer, LONGEST_ANSWER, Question};
use super::wire::Wire;
use crate::model::hex;
use crate::secret::Secret;
use crate::token::{Carried, Cell, Fetch, TokenKey};
use crate::vendor::{FaultClass, FaultReason, Grant, TokenFault};

/// For a whole answer, which may have a login in it.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a question is put that breaks off without an answer, and how long after another.
const TRIES: usize = 10;
const BETWEEN: Duration = Duration::from_millis(100);

/// A running process's live token.
#[derive(Debug)]
pub struct Peeked {
    /// The token, with what is left of its life.
    pub token: Carried,
    /// Its number in the running process, as logs name it.
    pub generation: u64,
}

/// The live token of this key in the process that listens at `path`; `None` where it has none, or one
/// that lives for ever. No login is made for it. An error where nobody listens there, or nobody who
/// may be believed. Needs a tokio runtime; is over after 15 seconds at most.
pub async fn peek(path: &Path, key: &TokenKey) -> io::Result<Option<Peeked>> {
    let asked = Instant::now();
    let answer = ask(path, &Question::Peek { peek: key.hex() }).await?;
    Ok(answer.peeked(asked))
}

impl Answer {
    /// The first token, some of whose life went by on its way since it was asked for.
    fn peeked(&self, asked: Instant) -> Option<Peeked> {
        let held = self.tokens.first()?;
        Some(Peeked { token: held.carried(asked.elapsed())?, generation: held.generation })
    }
}

/// Has the process that listens at `path` log in anew with this key, as after a refusal of the token that
/// it has, `held`; where it has none, log in at all. The error tells why there is no token.
pub async fn renew(path: &Path, key: &TokenKey, held: Option<&Secret>) -> io::Result<Option<Peeked>> {
    let asked = Instant::now();
    let (not, refused) = (held.map(digest).unwrap_or_default(), held.is_some());
    let answer = ask(path, &Question::Want { want: key.hex(), not, refused }).await?;
    Ok(answer.peeked(asked))
}

/// How a process that drains comes by tokens: it asks the one that listens there now, which need not
/// be the one that took over from it.
pub(super) fn successors(path: PathBuf, key: String, cell: &Arc<Cell>) -> Fetch {
    let latest = Mutex::new(cell.carry().map(|carried| digest(&carried.token)).unwrap_or_default());
    let asker = Arc::new(Asker { path, key, cell: Arc::downgrade(cell), latest });
    Arc::new(move || {
        let asker = Arc::clone(&asker);
        Box::pin(async move { asker.fetch().await })
    })
}

struct Asker {
    path: PathBuf,
    key: String,
    cell: Weak<Cell>,
    /// The digest of the last token that this process had.
    latest: Mutex<String>,
}

impl Asker {
    async fn fetch(&self) -> Result<Grant, TokenFault> {
        let not = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused = self.cell.upgrade().is_none_or(|cell| cell.carry().is_none());
        let question = Question::Want { want: self.key.clone(), not, refused };
        let answer = ask_whoever_is_there(&self.path, &question).await.map_err(|error| {
            tracing::warn!(%error, "no newer token from the process that took over");
            TokenFault::new(FaultClass::Transient, FaultReason::Unreachable)
        })?;
        // The cell counts its life from before it was asked for.
        let token = answer.tokens.first().and_then(|held| held.carried(Duration::ZERO));
        let token = token.ok_or_else(|| TokenFault::new(FaultClass::Transient, FaultReason::NoToken))?;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = digest(&token.token);
        Ok(Grant::new(token.token, Some((token.left, token.source))))
    }
}

/// Tells a token from another without telling it.
pub(super) fn digest(token: &Secret) -> String {
    hex(&Sha256::digest(token.expose()))
}

/// The process there may be handing over in its turn, and drop a question for that.
async fn ask_whoever_is_there(path: &Path, question: &Question) -> io::Result<Answer> {
    let mut tries = 0;
    loop {
        let broken = match ask(path, question).await {
            Err(error) if !matches!(error.kind(), io::ErrorKind::Other | io::ErrorKind::TimedOut) => error,
            answered => return answered,
        };
        tries += 1;
        if tries == TRIES {
            return Err(broken);
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

/// One question, one answer.
async fn ask(path: &Path, question: &Question) -> io::Result<Answer> {
    let asking = async {
        let mut wire = Wire::new(UnixStream::connect(path).await?);
        if !wire.is_own_users() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user's process listens there"));
        }
        wire.say(question, &[]).await?;
        let line = wire.hear(LONGEST_ANSWER).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let answer: Answer = serde_json::from_slice(&line)?;
        match answer.error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(answer),
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
