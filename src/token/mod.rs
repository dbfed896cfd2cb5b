//! With what key: a credential's token, from its first use to its retirement.
//!
//! `key` says which credentials are the same one; `cell` holds one token and lets one fetch at a
//! time happen; `fetch` is the glue to the vendor and the network; `keep` is for what must outlive a
//! login; `share` is what replicas agree on, `store` where they do; `lane` is a worker's own view of a
//! cell, with the token rendered as it is sent; `inject` writes it into a request.

mod cell;
mod clock;
mod error;
mod fetch;
pub mod inject;
mod keep;
mod key;
mod lane;
mod share;
mod store;

pub use cell::{AfterRefusal, Cell, CellSettings, CellState, CellStatus, Fetch, Release, Slot, Token, TokenCounts};
pub use clock::{BootClock, Clock, Moment};
pub use error::Unavailable;
pub use fetch::{Releases, fetch, traced};
pub use keep::{First, Keep, Kept, LocalKeep, StateFile, Unkept};
pub use key::{SecretVersion, TokenKey};
pub use lane::{Guard, Lane, Rendered};
pub use share::{Away, Carried, Laid, Lease, Pending, Share, Shelf, Told, Turn, Wanted};
pub use store::{Store, StoreKeep, StoreSettings};
