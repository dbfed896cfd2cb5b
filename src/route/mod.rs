//! Where to: which route takes a request, and what its target becomes.

mod plan;
mod rewrite;
mod table;

pub use plan::{Action, Credential, Forward, Route};
pub use rewrite::{Rewrite, Target};
pub use table::{Found, RequestLine, Table, Verdict};
