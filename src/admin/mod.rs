//! The operator's own door: health, metrics, the status page and its API.
//!
//! `port` is the whole of it and serves a connection; `gate` judges who asks and under which name;
//! `walk` finds what is asked for; `answer` is what answers have in common. `status` tells how things
//! stand and `history` how they went, `exposition` is what `GET /metrics` answers; `deed` reloads and
//! renews.

mod answer;
mod deed;
mod exposition;
mod gate;
mod history;
mod port;
mod status;
mod time;
mod walk;

pub use exposition::{Facts, Form, Reloads, exposition};
pub use gate::Gate;
pub use port::{About, Admin, Wish};
