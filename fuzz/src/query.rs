//! Queries: the token's parameter stands there once, at the end; every other byte stays.

use tokenferry::token::inject::{has_parameter, remove_parameter, splice_query};

use super::line;

/// The input is the parameter's name, a line; the token, a line; and the query.
pub fn query(data: &[u8]) {
    let (name, data) = line(data);
    let (token, query) = line(data);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(name), Some(token), Some(query)) = (text(name), text(token), text(query)) else { return };
    // The oracle reads bytes that are not UTF-8 as this character.
    if name.contains('\u{fffd}') {
        return;
    }

    let spliced = splice_query(Some(query), name, token);
    let removed = remove_parameter(query, name);
    let others = |query: &str| -> Vec<(String, String)> { pairs(query).filter(|(n, _)| n != name).collect() };
    let mut expected = others(query);
    assert_eq!(pairs(removed.as_deref().unwrap_or_default()).collect::<Vec<_>>(), expected, "removed");
    expected.push((name.to_owned(), token.to_owned()));
    assert_eq!(pairs(&spliced).collect::<Vec<_>>(), expected, "spliced");
    assert_eq!(has_parameter(query, name), pairs(query).any(|(n, _)| n == name), "found");
    assert_eq!(splice_query(Some(&spliced), name, token), spliced, "put in again");

    // Byte for byte, the empty ones between two `&` too.
    let raw = |query: &str| -> Vec<String> {
        let named = |part: &&str| !part.is_empty() && pairs(part).any(|(n, _)| n == name);
        query.split('&').filter(|part| !named(part)).map(str::to_owned).collect()
    };
    let kept = raw(query);
    assert_eq!(removed.unwrap_or_default(), kept.join("&"), "every other byte stays");
    let own = spliced.rsplit('&').next().unwrap_or_default();
    assert!(own.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{own:?} is no query");
    let before = spliced.strip_suffix(own).unwrap_or_default();
    let before = before.strip_suffix('&').unwrap_or(before);
    assert_eq!(before, kept.join("&"), "every other byte stays");
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()))
}
