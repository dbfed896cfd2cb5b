//! One credential's token: states, one flight, renewal ahead, refusals, back-off.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Clock, Moment, SecretVersion, Unavailable};
use crate::model::Margin;
use crate::secret::Secret;
use crate::vendor::{Grant, LifetimeSource, TokenFault};

/// Asks the vendor for a token, once. Owned by the cell; knows the network, which the cell does not.
pub type Fetch = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Grant, TokenFault>> + Send>> + Send + Sync>;

/// What a configuration says of a cell; changes with a reload while the cell lives on.
#[derive(Clone)]
pub struct CellSettings {
    /// The credential's name, for logs.
    pub name: String,
    /// How the token is come by.
    pub fetch: Fetch,
    /// The version of the secret that `fetch` uses.
    pub secret: SecretVersion,
    /// How long before its end the token is renewed.
    pub refresh_before: Margin,
    /// The life of a token that says nothing of it; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// A token unused that long is dead.
    pub idle_lifetime: Option<Duration>,
    /// Whether a new token invalidates the earlier ones.
    pub exclusive: bool,
    /// Requests that may wait at once.
    pub waiting: u32,
}

/// A token in force.
#[derive(Debug)]
pub struct Token {
    /// Grows by one with every token of its cell; named in logs.
    pub generation: u64,
    /// The token itself.
    pub secret: Secret,
    /// Its end; `None` is never.
    pub expires: Option<Moment>,
    /// When its renewal begins, if it is used then.
    pub renew: Option<Moment>,
    /// Where its lifetime came from.
    pub source: LifetimeSource,
}

/// What a cell tells of itself; never a secret.
#[derive(Clone, Debug)]
pub struct CellStatus {
    /// The current token's generation; 0 before the first.
    pub generation: u64,
    /// Left to live; `None` without a token or for one that lives for ever.
    pub expires_in: Option<Duration>,
    /// Whether there is a live token.
    pub live: bool,
    /// The last login's fault, until one succeeds.
    pub fault: Option<TokenFault>,
    /// Logins that were begun since the cell was made.
    pub fetches: u64,
}

/// What to do after a vendor refused a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterRefusal {
    /// A newer token is or will be there: acquire again and send again.
    Again,
    /// The token was born of a refusal a moment ago: the vendor's answer passes.
    Pass,
}

/// One credential's token, shared by all threads, outliving reloads.
pub struct Cell {
    settings: CellSettings,
    clock: Arc<dyn Clock>,
    spawner: tokio::runtime::Handle,
}

impl Cell {
    /// A cell asleep: nothing is fetched until it is used. Fetches run on `spawner`.
    pub fn new(settings: CellSettings, clock: Arc<dyn Clock>, spawner: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self { settings, clock, spawner })
    }

    /// Takes over what a reload says. A new secret is tried at once if the cell is awake.
    pub fn configure(self: &Arc<Self>, settings: CellSettings) {
        let _ = (settings, &self.settings, &self.clock, &self.spawner);
        todo!()
    }

    /// The current token if it may be used now: no lock, no wait. In its last stretch it also
    /// starts the renewal.
    pub fn warm(self: &Arc<Self>) -> Option<Arc<Token>> {
        todo!()
    }

    /// The current token, waiting for one if need be. Dropping the future leaves the fetch running.
    pub async fn acquire(self: &Arc<Self>, patience: Duration) -> Result<Arc<Token>, Unavailable> {
        let _ = patience;
        todo!()
    }

    /// The vendor refused the token of this generation.
    pub fn refused(self: &Arc<Self>, generation: u64) -> AfterRefusal {
        let _ = generation;
        todo!()
    }

    /// What there is to tell.
    pub fn status(&self) -> CellStatus {
        todo!()
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
