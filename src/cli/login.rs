//! Logging in with credentials of the configuration, once each, by the cells that `run` would use.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::ready::Ready;
use super::words;
use crate::config::CredentialSettings;
use crate::token::{BootClock, Cell, Clock, Token, Unavailable};
use crate::vendor::{FaultClass, FaultReason, LifetimeSource, TokenFault};

/// A login is bounded by its credential's `timeout`; this is for what comes around it.
const GRACE: Duration = Duration::from_secs(5);

/// A wait that is shorter needs no sign of life.
const SHORT: Duration = Duration::from_millis(500);

/// A token that was just obtained.
pub(super) struct Obtained {
    pub(super) token: Arc<Token>,
    /// `None` is for ever.
    pub(super) lifetime: Option<Duration>,
    /// How long after the login a proxy would renew it; `None` where it is served to its end.
    pub(super) renewal: Option<Duration>,
    /// How long the login took.
    took: Duration,
}

/// A login's end.
pub(super) type Outcome = Result<Obtained, Unavailable>;

/// Logs in with each of these credentials, all at once, and hands over each outcome in their order.
pub(super) fn log_in<'s>(
    ready: &Ready,
    credentials: impl IntoIterator<Item = &'s CredentialSettings>,
    mut tell: impl FnMut(&'s CredentialSettings, Outcome),
) {
    let _entered = ready.runtime.enter();
    let under_way: Vec<_> = credentials
        .into_iter()
        .filter_map(|credential| {
            let cell = Arc::clone(ready.assembled.cells.get(&credential.name)?);
            Some((credential, tokio::spawn(obtain(cell, credential.timeout + GRACE))))
        })
        .collect();
    for (credential, task) in under_way {
        let what = format!("logging in with {}", words::plain(&credential.name));
        let outcome = ready.runtime.block_on(with_progress(&what, task)).unwrap_or_else(|_| {
            let fault = TokenFault::new(FaultClass::Transient, FaultReason::Interrupted);
            Err(Unavailable::Fault { fault, retry_after: Duration::ZERO })
        });
        tell(credential, outcome);
    }
}

async fn obtain(cell: Arc<Cell>, patience: Duration) -> Outcome {
    let (began, clock) = (Instant::now(), BootClock.now());
    let token = cell.acquire(patience).await?;
    let since = |moment| clock.until(moment);
    Ok(Obtained { lifetime: token.expires.map(since), renewal: token.renew.map(since), took: began.elapsed(), token })
}

/// Shows on a terminal that it is still waiting.
async fn with_progress<T>(what: &str, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    if !io::stderr().is_terminal() {
        return future.await;
    }
    let began = Instant::now();
    let mut shown = false;
    loop {
        tokio::select! {
            result = &mut future => {
                if shown {
                    let _ = write!(io::stderr(), "\r\x1b[K");
                }
                return result;
            }
            () = tokio::time::sleep(SHORT) => {
                let _ = write!(io::stderr(), "\r\x1b[K{what}, {}s ", began.elapsed().as_secs());
                shown = true;
            }
        }
    }
}

impl Obtained {
    /// `a token for 1h, by the answer`.
    pub(super) fn sentence(&self) -> String {
        match self.lifetime {
            Some(lifetime) => format!("a token for {}, {}", words::duration(lifetime), said_by(self.token.source)),
            None => "a token that never expires".to_owned(),
        }
    }

    /// What programs are told; never the token.
    pub(super) fn json(&self) -> Map<String, Value> {
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 10.0).round() / 10.0);
        let source = match (self.lifetime, self.token.source) {
            (None, _) => Value::Null,
            (_, LifetimeSource::Answer) => json!("answer"),
            (_, LifetimeSource::Token) => json!("token"),
            (_, LifetimeSource::Configured) => json!("configuration"),
        };
        Map::from_iter([
            ("lifetime_seconds".to_owned(), json!(seconds(self.lifetime))),
            ("lifetime_source".to_owned(), source),
            ("renewed_after_seconds".to_owned(), json!(seconds(self.renewal))),
            ("login_seconds".to_owned(), json!(seconds(Some(self.took)))),
        ])
    }
}

/// Where a lifetime is known from.
pub(super) fn said_by(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::Answer => "as the vendor's answer says",
        LifetimeSource::Token => "as the token itself says (exp and iat)",
        LifetimeSource::Configured => "as `lifetime` or its default says, since neither the answer nor the token does",
    }
}

/// What went wrong, with the vendor's code, and what to do about it.
pub(super) fn complaint(unavailable: &Unavailable) -> (String, &'static str) {
    match unavailable {
        Unavailable::Fault { fault, .. } => (fault.to_string(), advice(fault)),
        other => (other.to_string(), "try again"),
    }
}

/// What programs are told of a fault.
pub(super) fn fault_json(unavailable: &Unavailable) -> Value {
    let (message, mend) = complaint(unavailable);
    let fault = match unavailable {
        Unavailable::Fault { fault, .. } => Some(fault),
        _ => None,
    };
    json!({
        "message": message,
        "mend": mend,
        "code": fault.and_then(|fault| fault.code.as_deref()),
        "refused": fault.is_some_and(|fault| fault.class == FaultClass::Refused),
        "retry_after_seconds": fault.and_then(|fault| fault.retry_after).map(|time| time.as_secs()),
    })
}

fn advice(fault: &TokenFault) -> &'static str {
    match fault.reason {
        FaultReason::Unreachable => "check the host and port of its URL, and whether this machine may reach it",
        FaultReason::Certificate => "if its authority is one of your own, name it with the credential's `ca`",
        FaultReason::Timeout => "try again, or wait longer with the credential's `timeout`",
        FaultReason::Status(429) => "the vendor limits logins: wait before the next",
        FaultReason::Status(404 | 405) => "check the endpoint's URL",
        FaultReason::Status(500..) => "the vendor is in trouble: try again later",
        FaultReason::Redirect => "check the endpoint's URL: a login is sent nowhere else",
        FaultReason::Empty | FaultReason::TooLarge | FaultReason::Unreadable | FaultReason::NoToken => {
            "check that the URL is that of the token endpoint"
        }
        FaultReason::RefreshToken => {
            "log in at the vendor by hand, and write its new refresh token into `refresh_token`"
        }
        FaultReason::KeptRefreshToken => {
            "it was revoked, or used up elsewhere: log in at the vendor by hand, and write its new refresh token into \
             `refresh_token`, which then counts instead of the kept one"
        }
        FaultReason::Unsayable => "check the credential's keys and refresh token",
        FaultReason::Unkept => "check that the credential's `state_file`, or the store, can be written to",
        FaultReason::StoreAway => "check the `url` of `store`, and whether it runs",
        FaultReason::Interrupted | FaultReason::Elsewhere => "try again",
        FaultReason::BadToken => "the vendor's answer is of no use: ask the vendor",
        FaultReason::Status(_) | FaultReason::ErrorInside if fault.class == FaultClass::Refused => {
            "check the credential's ids and secrets, and that they are for this environment"
        }
        FaultReason::Status(_) | FaultReason::ErrorInside => "look the vendor's code up, and try again",
    }
}
