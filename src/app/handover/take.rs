//! The new process's side: it takes what the running one has, and says when it serves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::message::{Answer, Held, LONGEST_ANSWER, Question, Serving, Socket, TAKE};
use super::wire::Wire;
use super::{DEADLINE, HandoverError};

/// How often a process is asked that closes without an answer.
const TRIES: usize = 5;

/// What the running process gave.
pub(crate) struct Taken {
    /// Its listening sockets.
    pub(crate) sockets: Vec<(Socket, OwnedFd)>,
    /// The handover socket itself.
    pub(crate) hatch: Option<OwnedFd>,
    /// Its tokens.
    pub(crate) tokens: Vec<Held>,
    path: PathBuf,
    asked: Instant,
    wire: Wire,
}

/// Asks the process at this socket for all that it has; `None` where there is none.
pub(crate) async fn take(path: &Path) -> Result<Option<Taken>, HandoverError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(HandoverError::Ask(path.to_owned(), error)),
        };
        match ask(path, stream).await {
            // It may have ended just now, or have given everything to another one that is there now.
            Err(HandoverError::Ask(..)) if tries < TRIES => {}
            taken => return taken.map(Some),
        }
    }
}

async fn ask(path: &Path, stream: UnixStream) -> Result<Taken, HandoverError> {
    let broken = |error| HandoverError::Ask(path.to_owned(), error);
    let nonsense = |what: &str| HandoverError::Nonsense(path.to_owned(), what.to_owned());
    let mut wire = Wire::new(stream);
    if !wire.is_own_users() {
        return Err(HandoverError::Foreign(path.to_owned()));
    }
    let asked = Instant::now();
    let question = Question::Take { take: TAKE, version: env!("CARGO_PKG_VERSION").to_owned() };
    let answer = match timeout(DEADLINE, exchange(&mut wire, &question)).await {
        Err(_) => return Err(HandoverError::Silent(path.to_owned())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => return Err(nonsense(&error.to_string())),
        Ok(answer) => answer.map_err(broken)?,
    };
    if let Some(error) = answer.error {
        return Err(HandoverError::Refused(path.to_owned(), error.chars().take(200).collect()));
    }
    let mut descriptors = wire.take_descriptors();
    let hatch = descriptors.pop().ok_or_else(|| nonsense("no sockets came"))?;
    if descriptors.len() != answer.listeners.len() {
        return Err(nonsense("it names other sockets than it gives"));
    }
    tracing::info!(
        sockets = descriptors.len(),
        tokens = answer.tokens.len(),
        version = answer.version.as_deref().unwrap_or_default(),
        "taking over from the running process"
    );
    let sockets = answer.listeners.into_iter().zip(descriptors).collect();
    Ok(Taken { sockets, hatch: Some(hatch), tokens: answer.tokens, path: path.to_owned(), asked, wire })
}

impl Taken {
    /// How long the tokens have been on their way, at most.
    pub(crate) fn on_its_way(&self) -> Duration {
        self.asked.elapsed()
    }

    /// Tells the old process that this one serves. Only when this has succeeded is everything this
    /// one's alone.
    pub(crate) async fn serving(mut self) -> Result<(), HandoverError> {
        match timeout(DEADLINE, exchange(&mut self.wire, &Serving { serving: true })).await {
            Err(_) => Err(HandoverError::Silent(self.path)),
            Ok(Err(error)) => Err(HandoverError::Ask(self.path, error)),
            Ok(Ok(Answer { yours: true, .. })) => Ok(()),
            Ok(Ok(answer)) => Err(HandoverError::Refused(self.path, answer.error.unwrap_or_default())),
        }
    }
}

async fn exchange(wire: &mut Wire, message: &impl serde::Serialize) -> io::Result<Answer> {
    wire.say(message, &[]).await?;
    let line = wire.hear(LONGEST_ANSWER).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_slice(&line)?)
}
