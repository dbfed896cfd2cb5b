//! What a `Content-Type` says, as far as the proxy cares.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// The media type without its parameters, trimmed.
fn essence(value: &HeaderValue) -> &[u8] {
    value.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii()
}

/// `application/json`, `text/json`, or any type with the `+json` suffix (RFC 6839 section 3.1).
pub(super) fn is_json(value: &HeaderValue) -> bool {
    let essence = essence(value);
    let suffix = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
    essence.eq_ignore_ascii_case(b"application/json")
        || essence.eq_ignore_ascii_case(b"text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

/// A stream of server-sent events, which may be silent for as long as it likes.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(is_of_events)
}

/// Asked of every answer: most are told by their length or their first letters.
fn is_of_events(value: &HeaderValue) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    let Some((start, rest)) = value.as_bytes().trim_ascii_start().split_at_checked(TYPE.len()) else { return false };
    start.eq_ignore_ascii_case(TYPE) && matches!(rest.trim_ascii_start(), [] | [b';', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_media_type() {
        for (text, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/json", true),
            ("text/plain", false),
            ("application/jsonp", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_stream_of_events_is_told_by_its_media_type() {
        for (text, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream", true),
            (" text/event-stream ", true),
            ("text/event-stream;charset=utf-8", true),
            ("text/event-stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/event-stream charset", false),
            ("text/event-strea", false),
            ("text/plain;text/event-stream", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(is_of_events(&HeaderValue::from_static(text)), expected, "{text}");
        }
    }
}
