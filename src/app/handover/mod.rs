//! A deploy without a gap: a new process takes the listening sockets and the tokens of the running one.
//!
//! The running process listens on a Unix socket, the `hatch`, which is for its own user only. A new
//! one that finds somebody there asks for everything (`take`), binds what is still missing, serves,
//! and says so; only then the old one (`give`) stops accepting and drains. Until then it goes on as
//! before, whatever becomes of the new one, and no login is begun meanwhile: the sockets are shared
//! for a moment, an exclusive token cannot be. `book` has the tokens, `message` what is said, `wire`
//! how, and `ask` puts the questions that need no more than an answer.

mod ask;
mod book;
mod give;
mod hatch;
mod message;
mod take;
mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use ask::{Peeked, peek, renew};
pub(super) use book::Book;
pub(super) use give::Giver;
pub(super) use hatch::Hatch;
pub(super) use message::Socket;
pub(super) use take::{Taken, take};

/// For one line of the other process, and for writing one.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why nothing was taken over from a process that is there.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The socket cannot be made.
    #[error("the handover socket {0} cannot be made: {1}")]
    Hatch(PathBuf, #[source] io::Error),
    /// The socket cannot be connected to, or the connection broke.
    #[error("the process at the handover socket {0} cannot be asked: {1}")]
    Ask(PathBuf, #[source] io::Error),
    /// It says nothing.
    #[error("the process at the handover socket {0} does not answer; end it, or name another socket")]
    Silent(PathBuf),
    /// It runs as another user.
    #[error("the process at the handover socket {0} is another user's, and not to be trusted with anything")]
    Foreign(PathBuf),
    /// It says no.
    #[error("the process at the handover socket {0} hands nothing over: {1}")]
    Refused(PathBuf, String),
    /// It says what no proxy says.
    #[error("the process at the handover socket {0} answers what cannot be understood: {1}")]
    Nonsense(PathBuf, String),
}
