//! Headers: every spelling of the place goes, one line is written.

use http::{HeaderMap, HeaderName};

use crate::model::Place;
use crate::token::Rendered;

/// Whether two header names are one to a server that maps names to variables, as CGI does
/// (RFC 3875 section 4.1.18): `_` is `-`. Both are in lower case, as every `HeaderName` is.
pub fn spelled_alike(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).all(|(a, b)| a == b || (dash(a) && dash(b)))
}

fn dash(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

/// Takes out what the client sent in a credential's header places: every case, repetition, and `_`
/// for `-` (servers that map header names to variables read both as one; oauth2-proxy's
/// CVE-2025-64484 was a filter that did not).
///
/// One pass and no allocation where nothing is there.
pub fn remove_headers(headers: &mut HeaderMap, places: &[Place]) {
    for place in places {
        if let Place::Header { name, .. } = place {
            remove_spellings(headers, name);
        }
    }
}

/// Takes out a header under every name that is spelled alike.
pub fn remove_spellings(headers: &mut HeaderMap, name: &HeaderName) {
    if !name.as_str().bytes().any(dash) {
        // It has no other spelling.
        headers.remove(name);
        return;
    }
    let mut exact = false;
    let mut odd = Vec::new();
    for key in headers.keys() {
        if key == name {
            exact = true;
        } else if spelled_alike(key.as_str(), name.as_str()) {
            odd.push(key.clone());
        }
    }
    if exact {
        headers.remove(name);
    }
    for key in odd {
        headers.remove(key);
    }
}

/// Writes the rendered headers, each in place of whatever lines of that name are there. Only a guard does
/// so, which also says where the request may go.
pub(in crate::token) fn insert_headers(headers: &mut HeaderMap, token: &Rendered) {
    for (name, value) in &token.headers {
        headers.insert(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::secret::Secret;

    fn header(name: &str) -> Place {
        Place::Header { name: name.parse().unwrap(), scheme: None }
    }

    fn map(lines: &[(&str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn every_spelling_and_repetition_of_the_place_goes_and_nothing_else() {
        let mut headers = map(&[
            ("X-Api-Key", "1"),
            ("x-api-key", "2"),
            ("X_API_KEY", "3"),
            ("x-api_key", "4"),
            ("x-api_key", "5"),
            ("x-api-keys", "stays"),
            ("x-apikey", "stays"),
            ("accept", "stays"),
            ("authorization", "stays"),
        ]);
        remove_headers(&mut headers, &[header("X-Api-Key"), Place::Query { name: "accept".into() }]);
        assert_eq!(headers.len(), 4);
        assert!(headers.values().all(|value| value == "stays"));
    }

    #[test]
    fn the_token_replaces_every_line_of_its_name() {
        let mut headers = map(&[("authorization", "a"), ("authorization", "b"), ("accept", "c")]);
        let value = HeaderValue::from_static("Bearer T");
        let rendered = Rendered {
            generation: 1,
            headers: vec![(http::header::AUTHORIZATION, value.clone())],
            secret: Secret::new("T"),
        };
        insert_headers(&mut headers, &rendered);
        assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), [&value]);
        assert_eq!(headers.len(), 2);
    }

    proptest! {
        #[test]
        fn no_spelling_is_left_and_no_other_header_is_lost(names in prop::collection::vec("[ab][_-][ab_-]{0,3}", 0..12)) {
            let mut headers = HeaderMap::new();
            for name in &names {
                headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("v"));
            }
            remove_headers(&mut headers, &[header("a-b-a")]);
            let alike = |name: &&String| name.replace('_', "-") == "a-b-a";
            prop_assert_eq!(headers.len(), names.iter().filter(|name| !alike(name)).count());
            prop_assert!(headers.keys().all(|key| key.as_str().replace('_', "-") != "a-b-a"));
        }
    }
}
