//! Where to: which route takes a request, and what its target becomes.
//!
//! `plan` is what a route does with what it takes, ready made. `table` finds the route; `rank` is
//! the order that the contract puts routes in, `tree` the prefixes of one host, `shadow` the routes
//! that can never match. `rewrite` turns the client's path into the upstream's; `location` and
//! `cookie` turn an answer's back.

mod cookie;
mod location;
mod plan;
mod rank;
mod rewrite;
mod shadow;
mod table;
mod tree;

pub use location::without_parameter;
pub use plan::{Action, Credential, Forward, Route};
pub use rewrite::{Rewrite, Target};
pub use table::{Found, RequestLine, Table, Verdict};
