//! Writes a token into a request: headers, query, JSON body. Takes out first what the client sent
//! in those places.

mod header;
mod json;
mod query;

pub(super) use header::insert_headers;
pub use header::{remove_headers, remove_spellings, spelled_alike};
pub use json::{JsonShape, JsonSplice, JsonSpliceError, json_shape, splice_json};
pub(super) use query::tells;
pub use query::{has_parameter, remove_parameter, splice_query};
