//! What is told, and when the store is back: the one task of a store.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Cmd, PushInfo, PushKind, Value};
use tokio::time::{sleep, timeout};

use super::Core;
use super::event::Event;
use super::server::Failure;

/// Between two attempts to hear again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For a connection with its handshakes, and the subscription.
const CONNECT: Duration = Duration::from_secs(2);
/// A silent connection is asked whether it lives.
const PROBE: Duration = Duration::from_secs(5);
/// Between two looks at a store that is away.
const LOOK: Duration = Duration::from_millis(500);

/// Runs until it is aborted.
pub(super) async fn listen(core: Arc<Core>) {
    tokio::join!(hear(&core), look(&core));
}

/// Hears, and hears again.
async fn hear(core: &Arc<Core>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        match subscribed(core, &mut pause).await {
            Ok(()) => told = false,
            Err(failure) => {
                // A store that is away as a whole is told of once, by its commands.
                if core.link.knock().await && !std::mem::replace(&mut told, true) {
                    tracing::warn!(target: "tokenferry::store", reason = %failure, "the store's messages cannot be heard");
                }
            }
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Hears until the connection ends; fails where there was none.
async fn subscribed(core: &Arc<Core>, pause: &mut Duration) -> Result<(), Failure> {
    let weak = Arc::downgrade(core);
    let heard = move |push: PushInfo| heard(&weak, &push);
    let (mut connection, driver) =
        timeout(CONNECT, core.server.connect(Some(heard))).await.map_err(|_| Failure::Timeout)??;
    let said = async {
        timeout(CONNECT, connection.subscribe(core.channel.as_str())).await.map_err(|_| Failure::Timeout)??;
        *pause = FIRST_PAUSE;
        // What was told meanwhile was not heard. Who is told so asks at once: the breaker must know first.
        if core.link.knock().await {
            core.back();
        }
        loop {
            sleep(PROBE).await;
            let ping = Cmd::ping();
            let pong = timeout(core.link.patience().max(PROBE), ping.query_async::<Value>(&mut connection)).await;
            if !matches!(pong, Ok(Ok(_))) {
                return Ok(());
            }
        }
    };
    tokio::select! {
        outcome = said => outcome,
        () = driver => Ok(()),
    }
}

fn heard(core: &Weak<Core>, push: &PushInfo) -> Result<(), ()> {
    let Some(core) = core.upgrade() else { return Err(()) };
    if let (PushKind::Message, Some(Value::BulkString(payload))) = (&push.kind, push.data.get(1))
        && let Some(event) = Event::read(payload)
    {
        core.heard(event);
    }
    Ok(())
}

/// Looks whether a store that is away is back, also where no request asks.
async fn look(core: &Arc<Core>) {
    loop {
        core.link.lost.notified().await;
        while core.link.is_away() {
            sleep(jittered(LOOK)).await;
            core.link.knock().await;
        }
        core.back();
    }
}

/// Replicas that lost the store at once do not come back at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}
