//! Refresh tokens in the store: any replica goes on with what the last login of any of them brought.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    memory: Arc<Mutex<Remembered>>,
}

impl StoreKeep {
    pub(super) fn new(core: Arc<Core>, key: &TokenKey, first: &Secret) -> Self {
        // Of one client with several refresh tokens, each has a place of its own.
        let first = First::of(first);
        let place = format!("{}:{{{}}}:refresh:{}", core.prefix, key.hex(), first.mark());
        let memory = core.remembered(&place);
        Self { core, place, purpose: Kept::purpose(key), first, memory }
    }

    async fn load_now(&self) -> Result<Option<Secret>, Unkept> {
        let value = self.core.link.ask(Ask::Command(&Cmd::get(&self.place))).await.map_err(|_| Unkept)?;
        let stored = match Option::<Vec<u8>>::from_redis_value(value).map_err(|_| Unkept)? {
            None => None,
            Some(sealed) => match Kept::open(&sealed, &self.core.keys, &self.purpose) {
                Ok(kept) => Some(kept.token).filter(|_| kept.first == self.first),
                Err(why) => {
                    // The configured one was used long ago: a vendor that sees it again may take none any more.
                    tracing::warn!(target: "tokenferry::store", place = self.place, %why,
                        "a kept refresh token does not open, and no login is made with an older one: configure the key \
                         that sealed it, or delete it to begin with the configured refresh token");
                    return Err(Unkept);
                }
            },
        };
        let newer = self.memory().newer_than(stored.as_ref());
        match newer {
            // The store has lost what it had since: it gets it back before it is used.
            Some(ours) => self.write(&ours).await.map(|()| Some(ours)),
            None => Ok(stored),
        }
    }

    async fn save_now(&self, token: &Secret) -> Result<(), Unkept> {
        // Kept here also where the store is away: the vendor may take no other any more.
        self.memory().replace(token);
        self.write(token).await
    }

    async fn write(&self, token: &Secret) -> Result<(), Unkept> {
        let kept = Kept { first: self.first, token: token.clone() };
        let sealed = kept.seal(&self.core.keys, &self.purpose).ok_or(Unkept)?;
        self.core.link.ask(Ask::Command(&Cmd::set(&self.place, sealed))).await.map(drop).map_err(|_| Unkept)
    }

    fn memory(&self) -> MutexGuard<'_, Remembered> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refresh tokens of one client that this process had, the latest last: a store may lose what it was
/// given, as Redis does that is not told to keep it.
#[derive(Debug, Default)]
pub(super) struct Remembered(Vec<Secret>);

impl Remembered {
    /// So many are remembered: a store that comes back from an older snapshot is behind by fewer.
    const MOST: usize = 32;

    fn replace(&mut self, token: &Secret) {
        self.0.retain(|known| known != token);
        if self.0.len() == Self::MOST {
            self.0.remove(0);
        }
        self.0.push(token.clone());
    }

    /// The latest one, where what is stored is none, or one from before it. What is not known here is
    /// another replica's, and newer.
    fn newer_than(&mut self, stored: Option<&Secret>) -> Option<Secret> {
        let latest = self.0.last().cloned();
        match stored {
            None => latest,
            Some(stored) if self.0.contains(stored) => latest.filter(|latest| latest != stored),
            Some(stored) => {
                self.replace(stored);
                None
            }
        }
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
