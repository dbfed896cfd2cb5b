//! Looks ahead into a JSON answer for the value under one pointer (RFC 6901), while the answer is
//! still arriving, to tell an error inside a 200 from a result.
//!
//! The first value found decides: what is behind it is neither read nor judged. Where a name
//! stands twice in an object the first member is meant, also where only a later one would go on
//! along the pointer.

use crate::model::{JsonEvent, JsonFault, JsonScanner, json_says, json_unescaped};

/// What is known from the text so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scan {
    /// The value there: a string with its escapes decoded, or a number, `true` or `false` as written.
    Found(String),
    /// It is certain that there is none: the pointer leads nowhere, to `null`, an object or an
    /// array, or the text is no JSON.
    Absent,
    /// The text so far is a valid beginning and does not tell. At the end of the text that means
    /// absent.
    More,
}

/// A look-ahead that goes on where it stopped, so that an answer in many pieces is read once.
#[derive(Clone, Debug)]
pub(super) struct PointerScan<'p> {
    /// RFC 6901 segments, unescaped.
    pointer: &'p [String],
    scanner: JsonScanner,
    /// How many of the open containers, from the outermost, lie on the pointer's way.
    on_way: u32,
    /// How many elements of the innermost container on the way have begun, if it is an array.
    element: Option<usize>,
    /// Whether the value that comes next is the one that the next segment names.
    chosen: bool,
}

impl<'p> PointerScan<'p> {
    /// Looks for the value under `pointer`; without segments that is the whole text.
    pub(super) fn new(pointer: &'p [String]) -> Self {
        Self { pointer, scanner: JsonScanner::new(), on_way: 0, element: None, chosen: true }
    }

    /// Looks at more of the text; `text` is all of it from its beginning.
    pub(super) fn scan(&mut self, text: &[u8]) -> Scan {
        loop {
            let event = match self.scanner.next(text, false) {
                Ok(event) => event,
                Err(JsonFault::Partial) => return Scan::More,
                Err(JsonFault::Malformed(_)) => return Scan::Absent,
            };
            if let Some(verdict) = self.judge(event, text) {
                return verdict;
            }
        }
    }

    fn judge(&mut self, event: JsonEvent, text: &[u8]) -> Option<Scan> {
        let depth = self.scanner.depth();
        match event {
            JsonEvent::Name(range) => {
                if depth == self.on_way {
                    let raw = text.get(range).unwrap_or_default();
                    self.chosen = self.segment().is_some_and(|segment| json_says(raw, segment));
                }
                None
            }
            JsonEvent::ObjectStart | JsonEvent::ArrayStart => {
                if !self.is_chosen(depth - 1) {
                    return None;
                }
                self.on_way = depth;
                self.element = (event == JsonEvent::ArrayStart).then_some(0);
                // A container where the value should be.
                self.segment().is_none().then_some(Scan::Absent)
            }
            // The chosen branch is over without the value.
            JsonEvent::ObjectEnd(_) | JsonEvent::ArrayEnd => (depth < self.on_way).then_some(Scan::Absent),
            JsonEvent::Text(range) => {
                self.verdict(depth, || json_unescaped(text.get(range).unwrap_or_default()).into_owned())
            }
            JsonEvent::Plain(range) => {
                self.verdict(depth, || String::from_utf8_lossy(text.get(range).unwrap_or_default()).into_owned())
            }
            JsonEvent::Null => self.is_chosen(depth).then_some(Scan::Absent),
            JsonEvent::End => Some(Scan::Absent),
        }
    }

    /// The segment that names a child of the innermost container on the way.
    fn segment(&self) -> Option<&'p str> {
        self.pointer.get(usize::try_from(self.on_way.checked_sub(1)?).ok()?).map(String::as_str)
    }

    /// Whether a value that begins in the container of this depth is the one on the way.
    fn is_chosen(&mut self, depth: u32) -> bool {
        if depth != self.on_way {
            return false;
        }
        let segment = self.segment();
        if let Some(element) = &mut self.element {
            self.chosen = segment.and_then(array_index) == Some(*element);
            *element += 1;
        }
        self.chosen
    }

    fn verdict(&mut self, depth: u32, value: impl FnOnce() -> String) -> Option<Scan> {
        self.is_chosen(depth).then(|| {
            let last = usize::try_from(depth).is_ok_and(|depth| depth == self.pointer.len());
            if last { Scan::Found(value()) } else { Scan::Absent }
        })
    }
}

/// RFC 6901 section 4: digits without a leading zero; `-` is behind the last element.
fn array_index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with('0') && segment.bytes().all(|b| b.is_ascii_digit());
    if plain { segment.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn scan(buffer: &[u8], pointer: &[String]) -> Scan {
        PointerScan::new(pointer).scan(buffer)
    }

    fn pointer(text: &str) -> Vec<String> {
        text.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect()
    }

    fn look(text: &str, at: &str) -> Scan {
        scan(text.as_bytes(), &pointer(at))
    }

    fn found(text: &str) -> Scan {
        Scan::Found(text.to_owned())
    }

    #[test]
    fn an_error_inside_an_answer_is_found_as_soon_as_its_value_is_complete() {
        let text = r#" {"data":{"status":{"code":"no"}},"status":{"x":[{"code":1}],"code":"INVALID_\u0054OKEN"}"#;
        let complete = text.len() - 1;
        for end in 0..complete {
            assert_eq!(look(&text[..end], "/status/code"), Scan::More, "{}", &text[..end]);
        }
        assert_eq!(look(&text[..complete], "/status/code"), found("INVALID_TOKEN"));
        assert_eq!(look(&format!("{}garbage", &text[..complete]), "/status/code"), found("INVALID_TOKEN"));
    }

    #[test]
    fn what_the_pointer_names_is_found_and_nothing_else() {
        for (text, at, expected) in [
            (r#"{"a":"b"}"#, "/a", found("b")),
            (r#"{"a":-1.5e3}"#, "/a", found("-1.5e3")),
            (r#"{"a":true}"#, "/a", found("true")),
            (r#"{"a":fals"#, "/a", Scan::More),
            (r#"{"a":12"#, "/a", Scan::More),
            (r#"{"a":"1"#, "/a", Scan::More),
            (r#"{"\u0061":"b"}"#, "/a", found("b")),
            (r#"{"a/b":{"c~d":"e"}}"#, "/a~1b/c~0d", found("e")),
            (r#"{"":{"":1}}"#, "//", found("1")),
            (r#"["x",[0,{"a":"y"}]]"#, "/0", found("x")),
            (r#"["x",[0,{"a":"y"}]]"#, "/1/1/a", found("y")),
            (r#"{"0":"x"}"#, "/0", found("x")),
            (r#"[[1],[2,"q"],3]"#, "/1/1", found("q")),
            (r#"[[1],[2],"z"]"#, "/2", found("z")),
            ("\"whole\"", "", found("whole")),
            ("\u{feff}{\"a\":1}", "/a", found("1")),
            // Certainly not there.
            (r#"{"a":null"#, "/a", Scan::Absent),
            (r#"{"a":{"#, "/a", Scan::Absent),
            (r#"{"a":["#, "/a", Scan::Absent),
            (r#"{"a":"b""#, "/a/b", Scan::Absent),
            (r#"{"a":null"#, "/a/b", Scan::Absent),
            (r#"{"a":{"c":1}"#, "/a/b", Scan::Absent),
            (r#"{"b":1}"#, "/a", Scan::Absent),
            (r#"{"x":{"a":1}}"#, "/a", Scan::Absent),
            (r#"["x"]"#, "/1", Scan::Absent),
            (r#"["x","y"]"#, "/01", Scan::Absent),
            (r#"["x","y"]"#, "/-", Scan::Absent),
            (r#"["x","y"]"#, "/+1", Scan::Absent),
            (r#"["x"]"#, "/", Scan::Absent),
            ("1 ", "/a", Scan::Absent),
            ("[", "", Scan::Absent),
            // No JSON.
            ("<html>", "/a", Scan::Absent),
            ("{\"a\" 1", "/a", Scan::Absent),
            ("{\"x\":\"\n", "/a", Scan::Absent),
            // Not known yet.
            ("", "/a", Scan::More),
            ("  ", "/a", Scan::More),
            ("\u{feff}", "/a", Scan::More),
            (r#"{"b":{"a":1"#, "/a", Scan::More),
            (r#"{"a":{"c":1,"#, "/a/b", Scan::More),
        ] {
            assert_eq!(look(text, at), expected, "{text} at {at}");
        }
        assert_eq!(scan(b"\xef\xbb", &pointer("/a")), Scan::More, "half a byte order mark");
    }

    #[test]
    fn of_members_with_one_name_the_first_decides() {
        assert_eq!(look(r#"{"a":1,"a":2}"#, "/a"), found("1"));
        assert_eq!(look(r#"{"a":{"x":1},"a":{"b":2}}"#, "/a/b"), Scan::Absent);
        assert_eq!(look(r#"{"a":null,"a":2}"#, "/a"), Scan::Absent);
    }

    #[test]
    fn deep_nesting_is_absent_not_a_crash() {
        assert_eq!(scan("[".repeat(65_536).as_bytes(), &pointer("/a")), Scan::Absent);
        assert_eq!(scan("{\"a\":".repeat(10_000).as_bytes(), &vec!["a".to_owned(); 10_001]), Scan::Absent);
    }

    fn value() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec!["a", "b", "0", "1", "", "~", "/", "\u{e9}\n"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| Value::from(
                    members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect::<Map<_, _>>()
                )),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn the_pointer_finds_what_serde_jsons_pointer_finds(
            value in value(),
            at in prop::sample::select(vec!["", "/a", "/0", "/1", "/a/b", "/a/0", "/0/a", "/1/1", "/", "/~0", "/~1", "/a/b/0", "/b/\u{e9}\n"]),
            pretty in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            text.push('\n'); // a number alone is complete only then
            let expected = match value.pointer(at) {
                Some(Value::String(text)) => found(text),
                Some(plain @ (Value::Number(_) | Value::Bool(_))) => found(&plain.to_string()),
                _ => Scan::Absent,
            };
            let pointer = pointer(at);
            let whole = scan(text.as_bytes(), &pointer);
            // The end of a text that never had the value is not seen; `More` means absent then.
            prop_assert!(whole == expected || (whole == Scan::More && expected == Scan::Absent), "{whole:?} for {expected:?}");

            let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            ends.sort_unstable();
            let mut pieces = PointerScan::new(&pointer);
            for end in ends {
                let so_far = pieces.scan(&text.as_bytes()[..end]);
                prop_assert_eq!(&so_far, &scan(&text.as_bytes()[..end], &pointer));
                if so_far != Scan::More {
                    prop_assert_eq!(&so_far, &whole, "a verdict never changes");
                    return Ok(());
                }
            }
            prop_assert_eq!(pieces.scan(text.as_bytes()), whole);
        }

        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..40), at in "(/[a01]){0,2}") {
            scan(&text, &pointer(&at));
        }
    }
}
