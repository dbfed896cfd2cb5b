//! What a cell is given: how a token is come by, and what holds for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Margin;
use crate::secret::Secret;
use crate::token::{SecretVersion, Share};
use crate::vendor::{Grant, TokenFault};

/// Asks the vendor for a token, once. Owned by the cell; knows the network, which the cell does not.
pub type Fetch = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Grant, TokenFault>> + Send>> + Send + Sync>;

/// Gives a token up at the vendor, as well as that can be done.
pub type Release = Arc<dyn Fn(Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

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
    /// How long the change of an exclusive token waits for requests under way.
    pub drain: Duration,
    /// Requests that may wait at once.
    pub waiting: u32,
    /// How a token is given up when nobody uses the cell any more; `None` where it is left to end.
    pub release: Option<Release>,
    /// What is agreed on with other replicas; `None` where there are none.
    pub share: Option<Arc<dyn Share>>,
}
