//! A top-level member of a JSON object, spliced: every other member's text stays as it came.
//!
//! The new member is the first one: its place does not depend on what is behind it, and a reader
//! that stops early has met it. A byte order mark before the text is skipped and kept.

use crate::model::{JsonEvent, JsonFault, JsonScanner, json_says};

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
    /// Not JSON (RFC 8259), or nested deeper than [`JSON_DEPTH`](crate::model::JSON_DEPTH), at this byte.
    #[error("the body is not JSON (byte {0})")]
    Malformed(usize),
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

impl From<JsonFault> for JsonSpliceError {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Malformed(at) => Self::Malformed(at),
            // Not met: the text is whole.
            JsonFault::Partial => Self::Malformed(0),
        }
    }
}

/// A spliced body.
pub type JsonSplice = Vec<u8>;

/// Tells the shape of a whole body; malformed JSON is an error.
pub fn json_shape(body: &[u8]) -> Result<JsonShape, JsonSpliceError> {
    if is_blank(body) {
        return Ok(JsonShape::Empty);
    }
    let mut scanner = JsonScanner::new();
    let shape = match scanner.next(body, true)? {
        JsonEvent::ObjectStart => JsonShape::Object,
        _ => JsonShape::Other,
    };
    while scanner.next(body, true)? != JsonEvent::End {}
    Ok(shape)
}

/// Takes every top-level member of this name out (names compared with their escapes decoded) and
/// puts one with `value` in, before all others. An empty body becomes an object.
pub fn splice_json(body: &[u8], name: &str, value: &str) -> Result<JsonSplice, JsonSpliceError> {
    // Six bytes are the longest escape: it does not grow, and leaves no copy of the value behind.
    let mut spliced = Vec::with_capacity(body.len() + 6 * (name.len() + value.len()) + 16);
    if is_blank(body) {
        spliced.extend_from_slice(body);
        spliced.push(b'{');
        push_member(&mut spliced, name, value);
        spliced.push(b'}');
        return Ok(spliced);
    }

    let mut scanner = JsonScanner::new();
    if scanner.next(body, true)? != JsonEvent::ObjectStart {
        while scanner.next(body, true)? != JsonEvent::End {}
        return Err(JsonSpliceError::NotAnObject);
    }
    let mut segment = scanner.separator() + 1;
    spliced.extend_from_slice(slice(body, 0, segment));
    push_member(&mut spliced, name, value);

    // From here on the members' own text, each with the white space around it, from comma to comma.
    let mut member = None; // of the segment: whether it stays
    loop {
        match scanner.next(body, true)? {
            JsonEvent::Name(range) if scanner.depth() == 1 => {
                if let Some(stays) = member {
                    push_segment(&mut spliced, stays, slice(body, segment, scanner.separator()));
                    segment = scanner.separator() + 1;
                }
                member = Some(!json_says(slice(body, range.start, range.end), name));
            }
            JsonEvent::ObjectEnd(at) if scanner.depth() == 0 => {
                let last = slice(body, segment, at);
                match member {
                    Some(stays) => push_segment(&mut spliced, stays, last),
                    None => spliced.extend_from_slice(last), // `{ }`
                }
                segment = at;
            }
            JsonEvent::End => break,
            _ => {}
        }
    }
    spliced.extend_from_slice(slice(body, segment, body.len()));
    Ok(spliced)
}

fn push_segment(spliced: &mut Vec<u8>, stays: bool, segment: &[u8]) {
    if stays {
        spliced.push(b',');
        spliced.extend_from_slice(segment);
    }
}

fn push_member(spliced: &mut Vec<u8>, name: &str, value: &str) {
    push_string(spliced, name);
    spliced.push(b':');
    push_string(spliced, value);
}

/// RFC 8259 section 7: only the quote, the backslash and control characters must be escaped.
fn push_string(spliced: &mut Vec<u8>, string: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    spliced.push(b'"');
    for &byte in string.as_bytes() {
        match byte {
            b'"' | b'\\' => spliced.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                spliced.extend_from_slice(b"\\u00");
                spliced.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            _ => spliced.push(byte),
        }
    }
    spliced.push(b'"');
}

/// Nothing but white space, perhaps behind a byte order mark.
fn is_blank(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// The scanner's places always lie in the text that it read.
fn slice(body: &[u8], from: usize, to: usize) -> &[u8] {
    body.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests;
