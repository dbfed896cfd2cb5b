//! The query, spliced: every other byte stays.
//!
//! Parameters stand between `&` and nothing else: that is how forms are read today (WHATWG URL
//! section 5.1), and taking a name out behind a `;` would change another parameter's value.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Takes every parameter of this name (percent-decoded, `+` as space) out of a raw query.
/// `None` when nothing is left.
pub fn remove_parameter(query: &str, name: &str) -> Option<String> {
    Some(kept(query, name, 0)).filter(|rest| !rest.is_empty())
}

/// Takes every parameter of this name out, and puts one with `value` (escaped) at the end. There is one copy
/// of the value, which the caller can wipe: the text does not grow.
pub fn splice_query(query: Option<&str>, name: &str, value: &str) -> String {
    // An escape is three bytes.
    let room = 3 * (name.len() + value.len()) + 2;
    let mut spliced = match query {
        None | Some("") => String::with_capacity(room),
        Some(query) => {
            let mut rest = kept(query, name, room);
            if !rest.is_empty() || query.split('&').any(str::is_empty) {
                rest.push('&');
            }
            rest
        }
    };
    spliced.extend(utf8_percent_encode(name, ESCAPED));
    spliced.push('=');
    spliced.extend(utf8_percent_encode(value, ESCAPED));
    spliced
}

/// Whether a raw query has a parameter of this name.
pub fn has_parameter(query: &str, name: &str) -> bool {
    query.split('&').any(|parameter| is_named(parameter, name))
}

/// Whether a text of an answer tells the token: as it is, or percent-encoded (a space also as `+`), up to
/// as often as an address within an address within an address is.
pub(in crate::token) fn tells(text: &[u8], token: &[u8]) -> bool {
    let holds = |text: &[u8]| !token.is_empty() && text.windows(token.len()).any(|window| window == token);
    if holds(text) {
        return true;
    }
    // Clients drop tabs from URLs, wherever they stand.
    let mut text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_control()).collect();
    for _ in 0..4 {
        if holds(&text) {
            return true;
        }
        let plain: Vec<u8> = decoded(&text).collect();
        // In a path a plus sign is one.
        if holds(&percent_encoding::percent_decode(&text).collect::<Vec<u8>>()) {
            return true;
        }
        if plain == text {
            return false;
        }
        text = plain;
    }
    holds(&text)
}

/// The query without the parameter, in a string with room for `more` bytes.
fn kept(query: &str, name: &str, more: usize) -> String {
    let mut rest = String::with_capacity(query.len() + more);
    let mut first = true;
    for parameter in query.split('&').filter(|parameter| !is_named(parameter, name)) {
        if !first {
            rest.push('&');
        }
        first = false;
        rest.push_str(parameter);
    }
    rest
}

fn is_named(parameter: &str, name: &str) -> bool {
    let raw = parameter.split_once('=').map_or(parameter, |(raw, _)| raw);
    // An empty segment is no parameter, whatever the name.
    !parameter.is_empty() && decoded(raw.as_bytes()).eq(name.bytes())
}

/// The bytes that a raw name stands for. A bad escape stands for itself.
fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        let (&first, mut behind) = rest.split_first()?;
        let byte = match (first, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    behind = after;
                    high << 4 | low
                }
                _ => first,
            },
            _ => first,
        };
        rest = behind;
        Some(byte)
    })
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_and_repetition_of_the_parameter_goes_and_the_rest_stays_byte_for_byte() {
        for (query, left) in [
            ("token=x", None),
            ("token", None),
            ("token=x&token=y&%74oken", None),
            ("a=1&token=x&b=2", Some("a=1&b=2")),
            ("%74%6F%6bEN=x&tokeN=1", Some("%74%6F%6bEN=x&tokeN=1")),
            ("%74%6F%6ben=x&a=%7e+%zz&b", Some("a=%7e+%zz&b")),
            ("a=1&&b", Some("a=1&&b")),
            ("a=1&&token&&b=&", Some("a=1&&&b=&")),
            ("a=token&tokens=1&token%00=2&token%=3", Some("a=token&tokens=1&token%00=2&token%=3")),
            ("a=1;token=x", Some("a=1;token=x")),
            ("token=a=b&c=d=e", Some("c=d=e")),
            ("", None),
        ] {
            assert_eq!(remove_parameter(query, "token").as_deref(), left, "{query}");
        }
        assert_eq!(remove_parameter("api+key=1&api%20key=2&api%2bkey=3", "api key").as_deref(), Some("api%2bkey=3"));
        assert_eq!(remove_parameter("%c3%a9=1&e=2", "\u{e9}").as_deref(), Some("e=2"));
        assert_eq!(remove_parameter("%=1&%2=2&%zz=3", "%zz").as_deref(), Some("%=1&%2=2"));
    }

    #[test]
    fn the_token_is_put_at_the_end_escaped() {
        for (query, spliced) in [
            (None, "token=T"),
            (Some(""), "token=T"),
            (Some("token=x"), "token=T"),
            (Some("token=x&token=y"), "token=T"),
            (Some("a=1&&b"), "a=1&&b&token=T"),
            (Some("a=1&"), "a=1&&token=T"),
            (Some("&token=x"), "&token=T"),
            (Some("token=x&a=%2f"), "a=%2f&token=T"),
        ] {
            assert_eq!(splice_query(query, "token", "T"), spliced, "{query:?}");
        }
        assert_eq!(splice_query(None, "api key", "a+b/c=&%\u{e9}-._~9"), "api%20key=a%2Bb%2Fc%3D%26%25%C3%A9-._~9");
    }

    #[test]
    fn a_token_is_found_in_every_encoding_and_nothing_else_is() {
        let token = "a+b/c d";
        let (once, form) = ("a%2Bb%2fc%20d", "a%2Bb%2Fc+d");
        let twice = utf8_percent_encode(once, NON_ALPHANUMERIC).to_string();
        for text in
            [token, once, form, &twice, &format!("/x?y={once}&z"), &format!("{token}#"), "a+b%2Fc%20d", "a+\tb/c d"]
        {
            assert!(tells(text.as_bytes(), token.as_bytes()), "{text}");
        }
        for text in ["", "a", "a%2Bb%2Fc", "A+B/C D", "a%2Bb/c%2Bd"] {
            assert!(!tells(text.as_bytes(), token.as_bytes()), "{text}");
        }
        assert!(!tells(b"a", b""));
    }

    #[test]
    fn a_token_is_written_once_and_not_moved_as_the_text_grows() {
        let value = "\u{e9}=".repeat(500);
        for query in [None, Some(""), Some("a=1&b"), Some("&&")] {
            let before = query.map_or(0, str::len);
            let spliced = splice_query(query, "k y", &value);
            assert!(spliced.capacity() <= before + 3 * (3 + value.len()) + 2, "{query:?}: it grew");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn form_urlencoded_reads_the_token_once_and_all_else_as_before(
            query in "(([ab]|%61|%6|\\+|%20|%c3%a9|=|%zz){0,4}(=([a-c&=+]|%2[56]){0,3})?&?){0,5}",
            name in prop::sample::select(vec!["a", "b", " ", "ab", "\u{e9}", "%zz", "a a"]),
            value in any::<String>(),
        ) {
            let pairs = |query: &str| {
                form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect::<Vec<_>>()
            };
            let spliced = splice_query(Some(&query), name, &value);
            let mut expected: Vec<_> = pairs(&query).into_iter().filter(|(n, _)| n != name).collect();
            prop_assert_eq!(&pairs(&remove_parameter(&query, name).unwrap_or_default()), &expected);
            expected.push((name.to_owned(), value));
            prop_assert_eq!(pairs(&spliced), expected);
            prop_assert_eq!(has_parameter(&query, name), pairs(&query).iter().any(|(n, _)| n == name));

            let others = |query: &str| -> Vec<String> {
                query.split('&').filter(|p| !has_parameter(p, name)).map(str::to_owned).collect()
            };
            let mut kept = others(&query);
            if query.is_empty() || kept.iter().all(String::is_empty) && !query.split('&').any(str::is_empty) {
                kept.clear();
            }
            prop_assert_eq!(others(&spliced), kept, "every other byte stays");
        }

        #[test]
        fn no_query_panics_and_nothing_changes_where_the_name_is_not(query in "[ -~]{0,40}") {
            prop_assert_eq!(remove_parameter(&query, "token"), Some(query.clone()).filter(|q| !q.is_empty()));
        }
    }
}
