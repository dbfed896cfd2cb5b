//! How long a token lives: what the answer says, else what the token says of itself, else nothing.
//!
//! Only differences between the vendor's own times count, never our clock, so that a vendor whose
//! clock is hours off does no harm.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use serde_json::Value;

use super::LifetimeSource;
use super::answer::member;

/// However long a vendor says: a day, after which a new token costs nothing worth mentioning.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// RFC 7515 wants no padding; some vendors write it.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The lifetime by the answer's field (seconds), else by the token's `exp` and `iat`.
pub(super) fn lifetime(field: Option<&Value>, token: &str, headers: &HeaderMap) -> Option<(Duration, LifetimeSource)> {
    if let Some(life) = field.and_then(number).and_then(bounded) {
        return Some((life, LifetimeSource::Answer));
    }
    Some((of_jwt(token, headers)?, LifetimeSource::Token))
}

/// `exp - iat` (RFC 7519 section 4.1), less what is over of it by the answer's own `Date`.
fn of_jwt(token: &str, headers: &HeaderMap) -> Option<Duration> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims: Value = serde_json::from_slice(&BASE64_URL.decode(payload).ok()?).ok()?;
    let expires = number(member(&claims, "exp")?)?;
    let issued = number(member(&claims, "iat")?)?;
    let over = date(headers).map_or(0.0, |date| (date - issued).max(0.0));
    bounded(expires - issued - over)
}

/// A number, or a string that is one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|n: &f64| n.is_finite())
}

/// A life that makes sense, cut to a day.
fn bounded(seconds: f64) -> Option<Duration> {
    if seconds <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok().filter(|life| !life.is_zero())
}

/// How far the clock of whoever wrote `Date` is ahead of ours, in seconds, `now` being ours.
pub fn skew(headers: &HeaderMap, now: u64) -> Option<i64> {
    // A date in whole seconds, less than 2^53 of them.
    #[expect(clippy::cast_possible_truncation, reason = "a date has no fraction and fits")]
    let theirs = date(headers)? as i64;
    Some(theirs - i64::try_from(now).ok()?)
}

fn date(headers: &HeaderMap) -> Option<f64> {
    Some(http_date(headers.get(DATE)?.to_str().ok()?)?.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

fn http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which counts from the answer's own
/// `Date`. Zero and the past count as absent.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return bounded(text.parse().ok()?);
    }
    let until = http_date(text)?.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    bounded(until - date(headers)?)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    /// The sample of the vendor's page: `exp` and `iat` are strings, 7200 seconds apart.
    const CRM_COM_SAMPLE: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJjaWkiOiIyNjk1RkVEM0ZDRkQ0MDg0QUIzOUY0NEIxODg4OTEyMyIsInVzciI6Im1heXRlbXBsYXRlIiwib3JnIjoicHNfZGV2IiwiYXJpIjoiMjYxQkYyQjc5MTk4NDAxRDg5QTc5QzU0NUYxNkNCRUMiLCJvdW4iOiIxIiwiZXhwIjoiMTUxODEwNDg2NCIsImlhdCI6IjE1MTgwOTc2NjQiLCJqdGkiOiJGNTg2QjI4ODA0OEE0MTAwQjc0OUU2MkY0N0RGQzg0NCJ9.yvRGqFy7dL2H6RcqXOJQtD3zBoWHUDpoRN9Ma6hKfpg";

    fn dated(seconds: u64) -> HeaderMap {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        HeaderMap::from_iter([(DATE, HeaderValue::try_from(date).unwrap())])
    }

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.c2ln", BASE64_URL.encode(claims.to_string()))
    }

    fn seconds(field: &Value) -> Option<f64> {
        lifetime(Some(field), "opaque", &HeaderMap::new()).map(|(life, source)| {
            assert_eq!(source, LifetimeSource::Answer);
            life.as_secs_f64()
        })
    }

    #[test]
    fn the_answers_field_is_read_as_a_number_however_it_is_written() {
        for (field, expected) in [
            (json!(3600), Some(3600.0)),
            (json!("3600"), Some(3600.0)),
            (json!(3600.0), Some(3600.0)),
            (json!(" 3600.0 "), Some(3600.0)),
            (json!(0.5), Some(0.5)),
            (json!(1e12), Some(86_400.0)),
            (json!("1e12"), Some(86_400.0)),
            (json!(u64::MAX), Some(86_400.0)),
            (json!(1e300), Some(86_400.0)),
            (json!(1e-300), None),
            (json!(0), None),
            (json!("0"), None),
            (json!(-1), None),
            (json!("-3600"), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!("soon"), None),
            (json!("3600s"), None),
            (json!(""), None),
            (json!(true), None),
            (json!(null), None),
            (json!([3600]), None),
        ] {
            assert_eq!(seconds(&field), expected, "{field}");
        }
    }

    #[test]
    fn a_jwt_says_its_own_life_in_strings_or_numbers() {
        let none = HeaderMap::new();
        let two_hours = Some((Duration::from_secs(7200), LifetimeSource::Token));
        assert_eq!(lifetime(None, CRM_COM_SAMPLE, &none), two_hours);
        assert_eq!(lifetime(Some(&json!(0)), CRM_COM_SAMPLE, &none), two_hours, "a useless field is no field");
        assert_eq!(lifetime(None, &jwt(&json!({"exp": 17200, "iat": 10000})), &none), two_hours);
        for claims in [
            json!({"exp": 17200}),
            json!({"iat": 10000}),
            json!({"exp": 10000, "iat": 17200}),
            json!({"exp": 10000, "iat": 10000}),
            json!({"exp": "x", "iat": 1}),
            json!({"exp": null, "iat": 1}),
            json!([1, 2]),
        ] {
            assert_eq!(lifetime(None, &jwt(&claims), &none), None, "{claims}");
        }
        for token in ["", ".", "..", "a.b", "a.b.c.d", "a.!.c", "a.e30.c", "a..c"] {
            assert_eq!(lifetime(None, token, &none), None, "{token}");
        }
    }

    #[test]
    fn what_is_over_by_the_vendors_own_date_is_taken_off() {
        let life = |date| lifetime(None, CRM_COM_SAMPLE, &dated(date)).map(|(life, _)| life.as_secs());
        assert_eq!(life(1_518_097_664), Some(7200));
        assert_eq!(life(1_518_097_664 + 200), Some(7000));
        assert_eq!(life(1_518_097_664 - 200), Some(7200), "a token from the future lives no longer");
        assert_eq!(life(1_518_104_864 + 5), None, "over by the vendor's clock: its times are not to be trusted");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_that_counts_from_the_answers_own() {
        let header = |text: &str| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
        for (text, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("99999999999999999999999999", Some(86_400)),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Thu, 01 Jan 1970 00:01:40 GMT", None),
        ] {
            assert_eq!(retry_after(&header(text)), expected.map(Duration::from_secs), "{text}");
        }
        let mut headers = dated(90);
        headers.extend(header("Thu, 01 Jan 1970 00:01:40 GMT"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(10)));
        headers.extend(dated(200));
        assert_eq!(retry_after(&headers), None, "past");
    }
}
