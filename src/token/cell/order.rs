//! Logins that no request asks for: an operator's, and those that keep a token at hand.

use std::sync::Arc;
use std::time::Duration;

use super::state::Ordered;
use super::{COME_AGAIN, Cell, Token};
use crate::token::Unavailable;

impl Cell {
    /// Has another token fetched, also where the one in hand would do; through the barrier, where it is
    /// exclusive, and without regard to a back-off. Where a login is under way already, it is that
    /// one's token. Dropping the future leaves the login running.
    pub async fn renew(self: &Arc<Self>, patience: Duration) -> Result<Arc<Token>, Unavailable> {
        let before = self.generation();
        let flight = self.step(|inner, now, steps| inner.state.order(now, steps));
        let landing = async {
            loop {
                // Made before the state is looked at: a login that ends in between is not missed.
                let landed = self.landed.notified();
                match self.step(|inner, now, _| inner.state.ordered(now, flight, before)) {
                    Ordered::UnderWay => landed.await,
                    Ordered::Token(token) => return Ok(token),
                    Ordered::Failed(fault, retry_after) => return Err(Unavailable::Fault { fault, retry_after }),
                }
            }
        };
        let late = Err(Unavailable::Timeout { retry_after: COME_AGAIN });
        tokio::time::timeout(patience, landing).await.unwrap_or(late)
    }

    /// Sees to it that there is a live token, as its use would, without waiting for it.
    pub fn rouse(self: &Arc<Self>) {
        if self.with_warm(|_| ()).is_none() {
            self.step(|inner, now, steps| inner.state.rouse(now, steps));
        }
    }
}
