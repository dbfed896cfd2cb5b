//! The tokens of the configuration's credentials, one each: the one that a running proxy or the store
//! has, else a login by the cell that `run` would use.

mod found;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::ready::Ready;
use super::{Format, wait, words};
use crate::config::CredentialSettings;
use crate::token::{Cell, TokenKey, Unavailable};
use crate::vendor::{FaultClass, FaultReason, TokenFault};

pub(super) use found::Found;
use found::{Looked, Origin, look};

/// A login is bounded by its credential's `timeout`; this is for what comes around it.
const GRACE: Duration = Duration::from_secs(5);

/// Why there is no token to show.
#[derive(Debug)]
pub(super) enum NoToken {
    /// There is none to be had.
    Unavailable(Unavailable),
    /// A login might kill a live one, and nobody asked for that; why nobody knows, if anybody was asked.
    Spared(Option<String>),
    /// The running proxy has none, and says why.
    Running(String),
}

/// What came of a credential.
pub(super) type Outcome = Result<Found, NoToken>;

/// Finds or obtains a token of each of these credentials, all at once, and hands over each outcome in
/// their order.
pub(super) fn obtain_all<'s>(
    ready: &Ready,
    credentials: impl IntoIterator<Item = &'s CredentialSettings>,
    manner: Manner,
    mut tell: impl FnMut(&'s CredentialSettings, Outcome),
) {
    let _entered = ready.runtime.enter();
    let handover = ready.loaded.settings.handover.as_deref();
    let under_way: Vec<_> = credentials
        .into_iter()
        .filter_map(|credential| {
            let cell = Arc::clone(ready.assembled.cells.get(&credential.name)?);
            let key = ready.assembled.key_of(&credential.name);
            let running = handover.map(ToOwned::to_owned).zip(key);
            let patience = credential.timeout + GRACE;
            // A fixed token costs nobody anything.
            let exclusive = credential.exclusive && key.is_some();
            let obtaining = obtain(cell, running, Asked { exclusive, force: manner.force, patience });
            Some((credential, tokio::spawn(obtaining)))
        })
        .collect();
    for (credential, task) in under_way {
        let what = format!("obtaining a token of {}", words::plain(&credential.name));
        let outcome = ready.runtime.block_on(wait::shown(&what, manner.format, task)).unwrap_or_else(|_| {
            let fault = TokenFault::new(FaultClass::Transient, FaultReason::Interrupted);
            Err(NoToken::Unavailable(Unavailable::Fault { fault, retry_after: Duration::ZERO }))
        });
        tell(credential, outcome);
    }
}

/// How tokens are obtained.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Always by a login.
    pub(super) force: bool,
    /// How the result is written: a person sees what is waited for.
    pub(super) format: Format,
}

/// How a token is asked for.
#[derive(Clone, Copy)]
struct Asked {
    exclusive: bool,
    force: bool,
    patience: Duration,
}

async fn obtain(cell: Arc<Cell>, running: Option<(PathBuf, TokenKey)>, asked: Asked) -> Outcome {
    let looked = look(&cell, running.as_ref().map(|(path, key)| (path.as_path(), key)), asked.force).await?;
    match looked {
        Looked::Found(found) => return Ok(found),
        Looked::Unknown(why) if asked.exclusive && !asked.force => return Err(NoToken::Spared(why)),
        Looked::None | Looked::Unknown(_) => {}
    }
    let began = Instant::now();
    let mut token = cell.acquire(asked.patience).await.map_err(NoToken::Unavailable)?;
    if asked.force && cell.status().fetches == 0 {
        // What came was the replicas' own, and lives: it is replaced through the barrier that spans them.
        token = cell.renew(asked.patience).await.map_err(NoToken::Unavailable)?;
    }
    // Whoever logs in for all replicas must not go before they know.
    cell.settled().await;
    let origin = if cell.status().fetches > 0 { Origin::Login } else { Origin::Store };
    Ok(Found::new(&token, origin, began.elapsed()))
}

impl NoToken {
    /// Why a login was not made.
    pub(super) fn spared(why: Option<&str>) -> String {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!(
            "a new token of this credential invalidates the earlier ones, and so the one that a running proxy may be \
             using{why}; --force logs in all the same"
        )
    }
}

/// What went wrong, with the vendor's code, and what to do about it.
pub(super) fn complaint(unavailable: &Unavailable) -> (String, &'static str) {
    match unavailable {
        Unavailable::Fault { fault, .. } => (fault.to_string(), fault.mend()),
        other => (other.to_string(), "try again"),
    }
}

/// What programs are told of a credential's outcome; never the token.
pub(super) fn outcome_json(credential: &CredentialSettings, outcome: &Outcome) -> Map<String, Value> {
    let mut told = Map::from_iter([("credential".to_owned(), json!(credential.name))]);
    let mut tell = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
    match outcome {
        Ok(found) => {
            tell("outcome", json!("token"));
            told.append(&mut found.json());
        }
        Err(NoToken::Spared(why)) => {
            tell("outcome", json!("not tried"));
            tell("reason", json!(not_tried(why.as_deref())));
        }
        Err(NoToken::Running(why)) => {
            tell("outcome", json!("no token"));
            tell("reason", json!(why));
        }
        Err(NoToken::Unavailable(unavailable)) => {
            tell("outcome", json!("no token"));
            tell("fault", fault_json(unavailable));
        }
    }
    told
}

/// Why an exclusive credential is left alone.
pub(super) fn not_tried(why: Option<&str>) -> String {
    format!("not tried: {}", NoToken::spared(why))
}

/// What programs are told of a fault.
fn fault_json(unavailable: &Unavailable) -> Value {
    let (message, mend) = complaint(unavailable);
    let fault = match unavailable {
        Unavailable::Fault { fault, .. } => Some(fault),
        _ => None,
    };
    json!({
        "message": message,
        "mend": mend,
        "reason": fault.map_or("waiting", |fault| fault.reason.word()),
        "code": fault.and_then(TokenFault::vendors_code),
        "refused": fault.is_some_and(|fault| fault.class == FaultClass::Refused),
        "retry_after_seconds": fault.and_then(|fault| fault.retry_after).map(|time| time.as_secs()),
    })
}
