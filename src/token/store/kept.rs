//! What outlives a credential's tokens, such as a refresh token that a vendor changes with each login.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, FromRedisValue};

use super::Core;
use super::link::Ask;
use crate::secret::Secret;
use crate::token::{Away, Pending, TokenKey};

/// One sealed value of a credential, without an end.
pub struct Kept {
    core: Arc<Core>,
    place: String,
    purpose: String,
}

impl Kept {
    pub(super) fn new(core: Arc<Core>, key: &TokenKey) -> Self {
        let hex = key.hex();
        Self { place: format!("{}:{{{hex}}}:refresh", core.prefix), purpose: format!("refresh {hex}"), core }
    }

    /// What was saved last; `None` where nothing was, or where it does not open.
    pub fn load(&self) -> Pending<'_, Result<Option<Secret>, Away>> {
        Box::pin(async move {
            let value = self.core.link.ask(Ask::Command(&Cmd::get(&self.place))).await?;
            let Some(sealed) = Option::<Vec<u8>>::from_redis_value(value).map_err(|_| Away)? else { return Ok(None) };
            let why = match self.core.keys.open(&self.purpose, &sealed) {
                Ok(text) => match std::str::from_utf8(&text) {
                    Ok(text) => return Ok(Some(Secret::new(text))),
                    Err(_) => crate::secret::Unsealed::Damaged,
                },
                Err(why) => why,
            };
            tracing::warn!(target: "tokenferry::store", place = self.place, %why, "a kept secret does not open, and counts as absent");
            Ok(None)
        })
    }

    /// Saves a value in place of the last one.
    pub fn save(&self, value: Secret) -> Pending<'_, Result<(), Away>> {
        Box::pin(async move {
            let sealed = self.core.keys.seal(&self.purpose, value.expose().as_bytes()).ok_or(Away)?;
            self.core.link.ask(Ask::Command(&Cmd::set(&self.place, sealed))).await.map(drop)
        })
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("place", &self.place).finish_non_exhaustive()
    }
}
