//! Giving a token up at the vendor: best effort, with a deadline, and nothing depends on it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{ANSWER_LIMIT, addressed};
use crate::secret::Secret;
use crate::token::Release;
use crate::upstream::{Upstream, once};
use crate::vendor::Vendor;

/// A release is worth no longer wait: a process that ends waits for it.
const DEADLINE: Duration = Duration::from_secs(2);

/// Releases under way: whoever ends waits for them with [`Releases::done`].
#[derive(Debug)]
pub struct Releases {
    /// Held by each release, and by each cell that may make one.
    pending: mpsc::Sender<Infallible>,
    over: mpsc::Receiver<Infallible>,
}

impl Default for Releases {
    fn default() -> Self {
        let (pending, over) = mpsc::channel(1);
        Self { pending, over }
    }
}

impl Releases {
    /// How this vendor's tokens are given up; `credential` is the name for the log. `None` where
    /// nothing is asked for over a network.
    pub fn of(&self, credential: String, vendor: Arc<dyn Vendor>, upstream: Option<Arc<Upstream>>) -> Option<Release> {
        let (upstream, pending) = (upstream?, self.pending.clone());
        Some(Arc::new(move |token| {
            let (vendor, upstream, pending) = (Arc::clone(&vendor), Arc::clone(&upstream), pending.clone());
            let credential = credential.clone();
            Box::pin(async move {
                let _pending = pending;
                give_up(&credential, vendor.as_ref(), &upstream, &token).await;
            })
        }))
    }

    /// Waits until no release is under way and no cell is left that may make one; a little longer than
    /// one may take at most.
    pub async fn done(self) {
        let Self { pending, mut over } = self;
        drop(pending);
        drop(tokio::time::timeout(DEADLINE + Duration::from_millis(500), over.recv()).await);
    }
}

async fn give_up(credential: &str, vendor: &dyn Vendor, upstream: &Upstream, token: &Secret) {
    let Some(Ok(request)) = vendor.release(token).map(|request| addressed(request, upstream)) else { return };
    match once(upstream, request, DEADLINE, ANSWER_LIMIT).await {
        Ok(answer) if answer.status().is_success() => tracing::info!(credential, "token given up"),
        Ok(answer) => {
            tracing::info!(credential, status = answer.status().as_u16(), "the vendor did not take a token back");
        }
        Err(error) => tracing::info!(credential, %error, "token could not be given up"),
    }
}
