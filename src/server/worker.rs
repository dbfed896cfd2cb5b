//! A worker: one thread, one runtime, its own connections in both directions.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use super::connection::{Knock, serve};
use super::fresh::Plain;
use super::listen::Raw;
use super::pulse::Pulse;
use super::roster::{Roster, TICK};
use super::turnstile::Ticket;
use crate::live::Door;
use crate::proxy::{Proxy, Shared};

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No thread or no runtime.
    #[error("a worker cannot be started")]
    Start(#[source] io::Error),
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) raw: Raw,
    /// The listener's address.
    pub(super) listener: Arc<str>,
    pub(super) door: Door,
    pub(super) ticket: Ticket,
}

#[derive(Debug)]
enum Message {
    Connection(Accepted),
    Drain(Leave, Duration),
}

/// How a worker takes leave of the connections on which nothing is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// They are closed at once: nobody is there to answer any more.
    AtOnce,
    /// Each is let ask once more, and told with the answer that it was the last: another process
    /// answers already, and a request that crosses the closing would be lost for nothing.
    WithTheNextAnswer,
}

/// A handle to a worker's thread.
#[derive(Debug)]
pub struct Worker {
    messages: mpsc::UnboundedSender<Message>,
    load: Arc<AtomicUsize>,
    busy: Arc<AtomicUsize>,
    pulse: Arc<Pulse>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    pub fn start(number: usize, shared: Arc<Shared>) -> Result<Self, WorkerError> {
        let (messages, inbox) = mpsc::unbounded_channel();
        let (load, busy) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let pulse = Arc::new(Pulse::default());
        let (roster, its_pulse) = ((Arc::clone(&load), Arc::clone(&busy)), Arc::clone(&pulse));
        // The runtime cannot leave the thread that it runs on, so it is built there.
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let (runtime, error) = match runtime {
                Ok(runtime) => (Some(runtime), None),
                Err(error) => (None, Some(error)),
            };
            // Whoever started it waits for this.
            drop(started.send(error));
            if let Some(runtime) = runtime {
                runtime.block_on(work(inbox, shared, roster, its_pulse));
            }
        });
        let thread = thread.map_err(WorkerError::Start)?;
        match has_started.recv() {
            Ok(None) => Ok(Self { messages, load, busy, pulse, thread }),
            Ok(Some(error)) => Err(WorkerError::Start(error)),
            Err(gone) => Err(WorkerError::Start(io::Error::other(gone))),
        }
    }

    /// Connections it has.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Its connections on which a request was under way when it last looked at all of them.
    pub fn busy(&self) -> &Arc<AtomicUsize> {
        &self.busy
    }

    /// Its sign of life.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Whether its thread still takes connections.
    pub(super) fn is_alive(&self) -> bool {
        !self.messages.is_closed()
    }

    /// Hands it a connection. A worker that is gone is one that drains: the connection is dropped.
    pub(super) fn hand(&self, accepted: Accepted) {
        self.load.fetch_add(1, Ordering::Relaxed);
        if self.messages.send(Message::Connection(accepted)).is_err() {
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tells it to finish its requests within this time, then to end.
    pub fn drain(&self, leave: Leave, deadline: Duration) {
        // A worker that is gone has nothing to finish.
        drop(self.messages.send(Message::Drain(leave, deadline)));
    }

    /// Waits for its end. Blocks.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

async fn work(
    mut inbox: mpsc::UnboundedReceiver<Message>,
    shared: Arc<Shared>,
    (load, busy): (Arc<AtomicUsize>, Arc<AtomicUsize>),
    pulse: Arc<Pulse>,
) {
    let roster = Rc::new(Roster::new(load, busy));
    let proxy = Proxy::new(shared);
    // One regular tick also spares every other timer its own wake-up of the runtime.
    let ticking = tokio::task::spawn_local(tick(Rc::clone(&roster), Rc::clone(&proxy), Arc::clone(&pulse)));
    let (mut leave, mut deadline) = (Leave::AtOnce, Duration::ZERO);
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Connection(accepted) => welcome(accepted, &roster, &proxy),
            Message::Drain(how, within) => {
                (leave, deadline) = (how, within);
                break;
            }
        }
    }
    // What was accepted before the drain is still served.
    while let Ok(Message::Connection(accepted)) = inbox.try_recv() {
        welcome(accepted, &roster, &proxy);
    }
    match leave {
        Leave::AtOnce => roster.drain(),
        Leave::WithTheNextAnswer => roster.drain_gently(deadline / 2),
    }
    let emptied = async {
        while roster.left() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(deadline, emptied).await.is_err() {
        tracing::warn!(connections = roster.left(), "connections cut off at the end of the drain");
    }
    ticking.abort();
    pulse.rest();
}

fn welcome(accepted: Accepted, roster: &Rc<Roster>, proxy: &Rc<Proxy>) {
    let member = roster.join(accepted.ticket);
    let peer = accepted.raw.peer();
    let stream = match accepted.raw {
        Raw::Tcp(stream, _) => TcpStream::from_std(stream).map(Plain::Tcp),
        Raw::Unix(stream) => UnixStream::from_std(stream).map(Plain::Unix),
    };
    match stream {
        Ok(stream) => {
            let Accepted { listener, door, .. } = accepted;
            let knock = Knock { stream, peer, listener, door };
            tokio::task::spawn_local(serve(knock, member, Rc::clone(proxy)));
        }
        Err(error) => tracing::warn!(%error, "connection not taken"),
    }
}

async fn tick(roster: Rc<Roster>, proxy: Rc<Proxy>, pulse: Arc<Pulse>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = Instant::now();
        roster.tick(now, &proxy.patience());
        proxy.tick(now);
        pulse.beat();
    }
}
