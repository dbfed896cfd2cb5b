//! What replicas agree on: who logs in, and what the token is.
//!
//! A cell knows only [`Share`]; `store` has the one that replicas reach through Redis. The words:
//! a *lease* is the right to log in, held by one replica for a bounded time; a *fence* is the number
//! that a lease and the token that came of it carry, and only ever grows; a token is *suspect* when
//! a login that the vendor may have heard came between it and now.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::SecretVersion;
use crate::secret::Secret;
use crate::vendor::{LifetimeSource, TokenFault};

/// An answer that is waited for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A token on its way between replicas, or from one process to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// The number of the login that it came of; 0 where no store gave one.
    pub fence: u64,
    /// The token itself.
    pub token: Secret,
    /// Left to live, by whoever hands it over; never more than is left in truth.
    pub left: Duration,
    /// Its whole life.
    pub life: Duration,
    /// Where its lifetime came from.
    pub source: LifetimeSource,
    /// The secret it was got with.
    pub secret: SecretVersion,
    /// It came in place of one that the vendor refused.
    pub of_refusal: bool,
    /// The vendor may hold another one valid.
    pub suspect: bool,
}

/// What a cell wants when its token will not do any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Only a token with a greater fence.
    pub beyond: u64,
    /// The secret in force here: what failed with another one says nothing of it.
    pub secret: SecretVersion,
    /// Only a token that was got with that secret: it is to prove itself.
    pub proves: bool,
}

/// What a cell is to do.
#[derive(Debug)]
pub enum Turn {
    /// Take this token: another replica has logged in.
    Take(Carried),
    /// Log in, with this lease.
    Login(Lease),
    /// Leave it: another replica's login failed, and its back-off is not over.
    Leave(TokenFault),
}

/// The right to log in, until it runs out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its number, which the token that comes of it will carry.
    pub fence: u64,
}

/// What became of a token that was laid into the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Laid {
    /// It is every replica's now.
    Kept,
    /// The lease had run out, and another replica may have logged in meanwhile: nobody knows which
    /// token the vendor holds valid. What is stored, if anything, has been marked suspect.
    Lost,
}

/// What there is in a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shelf {
    /// This token.
    Token(Carried),
    /// One that does not open: it was sealed with another key, or written by another version.
    Shut,
    /// Nothing.
    Empty,
}

/// The store cannot be reached, or does not answer in time. Why is logged by the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the store cannot be reached")]
pub struct Away;

/// What a cell is told by the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// There is a token with this fence: [`Share::read`] gives it.
    Token(u64),
    /// Another replica is about to log in under this fence, and the token in hand dies by that: hold
    /// new requests for at most so long, and [`Share::confirm`] once those under way are answered.
    Hold(u64, Duration),
    /// That login is not made after all, or failed.
    Release(u64),
    /// The store is reached again after it was away.
    Back,
}

/// One credential's share in what replicas agree on.
pub trait Share: fmt::Debug + Send + Sync {
    /// Asks for a token, or for the right to log in; waits while another replica holds the lease, and
    /// reads before it gives one.
    fn turn(&self, wanted: Wanted) -> Pending<'_, Result<Turn, Away>>;

    /// Has the other replicas hold new requests, and returns when all have confirmed that theirs are
    /// answered, or after this time.
    fn quiet(&self, lease: Lease, within: Duration) -> Pending<'_, ()>;

    /// Lays the token of a login into the store, gives the lease back, and tells the others.
    fn lay(&self, lease: Lease, token: Carried) -> Pending<'_, Result<Laid, Away>>;

    /// Whether the lease is held still, as far as can be known: asked right before a login is sent. A
    /// store that does not answer leaves it at that.
    fn holds(&self, lease: Lease) -> Pending<'_, bool>;

    /// Gives the lease back without a token. Until `pause` is over the others with the same secret are
    /// told of the fault instead of logging in; where it was heard, what is stored is suspect from now on.
    fn give_back(&self, lease: Lease, fault: TokenFault, pause: Duration) -> Pending<'_, ()>;

    /// What is stored, whatever its number.
    fn read(&self) -> Pending<'_, Result<Shelf, Away>>;

    /// Lays a token into the store that was got while it was away, unless there is a better one;
    /// returns the one that is there then, and tells the others.
    fn offer(&self, token: Carried) -> Pending<'_, Result<Carried, Away>>;

    /// Says that no request of this replica is under way with an older token than this fence's.
    fn confirm(&self, fence: u64) -> Pending<'_, ()>;

    /// What the others tell, one after the other. At most one listener at a time.
    fn told(&self) -> Pending<'_, Told>;
}
