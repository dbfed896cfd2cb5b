//! A strict JSON scanner (RFC 8259) that says *where* things are, so that text can be spliced
//! instead of being parsed and written again.
//!
//! It works on text that may still be arriving: every call of [`JsonScanner::next`] gets the text
//! so far, and a token that is not complete yet is met again, from its beginning, by the next call.
//! It keeps its nesting in one word and never recurses.
//!
//! Where it differs from `serde_json`: a UTF-8 byte order mark at the very beginning is skipped
//! (RFC 8259 section 8.1 lets a reader do so), a number may be larger than any machine number, and
//! an escape may be half of a surrogate pair (the grammar allows it; such a string equals no name).

use std::borrow::Cow;
use std::ops::Range;

/// How many objects and arrays may be open at once: as many as `serde_json` allows.
pub const JSON_DEPTH: u32 = 127;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What the scanner met. Ranges are byte positions; those of strings lie between the quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonEvent {
    /// `{`.
    ObjectStart,
    /// `}`, at this place.
    ObjectEnd(usize),
    /// `[`.
    ArrayStart,
    /// `]`.
    ArrayEnd,
    /// A member's name, still escaped.
    Name(Range<usize>),
    /// A string value, still escaped.
    Text(Range<usize>),
    /// A number, `true` or `false`, as written.
    Plain(Range<usize>),
    /// `null`.
    Null,
    /// The end of the text, after one whole value.
    End,
}

/// Why the scanner stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonFault {
    /// No text that goes on like this can be JSON; at this byte.
    Malformed(usize),
    /// A valid beginning, but the text ends here.
    Partial,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    Start,
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// Reads one JSON text, event by event.
#[derive(Clone, Debug)]
pub struct JsonScanner {
    at: usize,
    expect: Expect,
    /// One bit for each open container, the innermost lowest; set for objects.
    objects: u128,
    depth: u32,
    separator: usize,
}

impl Default for JsonScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonScanner {
    /// At the beginning of a text.
    pub fn new() -> Self {
        Self { at: 0, expect: Expect::Start, objects: 0, depth: 0, separator: 0 }
    }

    /// How many objects and arrays are open.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Where the last `{`, `[` or `,` was.
    pub fn separator(&self) -> usize {
        self.separator
    }

    /// The next event. `text` is the same text at every call, or more of it; `whole` says that no
    /// more will come, and then [`JsonFault::Partial`] is never the answer.
    pub fn next(&mut self, text: &[u8], whole: bool) -> Result<JsonEvent, JsonFault> {
        match self.step(text, whole) {
            Err(JsonFault::Partial) if whole => Err(JsonFault::Malformed(text.len())),
            other => other,
        }
    }

    fn step(&mut self, text: &[u8], whole: bool) -> Result<JsonEvent, JsonFault> {
        if self.expect == Expect::Start {
            if text.starts_with(BOM) {
                self.at = BOM.len();
            } else if BOM.starts_with(text) {
                return Err(JsonFault::Partial);
            }
            self.expect = Expect::Value;
        }
        loop {
            let rest = text.get(self.at..).unwrap_or_default();
            self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
            let Some(&byte) = text.get(self.at) else {
                return if whole && self.expect == Expect::Nothing {
                    Ok(JsonEvent::End)
                } else {
                    Err(JsonFault::Partial)
                };
            };
            match (self.expect, byte) {
                (Expect::CommaOrEnd, b',') => {
                    self.separator = self.at;
                    self.at += 1;
                    self.expect = if self.in_object() { Expect::Name } else { Expect::Value };
                }
                (Expect::Colon, b':') => {
                    self.at += 1;
                    self.expect = Expect::Value;
                }
                (Expect::Name | Expect::NameOrEnd, b'"') => {
                    let name = self.string(text)?;
                    self.expect = Expect::Colon;
                    return Ok(JsonEvent::Name(name));
                }
                (Expect::NameOrEnd, b'}') | (Expect::ValueOrEnd, b']') => return Ok(self.close()),
                (Expect::CommaOrEnd, b'}') if self.in_object() => return Ok(self.close()),
                (Expect::CommaOrEnd, b']') if !self.in_object() => return Ok(self.close()),
                (Expect::Value | Expect::ValueOrEnd, _) => return self.value(byte, text, whole),
                _ => return Err(JsonFault::Malformed(self.at)),
            }
        }
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn open(&mut self, object: bool) -> Result<JsonEvent, JsonFault> {
        if self.depth == JSON_DEPTH {
            return Err(JsonFault::Malformed(self.at));
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        self.separator = self.at;
        self.at += 1;
        self.expect = if object { Expect::NameOrEnd } else { Expect::ValueOrEnd };
        Ok(if object { JsonEvent::ObjectStart } else { JsonEvent::ArrayStart })
    }

    fn close(&mut self) -> JsonEvent {
        let event = if self.in_object() { JsonEvent::ObjectEnd(self.at) } else { JsonEvent::ArrayEnd };
        self.depth -= 1;
        self.objects >>= 1;
        self.at += 1;
        self.value_done();
        event
    }

    fn value_done(&mut self) {
        self.expect = if self.depth == 0 { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    fn value(&mut self, byte: u8, text: &[u8], whole: bool) -> Result<JsonEvent, JsonFault> {
        let event = match byte {
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b'"' => JsonEvent::Text(self.string(text)?),
            b't' => JsonEvent::Plain(self.word(text, b"true")?),
            b'f' => JsonEvent::Plain(self.word(text, b"false")?),
            b'n' => {
                self.word(text, b"null")?;
                JsonEvent::Null
            }
            b'-' | b'0'..=b'9' => JsonEvent::Plain(self.number(text, whole)?),
            _ => return Err(JsonFault::Malformed(self.at)),
        };
        self.value_done();
        Ok(event)
    }

    fn word(&mut self, text: &[u8], word: &[u8]) -> Result<Range<usize>, JsonFault> {
        let start = self.at;
        for (offset, expected) in word.iter().enumerate() {
            match text.get(start + offset) {
                None => return Err(JsonFault::Partial),
                Some(byte) if byte == expected => {}
                Some(_) => return Err(JsonFault::Malformed(start + offset)),
            }
        }
        self.at = start + word.len();
        Ok(start..self.at)
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self, text: &[u8], whole: bool) -> Result<Range<usize>, JsonFault> {
        let start = self.at;
        let byte = |at: usize| text.get(at).copied();
        let digits = |at: usize| {
            let end = at + text.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
            match byte(end) {
                _ if end > at => Ok(end),
                None => Err(JsonFault::Partial),
                Some(_) => Err(JsonFault::Malformed(end)),
            }
        };
        let mut at = if byte(start) == Some(b'-') { start + 1 } else { start };
        at = if byte(at) == Some(b'0') { at + 1 } else { digits(at)? };
        if byte(at) == Some(b'.') {
            at = digits(at + 1)?;
        }
        if matches!(byte(at), Some(b'e' | b'E')) {
            at += if matches!(byte(at + 1), Some(b'+' | b'-')) { 2 } else { 1 };
            at = digits(at)?;
        }
        if at == text.len() && !whole {
            return Err(JsonFault::Partial); // more digits may come
        }
        self.at = at;
        Ok(start..at)
    }

    /// A string whose opening quote is here; the range between its quotes.
    fn string(&mut self, text: &[u8]) -> Result<Range<usize>, JsonFault> {
        let start = self.at + 1;
        let mut at = start;
        let mut ascii = true;
        loop {
            match text.get(at).copied() {
                None => return Err(JsonFault::Partial),
                Some(b'"') => break,
                Some(b'\\') => at = escape_end(text, at)?,
                Some(0..0x20) => return Err(JsonFault::Malformed(at)),
                Some(byte) => {
                    ascii &= byte.is_ascii();
                    at += 1;
                }
            }
        }
        if !ascii && let Err(error) = std::str::from_utf8(text.get(start..at).unwrap_or_default()) {
            return Err(JsonFault::Malformed(start + error.valid_up_to()));
        }
        self.at = at + 1;
        Ok(start..at)
    }
}

/// Where the escape that begins at `at` ends.
fn escape_end(text: &[u8], at: usize) -> Result<usize, JsonFault> {
    match text.get(at + 1) {
        None => Err(JsonFault::Partial),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            for digit in at + 2..at + 6 {
                match text.get(digit) {
                    None => return Err(JsonFault::Partial),
                    Some(byte) if byte.is_ascii_hexdigit() => {}
                    Some(_) => return Err(JsonFault::Malformed(digit)),
                }
            }
            Ok(at + 6)
        }
        Some(_) => Err(JsonFault::Malformed(at + 1)),
    }
}

/// A string's characters with the escapes decoded; `None` for half of a surrogate pair.
struct Unescaped<'t>(std::str::Chars<'t>);

impl Unescaped<'_> {
    fn unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit << 4 | self.0.next()?.to_digit(16)?;
        }
        Some(unit)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = Option<char>;

    fn next(&mut self) -> Option<Option<char>> {
        let first = self.0.next()?;
        if first != '\\' {
            return Some(Some(first));
        }
        Some(match self.0.next()? {
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let high = self.unit()?;
                if !(0xD800..0xDC00).contains(&high) {
                    return Some(char::from_u32(high));
                }
                // A pair is read whole; whatever else follows is left for the next call.
                let behind = self.0.clone();
                let low = if self.0.next() == Some('\\') && self.0.next() == Some('u') { self.unit() } else { None };
                if let Some(low @ 0xDC00..0xE000) = low {
                    char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
                } else {
                    self.0 = behind;
                    None
                }
            }
            other => Some(other),
        })
    }
}

fn unescaped(raw: &[u8]) -> Unescaped<'_> {
    Unescaped(std::str::from_utf8(raw).unwrap_or_default().chars())
}

/// Whether a string, as it stands between its quotes, says `text` once its escapes are decoded.
/// `raw` is what a [`JsonScanner`] found.
pub fn json_says(raw: &[u8], text: &str) -> bool {
    if !raw.contains(&b'\\') {
        return raw == text.as_bytes();
    }
    unescaped(raw).eq(text.chars().map(Some))
}

/// A string with its escapes decoded; half of a surrogate pair becomes U+FFFD. `raw` is what a
/// [`JsonScanner`] found.
pub fn json_unescaped(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => Cow::Owned(unescaped(raw).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()),
    }
}

#[cfg(test)]
mod tests;
