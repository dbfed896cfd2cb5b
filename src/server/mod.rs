//! Who is knocking: listeners, workers, connections.
//!
//! `listen` binds and accepts on the control thread and hands each connection to the worker with the
//! fewest, as many as `turnstile` lets; `worker` is one thread with its own runtime; `connection` serves
//! one connection through hyper, once `opening` has found out whose it is (`proxy_protocol`, `tls`) and
//! what it speaks, and else `unopened` says why not; `roster` keeps time over all of a worker's
//! connections, so that no request needs a timer for it; `pulse` tells other threads that the worker
//! still goes round; `socket` is the byte stream, plain (`fresh`) or TLS, to which `batch` sends together what HTTP/2
//! writes in pieces, and `cut` ends one stream of a connection.

mod batch;
mod connection;
mod cut;
mod fresh;
mod listen;
mod opening;
pub mod proxy_protocol;
mod pulse;
mod roster;
mod socket;
pub mod tls;
mod turnstile;
mod unopened;
mod worker;

pub use fresh::Plain;
pub use listen::{Bound, ListenError, ListenOn, Trouble, accept, local, over_leftover};
pub use pulse::{Pulse, Rounds};
pub use turnstile::Turnstile;
pub use worker::{Leave, Worker, WorkerError};
