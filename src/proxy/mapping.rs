//! An answer's headers that point back into the upstream, as the client should see them.

use http::header::{CONTENT_LOCATION, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::route::Rewrite;

/// Maps `Location`, `Content-Location` and `Set-Cookie` back. A value that is no UTF-8 is
/// left as it is: it points nowhere that this proxy knows.
pub(super) fn map_back(headers: &mut HeaderMap, rewrite: &Rewrite, query: Option<&str>, client_is_plain: bool) {
    for name in [LOCATION, CONTENT_LOCATION] {
        let Some(value) = headers.get_mut(&name) else { continue };
        let mapped = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| rewrite.location_back(text, query));
        if let Some(mapped) = mapped.and_then(|text| HeaderValue::try_from(text).ok()) {
            *value = mapped;
        }
    }
    if let http::header::Entry::Occupied(mut cookies) = headers.entry(SET_COOKIE) {
        for cookie in cookies.iter_mut() {
            let mapped =
                std::str::from_utf8(cookie.as_bytes()).map(|text| rewrite.set_cookie_back(text, client_is_plain));
            if let Ok(Ok(mapped)) = mapped.map(HeaderValue::try_from) {
                *cookie = mapped;
            }
        }
    }
}
