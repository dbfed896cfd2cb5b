//! JSON bodies: the token's member stands there once, first; every other member's text stays. Judged
//! by `serde_json` and a splitter that knows no more than strings and brackets. And a text that
//! arrives in pieces is read as the same text at once.

use serde_json::Value;
use tokenferry::model::{JsonEvent, JsonFault, JsonScanner};
use tokenferry::token::inject::{JsonShape, JsonSpliceError, json_shape, splice_json};

use super::line;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The input is the member's name, a line; the token, a line; and the body.
pub fn json(data: &[u8]) {
    let (name, data) = line(data);
    let (token, body) = line(data);
    let (Ok(name), Ok(token)) = (std::str::from_utf8(name), std::str::from_utf8(token)) else { return };
    pieces(body);

    let text = body.strip_prefix(BOM).unwrap_or(body);
    let shape = json_shape(body);
    let spliced = splice_json(body, name, token);
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(_)) => {
            assert_eq!(shape, Ok(JsonShape::Object));
            whole(text, &spliced.unwrap_or_else(|error| panic!("{error}")), name, token);
        }
        Ok(_) => {
            assert_eq!(shape, Ok(JsonShape::Other));
            assert_eq!(spliced, Err(JsonSpliceError::NotAnObject));
        }
        Err(_) if text.trim_ascii().is_empty() => {
            // A form feed is no white space of JSON's.
            if shape == Ok(JsonShape::Empty) {
                let spliced = spliced.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(members(spliced.strip_prefix(BOM).unwrap_or(&spliced)).len(), 1);
            }
        }
        Err(error) => {
            // The scanner takes what the grammar allows and a machine's numbers and text do not hold.
            let error = error.to_string();
            let grammar = ["number out of range", "lone leading surrogate", "unexpected end of hex escape"];
            assert!(shape.is_err() || grammar.iter().any(|known| error.contains(known)), "taken, though {error}");
            assert_eq!(shape.is_err(), matches!(spliced, Err(JsonSpliceError::Malformed(_))));
        }
    }
}

/// A body that is an object, spliced.
fn whole(text: &[u8], spliced: &[u8], name: &str, token: &str) {
    let spliced = spliced.strip_prefix(BOM).unwrap_or(spliced);
    serde_json::from_slice::<Value>(spliced).unwrap_or_else(|error| panic!("spliced into what is no JSON: {error}"));
    let mut now = members(spliced);
    assert!(!now.is_empty());
    let (first, value) = now.remove(0);
    assert_eq!(first, name);
    let value: String =
        serde_json::from_slice(value.splitn(2, |b| *b == b':').nth(1).unwrap_or_default()).unwrap_or_default();
    // The name may hold a colon; then the value is judged by the parser alone.
    if !name.contains(':') {
        assert_eq!(value, token);
    }
    let object: Value = serde_json::from_slice(spliced).unwrap_or_default();
    assert_eq!(object.get(name).and_then(Value::as_str), Some(token), "once, so that the last is the first");

    let others: Vec<_> = members(text).into_iter().filter(|(member, _)| member != name).collect();
    assert_eq!(now, others, "every other member's text stays");
}

/// The members of an object, each with its name and its text from comma to comma. For valid JSON only.
fn members(text: &[u8]) -> Vec<(String, &[u8])> {
    let open = text.iter().position(|byte| *byte == b'{').unwrap_or_default() + 1;
    let mut found = Vec::new();
    let (mut start, mut at, mut depth) = (open, open, 1);
    while depth > 0 {
        match text[at] {
            b'"' => at = string_end(text, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && text[at] == b',') {
            let member = &text[start..at];
            if let Some(quote) = member.iter().position(|byte| *byte == b'"') {
                let name = &member[quote..=string_end(member, quote)];
                found.push((serde_json::from_slice(name).unwrap_or_default(), member));
            }
            start = at + 1;
        }
        at += 1;
    }
    found
}

/// Where the string that begins here has its closing quote.
fn string_end(text: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// Reads the text byte by byte, and in pieces that grow, as at once.
fn pieces(body: &[u8]) {
    let at_once = events(body, [body.len()].into_iter());
    if body.len() <= 256 {
        assert_eq!(events(body, 0..=body.len()), at_once, "byte by byte");
    }
    let growing = (0..).map(|n: usize| n * n).take_while(|end| *end < body.len()).chain([body.len()]);
    assert_eq!(events(body, growing), at_once, "in pieces");
}

fn events(body: &[u8], mut ends: impl Iterator<Item = usize>) -> (Vec<(JsonEvent, u32, usize)>, Option<JsonFault>) {
    let mut scanner = JsonScanner::new();
    let mut met = Vec::new();
    let mut end = ends.next().unwrap_or(body.len());
    loop {
        match scanner.next(&body[..end], end == body.len()) {
            Ok(JsonEvent::End) => return (met, None),
            Ok(event) => met.push((event, scanner.depth(), scanner.separator())),
            Err(JsonFault::Partial) => end = ends.next().expect("the whole text is never partial"),
            Err(fault) => return (met, Some(fault)),
        }
    }
}
