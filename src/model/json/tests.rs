use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

/// All events up to the end.
fn events(text: &[u8]) -> Result<Vec<JsonEvent>, JsonFault> {
    let mut scanner = JsonScanner::new();
    let mut events = Vec::new();
    loop {
        match scanner.next(text, true)? {
            JsonEvent::End => return Ok(events),
            event => events.push(event),
        }
    }
}

/// `serde_json` skips a value without recursion or range checks, but also without looking at the
/// UTF-8 in its strings: together they are the grammar of RFC 8259.
fn oracle(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[test]
fn what_is_not_json_is_refused_where_it_stops_being_json() {
    for (text, at) in [
        ("", 0),
        ("  ", 2),
        ("{", 1),
        ("{\"a\"}", 4),
        ("{\"a\":}", 5),
        ("{\"a\":1,}", 7),
        ("{,}", 1),
        ("{a:1}", 1),
        ("{'a':1}", 1),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("[1}", 2),
        ("{\"a\":1]", 6),
        ("{} {}", 3),
        ("{}x", 2),
        ("01", 1),
        ("-", 1),
        ("+1", 0),
        ("1.", 2),
        (".5", 0),
        ("1e", 2),
        ("1e+x", 3),
        ("0x10", 1),
        ("NaN", 0),
        ("nul", 3),
        ("nulL", 3),
        ("truee", 4),
        ("\"a", 2),
        ("\"\t\"", 1),
        ("\"\\x\"", 2),
        ("\"\\u12g4\"", 5),
        ("\"\\u12", 5),
        ("// no\n1", 0),
        ("\u{a0}1", 0),
        ("[\u{feff}1]", 1),
    ] {
        assert_eq!(events(text.as_bytes()), Err(JsonFault::Malformed(at)), "{text}");
        assert!(!oracle(text.as_bytes()), "{text}");
    }
    for text in [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\xff", b"\"\xe2\x82\""] {
        assert!(matches!(events(text), Err(JsonFault::Malformed(_))), "{text:?}");
    }
}

#[test]
fn what_is_json_is_taken() {
    for text in [
        "0",
        "-0.0E-1",
        "1e999999",
        "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\\ud800\"",
        " [ ] ",
        "{}",
        "[[],{},null,true,false]",
        "{\"\":{\"\":[]}}",
        "\"\u{7f}\u{10ffff}\"",
    ] {
        assert!(events(text.as_bytes()).is_ok(), "{text}");
        assert!(oracle(text.as_bytes()), "{text}");
    }
    assert!(events(b"\xef\xbb\xbf{}").is_ok(), "a byte order mark is skipped");
}

#[test]
fn nesting_is_bounded_and_never_recurses() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    for depth in [1, 126, 127, 128, 129, 1_000_000] {
        let text = nested(depth);
        assert_eq!(events(&text).is_ok(), depth <= JSON_DEPTH as usize, "{depth}");
        if depth < 200 {
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).is_ok(), depth <= 127, "{depth}");
        }
    }
}

#[test]
fn escapes_are_decoded_before_strings_are_compared() {
    for (raw, text, same) in [
        ("token", "token", true),
        (r"\u0074oken", "token", true),
        (r"\u0074\u006F\u006ben", "token", true),
        (r"tok\/en", "tok/en", true),
        (r"\ud83d\ude00", "\u{1f600}", true),
        (r"\uD83D\uDE00!", "\u{1f600}!", true),
        (r"\ud83d", "\u{fffd}", false),
        (r"\ude00\ud83d", "\u{1f600}", false),
        (r"\ud83d\u0041", "\u{fffd}A", false),
        ("Token", "token", false),
        (r"token\u0000", "token", false),
        (r"\\u0074oken", "token", false),
    ] {
        assert_eq!(json_says(raw.as_bytes(), text), same, "{raw}");
        if same {
            assert_eq!(json_unescaped(raw.as_bytes()), text, "{raw}");
        }
    }
    assert_eq!(json_unescaped(br"\ud83d\u0041\ud83d"), "\u{fffd}A\u{fffd}");
    assert_eq!(json_unescaped(br"\ud83d\ud83d\ude00"), "\u{fffd}\u{1f600}");
}

/// Text that is nearly JSON, so that both sides of the grammar are met.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\"a\"",
            "\"a\":",
            "\"\\u00",
            "41\"",
            "0",
            "1",
            "-",
            ".",
            "e",
            "E+",
            "true",
            "false",
            "null",
            "tru",
            " ",
            "\n",
            "\t",
            "\r",
            "\u{b}",
            "\u{e9}",
            "\"\u{e9}\"",
            "\"\\ud800\"",
            "1e5",
            "\"\\n\"",
        ])
        .prop_map(str::to_owned),
        "[ -~]",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// A JSON value with all kinds of strings and odd white space.
fn json_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just(r#""\u0074\ud83d\ude00\/\u00E9""#.to_owned()),
    ];
    let space = || prop::sample::select(vec!["", "", " ", "\n\t", "\r\n "]);
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let member = (space(), any::<String>(), space(), inner.clone(), space());
        prop_oneof![
            prop::collection::vec((space(), inner), 0..5).prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(s, v)| format!("{s}{v}{s}")).collect();
                format!("[{}]", items.join(","))
            }),
            prop::collection::vec(member, 0..5).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(a, name, b, v, c)| format!("{a}{}{b}:{c}{v}", serde_json::to_string(&name).unwrap()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_scanner_takes_what_serde_json_takes(text in nearly_json()) {
        prop_assert_eq!(events(text.as_bytes()).is_ok(), oracle(text.as_bytes()));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_judged_as_by_serde_json(text in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(events(&text).is_ok(), oracle(&text));
    }

    #[test]
    fn a_damaged_value_is_judged_as_by_serde_json(
        value in json_value(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3,
    ) {
        let mut text = value.into_bytes();
        let at = at.index(text.len());
        match how {
            0 => text[at] = byte,
            1 => text.truncate(at),
            _ => text.insert(at, byte),
        }
        prop_assert_eq!(events(&text).is_ok(), oracle(&text));
    }

    #[test]
    fn text_that_arrives_in_pieces_gives_the_same_events(value in json_value(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let text = value.into_bytes();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        ends.sort_unstable();
        let mut scanner = JsonScanner::new();
        let mut met = Vec::new();
        for end in ends {
            loop {
                match scanner.next(&text[..end], false) {
                    Ok(event) => met.push(event),
                    Err(fault) => {
                        prop_assert_eq!(fault, JsonFault::Partial, "a beginning of valid text is never malformed");
                        break;
                    }
                }
            }
        }
        loop {
            match scanner.next(&text, true).unwrap() {
                JsonEvent::End => break,
                event => met.push(event),
            }
        }
        prop_assert_eq!(met, events(&text).unwrap());
    }

    #[test]
    fn strings_decode_as_serde_json_decodes_them(text in any::<String>(), escaped in any::<bool>()) {
        let quoted = if escaped {
            let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{}\"", units.concat())
        } else {
            serde_json::to_string(&text).unwrap()
        };
        let raw = &quoted.as_bytes()[1..quoted.len() - 1];
        prop_assert!(json_says(raw, &text));
        prop_assert_eq!(json_unescaped(raw), text);
    }
}
