//! The admin port.
//!
//! `exposition` is what `GET /metrics` answers.

mod exposition;

pub use exposition::{Facts, Form, Reloads, exposition};
