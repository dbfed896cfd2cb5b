//! Whether a request may go on: by the key that it shows, and by what its route is held to.
//!
//! Access comes first, so that a flood of those who are not let in uses up nothing of those who are.

use std::net::IpAddr;
use std::time::Instant;

use http::HeaderMap;

use super::refusal::Refusal;
use super::view::{Proxy, View};
use crate::access::{Admitted, Denied, Judgement};
use crate::limit::{Fingerprint, Present, Sign, Who};
use crate::live::Entry;
use crate::model::Visitor;

impl Proxy {
    /// Refuses new work while there is no memory for it.
    pub(super) fn has_memory(&self) -> Result<(), Refusal> {
        if self.shared.live.strain().shows(Sign::Memory) { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    /// Lets a client in by its route's access rules.
    pub(super) async fn let_in<'e>(
        &self,
        view: &View,
        entry: &'e Entry,
        visitor: &Visitor<'e>,
        headers: &HeaderMap,
    ) -> Result<Admitted<'e>, Refusal> {
        let shown = self.mind_guesses(view, entry, visitor, entry.access.guess(headers))?;
        let admitted = match entry.access.admit(visitor, headers) {
            Ok(Judgement::Admitted(admitted)) => Ok(admitted),
            Ok(Judgement::Pending(pending)) => Box::pin(pending.settle()).await,
            Err(denied) => Err(denied),
        };
        match (&admitted, shown) {
            (Ok(_), Some((_, shown))) => self.shared.guesses.right(shown),
            (Err(Denied::Key | Denied::User), Some((address, _))) => self.guessed_wrong(view, address),
            _ => {}
        }
        Ok(admitted?)
    }

    /// Refuses a key or password that is not to be looked at, since too many wrong ones came from its
    /// address. Else tells where the client is and what it shows; `None` where that does not matter.
    pub(super) fn mind_guesses(
        &self,
        view: &View,
        entry: &Entry,
        visitor: &Visitor<'_>,
        guess: Option<[&[u8]; 2]>,
    ) -> Result<Option<(IpAddr, Fingerprint)>, Refusal> {
        if !entry.access.can_be_guessed() {
            return Ok(None);
        }
        let Some((address, guess)) = visitor.address.zip(guess) else { return Ok(None) };
        let guesses = &self.shared.guesses;
        let shown = guesses.fingerprint(address, guess);
        if let Some(slowed) = guesses.slowed(address, shown, view.snapshot.guesses, Instant::now()) {
            if slowed.is_news {
                let route = entry.route.name.as_str();
                tracing::warn!(client = %address, route, "too many wrong keys: those from this address are slowed");
            }
            return Err(Refusal::WrongKeys(slowed.wait));
        }
        Ok(Some((address, shown)))
    }

    /// Counts a wrong key.
    pub(super) fn guessed_wrong(&self, view: &View, address: IpAddr) {
        self.shared.guesses.wrong(address, view.snapshot.guesses, Instant::now());
    }
}

/// Holds a request to its route's bounds; what is returned is to be held until it is over.
pub(super) fn hold(entry: &Entry, visitor: &Visitor<'_>, key: Option<&str>) -> Result<Option<Present>, Refusal> {
    entry.bounds.admit(Who { address: visitor.address, key }).map_err(Refusal::Over)
}
