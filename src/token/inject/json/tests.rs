use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn spliced(body: &str) -> Result<String, JsonSpliceError> {
    splice_json(body.as_bytes(), "token", "T").map(|body| String::from_utf8(body).unwrap())
}

#[test]
fn the_token_is_the_first_member_and_every_other_byte_stays() {
    for (body, expected) in [
        ("{}", r#"{"token":"T"}"#),
        (" { } \n", " {\"token\":\"T\" } \n"),
        (r#"{"a":1}"#, r#"{"token":"T","a":1}"#),
        ("\t{ \"a\" : 1 ,\r\n \"b\":[{ }] } ", "\t{\"token\":\"T\", \"a\" : 1 ,\r\n \"b\":[{ }] } "),
        (r#"{"token":"x"}"#, r#"{"token":"T"}"#),
        (r#"{"token":"x","a":1}"#, r#"{"token":"T","a":1}"#),
        (r#"{"a":1,"token":"x"}"#, r#"{"token":"T","a":1}"#),
        (r#"{"a":1, "token" : {"token":[1,2]} ,"b":2}"#, r#"{"token":"T","a":1,"b":2}"#),
        (r#"{"token":1,"token":2,"a":3,"token":4}"#, r#"{"token":"T","a":3}"#),
        (r#"{"\u0074oken":1,"t\u006Fken":2,"Token":3}"#, r#"{"token":"T","Token":3}"#),
        (
            r#"{"a":{"token":1},"b":"token","c":[{"token":2}]}"#,
            r#"{"token":"T","a":{"token":1},"b":"token","c":[{"token":2}]}"#,
        ),
        (r#"{"a":1.50e+3,"a":"\/\u00e9"}"#, r#"{"token":"T","a":1.50e+3,"a":"\/\u00e9"}"#),
        ("{\"a\":\"}\\\"{,\"}", "{\"token\":\"T\",\"a\":\"}\\\"{,\"}"),
        ("\u{feff}{\"a\":1}", "\u{feff}{\"token\":\"T\",\"a\":1}"),
        ("", r#"{"token":"T"}"#),
        (" \r\n", " \r\n{\"token\":\"T\"}"),
        ("\u{feff}", "\u{feff}{\"token\":\"T\"}"),
    ] {
        assert_eq!(spliced(body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn what_is_no_object_is_told_from_what_is_no_json() {
    for body in ["[]", "1", "\"token\"", "null", " [ {\"token\":1} ] "] {
        assert_eq!(spliced(body), Err(JsonSpliceError::NotAnObject), "{body}");
        assert_eq!(json_shape(body.as_bytes()), Ok(JsonShape::Other), "{body}");
    }
    for (body, at) in [("{\"a\":1}}", 7), ("{\"a\":1", 6), ("[1", 2), ("[]{}", 2), ("{\"token\":tru}", 12), ("a=1", 0)]
    {
        assert_eq!(spliced(body), Err(JsonSpliceError::Malformed(at)), "{body}");
        assert_eq!(json_shape(body.as_bytes()), Err(JsonSpliceError::Malformed(at)), "{body}");
    }
    assert_eq!(splice_json(b"{\"a\":\"\xff\"}", "token", "T"), Err(JsonSpliceError::Malformed(6)));
    assert_eq!(json_shape(b" \n"), Ok(JsonShape::Empty));
    assert_eq!(json_shape(b"{} "), Ok(JsonShape::Object));
}

#[test]
fn name_and_value_are_escaped() {
    let body = splice_json(b"{\"a\\\"b\":1,\"c\":2}", "a\"b", "\"\\\n\u{0}\u{e9}").unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), "{\"a\\\"b\":\"\\\"\\\\\\u000a\\u0000\u{e9}\",\"c\":2}");
}

/// One spelling of a string among many: plain, or every UTF-16 unit escaped.
fn spelling(name: &str, escaped: bool) -> String {
    if escaped {
        let units: Vec<_> = name.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{}\"", units.concat())
    } else {
        serde_json::to_string(name).unwrap()
    }
}

/// An object with odd white space, duplicates and escapes: its members as (name, raw text).
fn object() -> impl Strategy<Value = (Vec<(String, String)>, String)> {
    let space = || prop::sample::select(vec!["", "", " ", "\n\t", "\r\n "]);
    let name =
        prop_oneof![Just("token".to_owned()), Just("Token".to_owned()), Just("\u{1f600}".to_owned()), any::<String>(),];
    let value = prop_oneof![
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("{ \"token\" : [1 ,{}] }".to_owned()),
        Just("[ {\"token\":\",}\"}, 1.50E+2 ]".to_owned()),
        Just("null".to_owned()),
    ];
    let member = (name, any::<bool>(), value, space(), space(), space()).prop_map(|(name, escaped, value, a, b, c)| {
        let text = format!("{a}{}{b}:{c}{value}{a}", spelling(&name, escaped));
        (name, text)
    });
    (prop::collection::vec(member, 0..6), space(), space()).prop_map(|(members, before, behind)| {
        let inner: Vec<_> = members.iter().map(|(_, text)| text.as_str()).collect();
        let body = format!("{before}{{{}}}{behind}", inner.join(","));
        (members, body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_others_text_stays_in_order_and_the_token_is_there_once(
        (members, body) in object(), name in prop::sample::select(vec!["token", "\u{1f600}", "a\"\\"]), value in any::<String>(),
    ) {
        let result = String::from_utf8(splice_json(body.as_bytes(), name, &value).unwrap()).unwrap();

        let mut expected = vec![format!("{}:{}", spelling(name, false), "")];
        expected.extend(members.iter().filter(|(n, _)| n != name).map(|(_, text)| text.clone()));
        let (head, rest) = expected.split_first().unwrap();
        let open = body.find('{').unwrap();
        let start = format!("{}{{{head}\"", &body[..open]);
        prop_assert!(result.starts_with(&start), "does not begin with the token");
        let others: Vec<_> = rest.iter().map(|text| format!(",{text}")).collect();
        let tail = others.concat() + &body[body.rfind('}').unwrap()..];
        prop_assert!(result.ends_with(&tail), "does not end with the others' text");

        // The token once, and nothing between it and the others.
        let parsed: Value = serde_json::from_str(&result).unwrap();
        prop_assert_eq!(&parsed[name], &Value::from(value.clone()));
        let token = &result[open + 1 + head.len()..result.len() - tail.len()];
        prop_assert_eq!(serde_json::from_str::<String>(token).unwrap(), value);
    }

    #[test]
    fn splicing_twice_is_splicing_once((_, body) in object()) {
        let once = splice_json(body.as_bytes(), "token", "A").unwrap();
        prop_assert_eq!(splice_json(&once, "token", "B"), splice_json(body.as_bytes(), "token", "B"));
    }

    #[test]
    fn arbitrary_bytes_are_spliced_exactly_when_serde_json_reads_an_object(
        (_, body) in object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3,
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        match how {
            0 => body[at] = byte,
            1 => body.truncate(at),
            _ => body.insert(at, byte),
        }
        let blank = body.iter().all(u8::is_ascii_whitespace);
        match (splice_json(&body, "token", "T"), serde_json::from_slice::<Value>(&body)) {
            (Ok(_), _) if blank => {}
            (Ok(result), Ok(Value::Object(_))) => prop_assert!(serde_json::from_slice::<Value>(&result).is_ok()),
            (Err(JsonSpliceError::NotAnObject), Ok(other)) => prop_assert!(!other.is_object()),
            (Err(JsonSpliceError::Malformed(_)), Err(_)) => {}
            // Half of a surrogate pair, or a number beyond f64: RFC 8259's grammar has both.
            (Ok(_) | Err(JsonSpliceError::NotAnObject), Err(error)) => {
                prop_assert!(error.to_string().contains("surrogate") || error.to_string().contains("hex escape")
                    || error.to_string().contains("out of range"), "{}", error);
            }
            (ours, theirs) => prop_assert!(false, "{ours:?} but {theirs:?}"),
        }
    }
}
