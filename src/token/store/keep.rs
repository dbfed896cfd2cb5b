//! Refresh tokens in the store: any replica goes on with what the last login of any of them brought.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, FromRedisValue};

use super::Core;
use super::link::Ask;
use crate::secret::Secret;
use crate::token::{First, Keep, Kept, Pending, TokenKey, Unkept};

/// One client's refresh token, sealed, without an end.
pub struct StoreKeep {
    core: Arc<Core>,
    place: String,
    purpose: String,
    first: First,
}

impl StoreKeep {
    pub(super) fn new(core: Arc<Core>, key: &TokenKey, first: &Secret) -> Self {
        let place = format!("{}:{{{}}}:refresh", core.prefix, key.hex());
        Self { core, place, purpose: Kept::purpose(key), first: First::of(first) }
    }

    async fn load_now(&self) -> Result<Option<Secret>, Unkept> {
        let value = self.core.link.ask(Ask::Command(&Cmd::get(&self.place))).await.map_err(|_| Unkept)?;
        let Some(sealed) = Option::<Vec<u8>>::from_redis_value(value).map_err(|_| Unkept)? else { return Ok(None) };
        match Kept::open(&sealed, &self.core.keys, &self.purpose) {
            // Another one is configured than it descends from: it counts no more.
            Ok(kept) => Ok(Some(kept).filter(|kept| kept.first == self.first).map(|kept| kept.token)),
            Err(why) => {
                tracing::warn!(target: "tokenferry::store", place = self.place, %why, "a kept refresh token does not open, and counts as absent");
                Ok(None)
            }
        }
    }

    async fn save_now(&self, token: &Secret) -> Result<(), Unkept> {
        let kept = Kept { first: self.first, token: token.clone() };
        let sealed = kept.seal(&self.core.keys, &self.purpose).ok_or(Unkept)?;
        self.core.link.ask(Ask::Command(&Cmd::set(&self.place, sealed))).await.map(drop).map_err(|_| Unkept)
    }
}

impl Keep for StoreKeep {
    fn load(&self) -> Pending<'_, Result<Option<Secret>, Unkept>> {
        Box::pin(self.load_now())
    }

    fn save(&self, kept: &Secret) -> Pending<'_, Result<(), Unkept>> {
        let kept = kept.clone();
        Box::pin(async move { self.save_now(&kept).await })
    }
}

/// The place alone.
impl fmt::Debug for StoreKeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreKeep").field("place", &self.place).finish_non_exhaustive()
    }
}
