//! What the admin port does: reload, and renew a token.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::answer::{Answer, Refusal, json as json_answer};
use super::port::Admin;
use crate::live::{Outcome, Reload};
use crate::token::{BootClock, Clock, Unavailable};
use crate::vendor::TokenFault;

/// A large configuration on a busy machine is read in seconds.
const RELOAD: Duration = Duration::from_secs(120);
/// For a login that an operator waits for.
const LOGIN: Duration = Duration::from_secs(15);

impl Admin {
    /// Has the control thread reload, and waits for what comes of it. Whoever goes away meanwhile does
    /// not stop it.
    pub(super) async fn reload(&self) -> Answer {
        let (wish, told) = oneshot::channel();
        if self.is_draining() {
            return Refusal::Draining.answer();
        }
        let asking = async {
            // An error, here as there: nobody reloads any more.
            self.wishes.send(wish).await.ok()?;
            told.await.ok()
        };
        match tokio::time::timeout(RELOAD, asking).await {
            Ok(Some(reload)) => {
                let refused = reload.outcome == Outcome::Refused;
                let status = if refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
                json_answer(status, &verdict(&reload))
            }
            Ok(None) => Refusal::Draining.answer(),
            Err(_) => Refusal::Slow.answer(),
        }
    }

    /// Has a credential's token replaced by another.
    pub(super) async fn refresh(&self, name: &str) -> Answer {
        let cell = {
            let snapshot = self.live.load();
            let Some(listed) = snapshot.directory.credentials.iter().find(|listed| listed.name == name) else {
                return Refusal::Credential.answer();
            };
            if !listed.logs_in {
                return Refusal::Fixed.answer();
            }
            listed.cell.clone()
        };
        tracing::info!(credential = name, "a login was asked for by the admin port");
        match cell.renew(LOGIN).await {
            Ok(token) => {
                let left = token.expires.map(|end| BootClock.now().until(end));
                let told = json!({
                    "outcome": "renewed",
                    "generation": token.generation,
                    "expires_in_seconds": left.map(seconds),
                });
                json_answer(StatusCode::OK, &told)
            }
            Err(unavailable) => {
                let last_error = match &unavailable {
                    Unavailable::Fault { fault, .. } => told_of(fault),
                    other => json!({
                        "class": "timeout",
                        "code": null,
                        "message": other.to_string(),
                        "mend": "try again; the login may still be under way",
                    }),
                };
                json_answer(StatusCode::BAD_GATEWAY, &json!({ "outcome": "failed", "last_error": last_error }))
            }
        }
    }
}

/// What came of a reload, for whoever asked for it.
fn verdict(reload: &Reload) -> Value {
    let outcome = reload.outcome.as_str();
    match (reload.outcome, &reload.error) {
        (Outcome::Refused, Some(error)) => {
            json!({ "outcome": outcome, "problems": reload.problems, "error": error })
        }
        (Outcome::Refused, None) => json!({ "outcome": outcome, "problems": reload.problems }),
        (Outcome::Taken | Outcome::Unchanged, _) => json!({
            "outcome": outcome,
            "generation": reload.generation,
            "problems": reload.problems,
            "restart_needed": reload.restart_needed,
        }),
    }
}

/// A login's fault, in words.
pub(super) fn told_of(fault: &TokenFault) -> Value {
    json!({
        "class": fault.class.word(),
        "code": fault.vendors_code(),
        "message": fault.to_string(),
        "mend": fault.mend(),
    })
}

/// To a tenth.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
