//! What must hold for whatever bytes come: one function a fuzz target, which panics where it does not.
//!
//! `make fuzz` runs them on libFuzzer, guided by coverage; `tests/fuzzing.rs` runs the same functions
//! on a stable compiler over the inputs that are kept in `corpus`, and over changed ones. Nearly
//! each input is text that a person can read: first lines that say what to do, then what to do it with.

mod configuration;
mod headers;
mod json;
mod path;
mod proxy_protocol;
mod query;
mod token_answer;

pub use configuration::configuration;
pub use headers::headers;
pub use json::json;
pub use path::path;
pub use proxy_protocol::proxy_protocol;
pub use query::query;
pub use token_answer::token_answer;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the names of their corpora.
pub const TARGETS: [Target; 7] = [
    ("configuration", configuration),
    ("headers", headers),
    ("json", json),
    ("path", path),
    ("proxy_protocol", proxy_protocol),
    ("query", query),
    ("token_answer", token_answer),
];

/// The first line of an input, and what is behind it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
