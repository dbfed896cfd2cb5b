//! The walk of a request, from its head to its answer's last byte.
//!
//! `walk` is the straight way; what it passes through stands in its own file. `course` decides what
//! can be decided by the head alone, and `admission` whether the client may; `caught` keeps a panic to
//! its request; `forwarded` finds the client behind trusted proxies; `framing`, `headers` and `head` clean
//! what came; `alarm` times their answers; `view` is the worker's own handles; `forward` sends and sends again, by what is `kept`; `login` answers a
//! vendor's own endpoints;
//! `upgrade` makes tunnels; `mapping` maps answers back; `upload` and `reply` are the bodies of the
//! two directions; `request_id` names a request and `record` tells of it; `preview` tells `explain`
//! what the walk would do. Every refusal leaves by `refusal`.

mod admission;
mod alarm;
mod caught;
mod course;
mod forward;
mod forwarded;
mod framing;
mod head;
pub mod headers;
mod json_scan;
mod kept;
mod login;
mod mapping;
mod media;
pub mod preview;
mod record;
mod refusal;
mod refused;
mod reply;
mod request_id;
mod splice;
mod trace;
mod upgrade;
mod upload;
mod view;
mod wait;
mod walk;

pub use alarm::Alarm;
pub use headers::Peer;
pub use refusal::Refusal;
pub use reply::{Busy, OnIdle, Reply, STALL};
pub use view::{Client, Proxy, Shared};
