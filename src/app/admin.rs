//! The admin port's socket and connections: on the control thread, until the very end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::admin::{About, Admin, Gate, Wish};
use crate::config::{AdminSettings, ListenAddress, StoreSettings};
use crate::live::Live;
use crate::model::KeyDigest;
use crate::server::{Bound, Trouble};
use crate::telemetry::metrics::Metrics;

/// Connections at once. Of more, the oldest goes: whoever holds many without a word must not keep a probe
/// out.
const MOST: usize = 128;

/// What the admin port is told at the start.
pub(super) struct Facts<'a> {
    pub(super) config: &'a Path,
    pub(super) begun: (SystemTime, Instant),
    pub(super) listeners: &'a [Arc<Bound>],
    pub(super) store: &'a StoreSettings,
    pub(super) live: Arc<Live>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) wishes: mpsc::Sender<Wish>,
}

/// The admin port while it answers.
pub(super) struct Port {
    admin: Arc<Admin>,
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
    ticking: JoinHandle<()>,
}

/// What becomes of the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Connections are accepted.
    Open,
    /// Another process has it; those that are here are served on.
    Given,
    /// This is over.
    Over,
}

impl Port {
    /// Answers from now on.
    pub(super) fn open(settings: &AdminSettings, bound: Arc<Bound>, facts: Facts<'_>) -> Self {
        let token = settings.token.as_ref().map(|token| KeyDigest::of(token.expose().as_bytes()));
        let is_unix = matches!(settings.address, ListenAddress::Unix(_));
        let gate = Gate::new(token, settings.hosts.clone(), is_unix);
        let (started, begun) = facts.begun;
        let about = About {
            started,
            begun,
            config: facts.config.display().to_string(),
            listeners: facts.listeners.iter().map(|bound| bound.address().to_string()).collect(),
            store: match facts.store {
                StoreSettings::Memory => "memory",
                StoreSettings::Redis(_) => "redis",
            },
        };
        let admin = Admin::new(gate, facts.live, facts.metrics, about, facts.wishes);
        let (phase, told) = watch::channel(Phase::Open);
        let accepting = tokio::spawn(accept(bound, Arc::clone(&admin), told));
        let ticking = tokio::spawn(tick(Arc::clone(&admin)));
        Self { admin, phase, accepting, ticking }
    }

    /// The proxy drains. Where another process has taken over, what comes from now on is for that one.
    pub(super) fn drain(&self, handed_over: bool) {
        self.admin.drain();
        if handed_over {
            self.phase.send_replace(Phase::Given);
        }
    }

    /// Ends it; what it had of the tokens is then let go.
    pub(super) async fn close(self) {
        self.phase.send_replace(Phase::Over);
        self.ticking.abort();
        drop(self.ticking.await);
        drop(self.accepting.await);
    }
}

async fn accept(bound: Arc<Bound>, admin: Arc<Admin>, mut phase: watch::Receiver<Phase>) {
    let mut bound = Some(bound);
    let mut connections = JoinSet::new();
    let mut ages: VecDeque<AbortHandle> = VecDeque::new();
    let mut trouble = Trouble::default();
    loop {
        let next = async {
            match &bound {
                Some(bound) => bound.connection().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = phase.changed() => match (told, *phase.borrow_and_update()) {
                (Ok(()), Phase::Open) => {}
                (Ok(()), Phase::Given) => bound = None,
                (Ok(()), Phase::Over) | (Err(_), _) => break,
            },
            Some(_) = connections.join_next() => ages.retain(|connection| !connection.is_finished()),
            stream = next => match stream {
                Ok((stream, peer)) => {
                    trouble.is_over();
                    if ages.len() >= MOST && let Some(oldest) = ages.pop_front() {
                        oldest.abort();
                    }
                    ages.push_back(connections.spawn(Arc::clone(&admin).connection(stream, peer)));
                }
                Err(error) => trouble.pause_after(&error).await,
            },
        }
    }
    drop(bound);
    connections.shutdown().await;
}

async fn tick(admin: Arc<Admin>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        admin.tick();
    }
}
