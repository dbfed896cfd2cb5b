//! An answer's headers that point back into the upstream, as the client should see them.

use http::header::{CONTENT_LOCATION, Entry, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::route::{Rewrite, without_parameter};

/// Maps every line of `Location`, `Content-Location` and `Set-Cookie` back. A value that is no UTF-8 is
/// left as it is: it points nowhere that this proxy knows.
pub(super) fn map_back(headers: &mut HeaderMap, rewrite: &Rewrite, query: Option<&str>, client_is_plain: bool) {
    for name in [LOCATION, CONTENT_LOCATION] {
        each(headers, name, |text| rewrite.location_back(text, query));
    }
    each(headers, SET_COOKIE, |text| Some(rewrite.set_cookie_back(text, client_is_plain)));
}

/// Puts what `map` makes of each line in its place; `None` leaves it.
fn each(headers: &mut HeaderMap, name: http::HeaderName, map: impl Fn(&str) -> Option<String>) {
    let Entry::Occupied(mut lines) = headers.entry(name) else { return };
    for line in lines.iter_mut() {
        let mapped = std::str::from_utf8(line.as_bytes()).ok().and_then(&map);
        if let Some(mapped) = mapped.and_then(|text| HeaderValue::try_from(text).ok()) {
            *line = mapped;
        }
    }
}

/// Takes the token out of every line that leads on, wherever it leads and whether it is mapped or not:
/// first the query parameter of this `name`, then, where it still `tells` the token, the line.
pub(super) fn conceal(headers: &mut HeaderMap, name: &str, tells: impl Fn(&[u8]) -> bool) {
    for header in [LOCATION, CONTENT_LOCATION] {
        if !headers.get_all(&header).iter().any(|line| tells(line.as_bytes())) {
            continue;
        }
        let lines: Vec<HeaderValue> = headers.get_all(&header).iter().cloned().collect();
        headers.remove(&header);
        for line in lines {
            let line = if tells(line.as_bytes()) { concealed(&line, name) } else { Some(line) };
            match line.filter(|line| !tells(line.as_bytes())) {
                Some(line) => drop(headers.append(&header, line)),
                None => {
                    tracing::debug!(header = header.as_str(), "a line of the answer told the token and was left out");
                }
            }
        }
    }
}

/// The line without the parameter; `None` where it is no text, or clients read it otherwise than it stands.
fn concealed(line: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let text = std::str::from_utf8(line.as_bytes()).ok()?;
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    HeaderValue::try_from(without_parameter(text, name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_do_not_tell_the_token_stay_in_their_order() {
        let mut headers = HeaderMap::new();
        for line in ["/a?key=T", "https://other/?key=1", "?a&key=T#f", "/T", "/b"] {
            headers.append(LOCATION, HeaderValue::from_static(line));
        }
        conceal(&mut headers, "key", |text| text.contains(&b'T'));
        let left: Vec<_> = headers.get_all(LOCATION).iter().collect();
        assert_eq!(left, ["/a", "https://other/?key=1", "?a#f", "/b"]);
    }
}
