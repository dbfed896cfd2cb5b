//! The admin port's socket and connections: on the control thread, until the very end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::admin::{About, Admin, Gate, Wish};
use crate::config::{AdminSettings, ListenAddress, StoreSettings};
use crate::live::Live;
use crate::model::KeyDigest;
use crate::server::{Bound, pause_after};
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
    /// Another process has the socket.
    leave: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
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
        let leave = Arc::new(Notify::new());
        let accepting = tokio::spawn(accept(bound, Arc::clone(&admin), Arc::clone(&leave)));
        let ticking = tokio::spawn(tick(Arc::clone(&admin)));
        Self { admin, leave, tasks: [accepting, ticking] }
    }

    /// The proxy drains. Where another process has taken over, what comes from now on is for that one.
    pub(super) fn drain(&self, handed_over: bool) {
        self.admin.drain();
        if handed_over {
            self.leave.notify_one();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn accept(bound: Arc<Bound>, admin: Arc<Admin>, leave: Arc<Notify>) {
    let mut bound = Some(bound);
    let mut connections = JoinSet::new();
    let mut ages: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let next = async {
            match &bound {
                Some(bound) => bound.connection().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = leave.notified() => bound = None,
            Some(_) = connections.join_next() => ages.retain(|connection| !connection.is_finished()),
            stream = next => match stream {
                Ok(stream) => {
                    if ages.len() >= MOST && let Some(oldest) = ages.pop_front() {
                        oldest.abort();
                    }
                    ages.push_back(connections.spawn(Arc::clone(&admin).connection(stream)));
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
}

async fn tick(admin: Arc<Admin>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        admin.tick();
    }
}
