//! A token endpoint for tests, which numbers its tokens so that a test says which one was used.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{CellSettings, Fetch};
use crate::model::Margin;
use crate::secret::Secret;
use crate::token::SecretVersion;
use crate::vendor::{FaultClass, FaultReason, Grant, Identity, LifetimeSource, TokenFault};

/// How a login goes.
pub(in crate::token) enum Reply {
    /// `token-N` for so many seconds, N being the login's number.
    Good(u64),
    /// This token for so many seconds.
    Token(String, u64),
    /// This token, of whose life nothing is said.
    Silent(String),
    /// A fault.
    Fault(TokenFault),
    /// First so long nothing.
    After(Duration, Box<Reply>),
    /// Whatever this says then.
    Then(Box<dyn FnOnce() -> Reply + Send>),
    /// A panic.
    Panic,
}

type Plan = Box<dyn FnMut(u64) -> Reply + Send>;

/// What each login gets, by its number (from 1).
pub(in crate::token) struct Script {
    plan: Mutex<Plan>,
    calls: AtomicU64,
    at_once: AtomicU32,
    /// Two logins at once are none of one cell's doing.
    together: AtomicBool,
}

impl Script {
    pub(in crate::token) fn new(plan: impl FnMut(u64) -> Reply + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(Box::new(plan)),
            calls: AtomicU64::new(0),
            at_once: AtomicU32::new(0),
            together: AtomicBool::new(false),
        })
    }

    /// Each login takes 20 ms and brings a token for an hour.
    pub(in crate::token) fn good() -> Arc<Self> {
        Self::new(|_| slow(20, Reply::Good(3600)))
    }

    /// Goes on by another plan.
    pub(in crate::token) fn turn(&self, plan: impl FnMut(u64) -> Reply + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// Several cells use this script.
    pub(in crate::token) fn allow_together(&self) {
        self.together.store(true, Ordering::SeqCst);
    }

    /// Logins so far.
    pub(in crate::token) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(in crate::token) fn fetch(self: &Arc<Self>) -> Fetch {
        let script = Arc::clone(self);
        Arc::new(move || {
            let script = Arc::clone(&script);
            Box::pin(async move {
                let number = script.calls.fetch_add(1, Ordering::SeqCst) + 1;
                let others = script.at_once.fetch_add(1, Ordering::SeqCst);
                assert!(others == 0 || script.together.load(Ordering::SeqCst), "two logins at once");
                let mut reply = (script.plan.lock().unwrap())(number);
                loop {
                    reply = match reply {
                        Reply::After(time, next) => {
                            tokio::time::sleep(time).await;
                            *next
                        }
                        Reply::Then(next) => next(),
                        last => break reply = last,
                    };
                }
                script.at_once.fetch_sub(1, Ordering::SeqCst);
                match reply {
                    Reply::Good(seconds) => Ok(grant(&format!("token-{number}"), Some(seconds))),
                    Reply::Token(token, seconds) => Ok(grant(&token, Some(seconds))),
                    Reply::Silent(token) => Ok(grant(&token, None)),
                    Reply::Fault(fault) => Err(fault),
                    Reply::Panic => panic!("a login that panics, as the test wants it"),
                    Reply::After(..) | Reply::Then(_) => unreachable!(),
                }
            })
        })
    }
}

fn grant(token: &str, seconds: Option<u64>) -> Grant {
    let lifetime = seconds.map(|seconds| (Duration::from_secs(seconds), LifetimeSource::Answer));
    Grant::new(Secret::new(token), lifetime)
}

/// After so many milliseconds.
pub(in crate::token) fn slow(millis: u64, reply: Reply) -> Reply {
    Reply::After(Duration::from_millis(millis), Box::new(reply))
}

/// A 503 of the token endpoint.
pub(in crate::token) fn down() -> Reply {
    Reply::Fault(TokenFault::new(FaultClass::Transient, FaultReason::Status(503)))
}

/// A 401 of the token endpoint.
pub(in crate::token) fn wrong() -> Reply {
    Reply::Fault(TokenFault::new(FaultClass::Refused, FaultReason::Status(401)))
}

/// The version of this secret.
pub(in crate::token) fn version(secret: &str) -> SecretVersion {
    SecretVersion::of(&Identity { parts: Vec::new(), secrets: vec![Secret::new(secret)] })
}

/// Settings with the defaults, over this script.
pub(in crate::token) fn settings(script: &Arc<Script>) -> CellSettings {
    CellSettings {
        name: "test".to_owned(),
        fetch: script.fetch(),
        secret: version("first"),
        refresh_before: Margin::default(),
        lifetime: Some(Duration::from_secs(300)),
        idle_lifetime: None,
        exclusive: false,
        drain: Duration::from_secs(2),
        waiting: 10_000,
        release: None,
        share: None,
    }
}
