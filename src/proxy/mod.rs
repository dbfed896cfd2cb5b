//! (being written)

pub mod framing;
pub mod headers;
pub mod json_scan;
