//! The running process's side: it answers whoever asks, and gives all it has to the one that takes over.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::message::{Answer, LONGEST_QUESTION, Question, Serving, Socket, TAKE};
use super::wire::Wire;
use super::{Book, DEADLINE, Hatch};
use crate::server::Bound;

/// From giving everything to being told that the new process serves.
const SERVING: Duration = Duration::from_secs(30);
/// How long logins that are under way are waited for. The new process has to have its answer in time.
const SETTLE: Duration = Duration::from_secs(5);
/// Peers that are dealt with at once; others wait in the kernel's queue.
const MOST_PEERS: usize = 64;

/// All that there is to give.
pub(crate) struct Giver {
    hatch: Hatch,
    /// Not to keep open what the accepting tasks close.
    bound: Vec<Weak<Bound>>,
    book: Arc<Book>,
    /// Held while a process takes over.
    turn: Mutex<()>,
    given: AtomicBool,
    told: Notify,
}

impl Giver {
    pub(crate) fn new(hatch: Hatch, bound: &[Arc<Bound>], book: Arc<Book>) -> Arc<Self> {
        let bound = bound.iter().map(Arc::downgrade).collect();
        Arc::new(Self {
            hatch,
            bound,
            book,
            turn: Mutex::default(),
            given: AtomicBool::new(false),
            told: Notify::new(),
        })
    }

    /// Completes when everything is another process's.
    pub(crate) async fn given(&self) {
        self.told.notified().await;
    }

    /// Waits until a process that is taking over has done so or not; whether it has.
    pub(crate) async fn decided(&self) -> bool {
        drop(self.turn.lock().await);
        self.given.load(Ordering::Acquire)
    }

    /// Answers until dropped.
    pub(crate) async fn serve(self: Arc<Self>) {
        let mut peers = JoinSet::new();
        loop {
            // Who comes while all this is being given away is for whoever has it then.
            drop(self.turn.lock().await);
            tokio::select! {
                peer = self.hatch.accept(), if peers.len() < MOST_PEERS => match peer {
                    Ok(stream) => drop(peers.spawn(Arc::clone(&self).answer(stream))),
                    Err(error) => {
                        tracing::warn!(%error, "the handover socket cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = peers.join_next() => {}
            }
        }
    }

    async fn answer(self: Arc<Self>, stream: UnixStream) {
        let mut wire = Wire::new(stream);
        if !wire.is_own_users() {
            tracing::warn!("another user's process was turned away at the handover socket");
            return;
        }
        let question = match heard(&mut wire, DEADLINE).await {
            Ok(line) => serde_json::from_slice(&line).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        let answered = match question {
            Ok(Question::Take { take: TAKE, version }) => self.give(&mut wire, &version).await,
            Ok(Question::Take { .. }) => say(&wire, &Answer::error("this version hands over in another way")).await,
            Ok(Question::Peek { peek }) => {
                let tokens = self.book.peek(&peek).into_iter().collect();
                say(&wire, &Answer { tokens, ..Answer::default() }).await
            }
            Ok(Question::Want { want, not, refused }) => {
                let answer = match self.book.renewed(&want, &not, refused).await {
                    Ok(held) => Answer { tokens: vec![held], ..Answer::default() },
                    Err(why) => Answer::error(why),
                };
                say(&wire, &answer).await
            }
            Err(error) => {
                tracing::warn!(%error, "a question at the handover socket was not understood");
                say(&wire, &Answer::error("a question that is not understood")).await
            }
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "a peer at the handover socket went away");
        }
    }

    /// Gives everything away, and has it back where the new process does not come to serve.
    async fn give(&self, wire: &mut Wire, version: &str) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        if self.given.load(Ordering::Acquire) {
            // Without an answer it asks again, and finds the process that has everything now.
            return Ok(());
        }
        tracing::info!(version, "handing over to a new process");
        match self.exchange(wire).await {
            Ok(()) => {
                tracing::info!("handed over");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the new process does not serve; this one goes on as before");
                Err(error)
            }
        }
    }

    async fn exchange(&self, wire: &mut Wire) -> io::Result<()> {
        let paused = self.book.pause();
        let settled = paused.settle(SETTLE).await;
        if !settled {
            tracing::warn!("a login is still under way: the new process may have to make another");
        }
        let bound: Vec<Arc<Bound>> = self.bound.iter().filter_map(Weak::upgrade).collect();
        let answer = Answer {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            listeners: bound.iter().map(|bound| socket(bound)).collect(),
            tokens: self.book.carry(settled),
            ..Answer::default()
        };
        let descriptors: Vec<_> = bound.iter().map(AsFd::as_fd).chain([self.hatch.as_fd()]).collect();
        timeout(DEADLINE, wire.say(&answer, &descriptors)).await??;
        drop(answer);
        let line = heard(wire, SERVING).await?;
        if !serde_json::from_slice::<Serving>(&line)?.serving {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it says that it does not serve"));
        }
        // The last word is this one's: until the new process has it, it is not the only one.
        say(wire, &Answer { yours: true, ..Answer::default() }).await?;
        self.book.follow(self.hatch.path());
        drop(paused);
        for bound in &bound {
            bound.keep_file(true);
        }
        self.hatch.keep_file(true);
        self.given.store(true, Ordering::Release);
        self.told.notify_one();
        Ok(())
    }
}

fn socket(bound: &Bound) -> Socket {
    Socket { configured: bound.configured().to_string(), keeps_file: bound.keeps_file() }
}

async fn heard(wire: &mut Wire, within: Duration) -> io::Result<super::wire::Wiped> {
    timeout(within, wire.hear(LONGEST_QUESTION)).await??.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn say(wire: &Wire, answer: &Answer) -> io::Result<()> {
    timeout(DEADLINE, wire.say(answer, &[])).await?
}
