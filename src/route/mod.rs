//! Where to: which route takes a request, and what its target becomes.

mod rewrite;
mod table;

pub use rewrite::{Rewrite, Target};
pub use table::{Found, RequestLine, Table, Verdict};
