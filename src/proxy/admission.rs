//! Whether a request may go on: by the key that it shows, and by what its route is held to.
//!
//! Access comes first, so that a flood of those who are not let in uses up nothing of those who are.

use std::time::Instant;

use http::HeaderMap;

use super::refusal::Refusal;
use super::view::{Proxy, View};
use crate::access::{Admitted, Denied, Judgement, KeyPlace, Shown};
use crate::limit::{Present, Sign, Who};
use crate::live::Entry;
use crate::model::Visitor;

impl Proxy {
    /// Refuses new work while there is no memory for it.
    pub(super) fn has_memory(&self) -> Result<(), Refusal> {
        if self.shared.live.strain().shows(Sign::Memory) { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    /// Lets a client in by its route's access rules: the one way in, for requests and logins.
    ///
    /// What let in from the same address before is looked at alone, so that it lends its way in to
    /// nothing else that the request shows. For anything else one guess is taken first.
    pub(super) async fn let_in<'e>(
        &self,
        view: &View,
        entry: &'e Entry,
        visitor: &Visitor<'e>,
        headers: &HeaderMap,
        shown: &Shown<'_>,
    ) -> Result<Admitted<'e>, Refusal> {
        let Some(address) = visitor.address.filter(|_| !shown.is_nothing()) else {
            return Ok(judge(entry, visitor, headers, shown, &KeyPlace::ALL).await?);
        };
        let guesses = &self.shared.guesses;
        let print = |place| guesses.fingerprint(address, (entry.route.name.as_str(), shown.proof(place)));
        let known = shown.places().map(|place| (place, print(place))).find(|(_, print)| guesses.knows(*print));
        if let Some((place, print)) = known {
            match judge(entry, visitor, headers, shown, place.as_slice()).await {
                Err(Denied::Key { .. } | Denied::User) => guesses.forget(print),
                judged => return Ok(judged?),
            }
        }
        let guess = guesses.take(address, view.snapshot.guesses, Instant::now()).map_err(|slowed| {
            if slowed.is_news {
                let route = entry.route.name.as_str();
                tracing::warn!(client = %address, route, "too many wrong keys: those from this address are slowed");
            }
            Refusal::WrongKeys(slowed.wait)
        })?;
        let judged = judge(entry, visitor, headers, shown, &KeyPlace::ALL).await;
        match &judged {
            Ok(admitted) => guess.was_right(print(admitted.key)),
            Err(Denied::Key { .. } | Denied::User) => {}
            Err(_) => guess.was_none(),
        }
        Ok(judged?)
    }
}

/// Judges what a request shows, keys at these places only.
async fn judge<'e>(
    entry: &'e Entry,
    visitor: &Visitor<'e>,
    headers: &HeaderMap,
    shown: &Shown<'_>,
    places: &[KeyPlace],
) -> Result<Admitted<'e>, Denied> {
    match entry.access.admit_shown(visitor, headers, shown, places)? {
        Judgement::Admitted(admitted) => Ok(admitted),
        Judgement::Pending(pending) => Box::pin(pending.settle()).await,
    }
}

/// Holds a request to its route's bounds; what is returned is to be held until it is over.
pub(super) fn hold(entry: &Entry, visitor: &Visitor<'_>, admitted: &Admitted<'_>) -> Result<Option<Present>, Refusal> {
    entry.bounds.admit(Who { address: visitor.address, key: admitted.identity }).map_err(Refusal::Over)
}
