//! Commands: one connection for all of them, a bound on each, and a breaker before a store that is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, PushInfo, RedisResult, ScriptInvocation, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::server::{Failure, Server};
use crate::token::Away;

/// After a failure nobody asks for so long: a dead store costs requests nothing.
const REST: Duration = Duration::from_millis(500);
/// A connection may take longer than a command: it is made beside the commands, and kept.
const CONNECT: Duration = Duration::from_secs(2);

/// What a store is asked.
pub(super) enum Ask<'a> {
    Script(&'a ScriptInvocation<'a>),
    Command(&'a Cmd),
}

/// The connection for commands, made when it is first needed.
#[derive(Debug)]
pub(super) struct Link {
    server: Arc<Server>,
    patience: Duration,
    spawner: Handle,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    health: Mutex<Health>,
    /// Told when the store is found away.
    pub(super) lost: Notify,
}

#[derive(Clone, Debug)]
struct Open {
    number: u64,
    connection: MultiplexedConnection,
}

#[derive(Debug, Default)]
struct Health {
    away: bool,
    /// Until then nobody asks; behind it one does.
    rest_until: Option<Instant>,
}

impl Link {
    pub(super) fn new(server: Arc<Server>, patience: Duration, spawner: Handle) -> Self {
        let (open, health) = (Arc::default(), Mutex::default());
        Self { server, patience, spawner, open, health, lost: Notify::new() }
    }

    /// How long one command may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The answer, or [`Away`]: within the time of one command, and at once while the store is known
    /// to be away.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Value, Away> {
        if self.admits() { self.attempt(ask).await } else { Err(Away) }
    }

    /// Whether it answers now, whatever was known of it: the breaker closes if it does.
    pub(super) async fn knock(&self) -> bool {
        self.attempt(Ask::Command(&Cmd::ping())).await.is_ok()
    }

    async fn attempt(&self, ask: Ask<'_>) -> Result<Value, Away> {
        let mut used = None;
        let failure = match timeout(self.patience, self.twice(&ask, &mut used)).await {
            Ok(Ok(value)) => {
                self.found();
                return Ok(value);
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Timeout,
        };
        // Whatever it was, the next one begins afresh: a half-dead connection is told by its silence
        // alone, and one to a server that has become a replica by its refusals.
        self.forget(used);
        self.failed(&failure);
        Err(Away)
    }

    /// Whether the last command was answered.
    pub(super) fn is_away(&self) -> bool {
        self.health().away
    }

    /// Asks; once more on a fresh connection where one from before turned out to be dead. Every
    /// script may be run twice.
    async fn twice(&self, ask: &Ask<'_>, used: &mut Option<u64>) -> Result<Value, Failure> {
        let (open, is_fresh) = self.open().await?;
        *used = Some(open.number);
        match once(ask, open.connection).await {
            Err(error) if !is_fresh && error.is_connection_dropped() => {
                self.forget(*used);
                let (open, _) = self.open().await?;
                *used = Some(open.number);
                Ok(once(ask, open.connection).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// The connection that is open, or a new one, and whether it is new. One who does not wait for
    /// it to the end does not break it off.
    async fn open(&self) -> Result<(Open, bool), Failure> {
        if let Some(open) = self.open.lock().await.as_ref() {
            return Ok((open.clone(), false));
        }
        let (slot, server, spawner) = (Arc::clone(&self.open), Arc::clone(&self.server), self.spawner.clone());
        let opening = self.spawner.spawn(async move {
            let mut slot = slot.lock().await;
            if let Some(open) = slot.as_ref() {
                return Ok(open.clone());
            }
            let silent = None::<fn(PushInfo) -> Result<(), ()>>;
            let (connection, driver) =
                timeout(CONNECT, server.connect(silent)).await.map_err(|_| Failure::Timeout)??;
            spawner.spawn(driver);
            let open = Open { number: fastrand::u64(..), connection };
            *slot = Some(open.clone());
            Ok(open)
        });
        opening.await.unwrap_or(Err(Failure::Broken)).map(|open| (open, true))
    }

    fn forget(&self, used: Option<u64>) {
        // Whoever holds the lock is making a new one.
        if let (Some(used), Ok(mut open)) = (used, self.open.try_lock())
            && open.as_ref().is_some_and(|open| open.number == used)
        {
            *open = None;
        }
    }

    fn admits(&self) -> bool {
        let mut health = self.health();
        match health.rest_until {
            None => true,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                health.rest_until = Some(Instant::now() + REST);
                true
            }
        }
    }

    fn found(&self) {
        let mut health = self.health();
        health.rest_until = None;
        if std::mem::take(&mut health.away) {
            tracing::info!(target: "tokenferry::store", "the store is back");
        }
    }

    fn failed(&self, failure: &Failure) {
        let mut health = self.health();
        health.rest_until = Some(Instant::now() + REST);
        if !std::mem::replace(&mut health.away, true) {
            tracing::warn!(target: "tokenferry::store", reason = %failure, "the store is away: each process logs in for itself");
            self.lost.notify_one();
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn once(ask: &Ask<'_>, mut connection: MultiplexedConnection) -> RedisResult<Value> {
    match ask {
        Ask::Script(script) => script.invoke_async(&mut connection).await,
        Ask::Command(command) => command.query_async(&mut connection).await,
    }
}
