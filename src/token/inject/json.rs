//! A top-level member of a JSON object, spliced: every other member's text stays as it came.

/// What a body's text is at its top level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonShape {
    /// Nothing but white space.
    Empty,
    /// `{...}`.
    Object,
    /// Anything else that is JSON.
    Other,
}

/// Why a body was not spliced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonSpliceError {
    /// Not JSON (RFC 8259), at this byte.
    #[error("the body is not JSON (byte {0})")]
    Malformed(usize),
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

/// A spliced body.
pub type JsonSplice = Vec<u8>;

/// Tells the shape of a whole body; malformed JSON is an error.
pub fn json_shape(body: &[u8]) -> Result<JsonShape, JsonSpliceError> {
    let _ = body;
    todo!()
}

/// Takes every top-level member of this name out (names compared with their escapes decoded) and
/// puts one with `value` in. An empty body becomes an object.
pub fn splice_json(body: &[u8], name: &str, value: &str) -> Result<JsonSplice, JsonSpliceError> {
    let _ = (body, name, value);
    todo!()
}
