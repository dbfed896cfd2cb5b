//! Headers: every spelling of the place goes, one line is written.

use http::HeaderMap;

use crate::model::Place;
use crate::token::Rendered;

/// Takes out what the client sent in a credential's header places: every case, repetition, and `_`
/// for `-` (servers that map header names to variables read both as one).
pub fn remove_headers(headers: &mut HeaderMap, places: &[Place]) {
    let _ = (headers, places);
    todo!()
}

/// Writes the rendered headers.
pub fn insert_headers(headers: &mut HeaderMap, token: &Rendered) {
    let _ = (headers, token);
    todo!()
}
