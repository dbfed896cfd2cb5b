//! RFC 6901 pointers, to find a member and to put one.

use serde_json::{Map, Value};

use crate::vendor::settings::Problems;

/// The longest array that [`Pointer::put`] makes for an index; beyond it an index names a member.
const LONGEST_ARRAY: usize = 16;

/// A pointer's segments, unescaped; none for the whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer, or says what is wrong with it.
    pub(super) fn check(field: &str, text: &str, problems: &mut Problems) -> Option<Self> {
        let pointer = Self::parse(text);
        if pointer.is_none() {
            problems.add(field, "is not a JSON pointer (RFC 6901)", "write it as /data/token");
        }
        pointer
    }

    fn parse(text: &str) -> Option<Self> {
        let Some(segments) = text.strip_prefix('/') else {
            return text.is_empty().then(Self::default);
        };
        segments.split('/').map(unescape).collect::<Option<_>>().map(Self)
    }

    /// What stands there.
    pub(super) fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(document, |value, segment| match value {
            Value::Object(members) => members.get(segment),
            Value::Array(items) => items.get(index(segment)?),
            _ => None,
        })
    }

    /// Puts a value there. What stands in the way becomes an object, or an array where the segment
    /// is an index.
    pub(super) fn put(&self, document: &mut Value, value: Value) {
        let mut place = document;
        for segment in &self.0 {
            let at = index(segment).filter(|at| *at < LONGEST_ARRAY && !has_members(place));
            place = match at {
                Some(at) => {
                    let items = array(place);
                    if items.len() <= at {
                        items.resize(at + 1, Value::Null);
                    }
                    &mut items[at]
                }
                None => object(place).entry(segment.as_str()).or_insert(Value::Null),
            };
        }
        *place = value;
    }
}

fn has_members(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

fn array(place: &mut Value) -> &mut Vec<Value> {
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    match place {
        Value::Array(items) => items,
        _ => unreachable!("made an array just above"),
    }
}

fn object(place: &mut Value) -> &mut Map<String, Value> {
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(members) => members,
        _ => unreachable!("made an object just above"),
    }
}

/// Section 4: digits without a leading zero.
fn index(segment: &str) -> Option<usize> {
    let digits = segment.bytes().all(|b| b.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    segment.parse().ok().filter(|_| digits)
}

/// Section 3: `~1` is a slash, `~0` a tilde, and no other escape is.
fn unescape(segment: &str) -> Option<String> {
    let mut out = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_rfcs_examples_are_found() {
        let document = json!({"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "m~n": 8, "k\"l": 6});
        for (text, expected) in [
            ("", Some(document.clone())),
            ("/foo", Some(json!(["bar", "baz"]))),
            ("/foo/0", Some(json!("bar"))),
            ("/", Some(json!(0))),
            ("/a~1b", Some(json!(1))),
            ("/c%d", Some(json!(2))),
            ("/m~0n", Some(json!(8))),
            ("/k\"l", Some(json!(6))),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/+1", None),
            ("/foo/-", None),
            ("/foo/0/x", None),
        ] {
            assert_eq!(Pointer::parse(text).unwrap().find(&document), expected.as_ref(), "{text}");
        }
        for text in ["foo", "/a~", "/a~2", "#/foo", " /foo"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_put_is_found_again() {
        for text in ["", "/", "/a", "/a/b/c", "/0", "/a/0/b", "/a/3", "/a/99999999", "/a~1b/~0", "/00"] {
            let pointer = Pointer::parse(text).unwrap();
            let mut document = json!({});
            pointer.put(&mut document, json!("t"));
            assert_eq!(pointer.find(&document), Some(&json!("t")), "{text} in {document}");
        }
    }

    #[test]
    fn what_is_put_stands_beside_what_was_there() {
        let mut document = json!({"status": {"code": "OK"}, "list": [1]});
        Pointer::parse("/status/0").unwrap().put(&mut document, json!("t"));
        Pointer::parse("/list/2").unwrap().put(&mut document, json!(3));
        assert_eq!(document, json!({"status": {"code": "OK", "0": "t"}, "list": [1, null, 3]}));
    }
}
