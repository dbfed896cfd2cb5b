//! How a request presents what lets it in.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

/// Old clients leave the padding out, or do not.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request presents as `Authorization`: Bearer's token or Basic's password. One that is written
/// twice is not guessed at.
pub fn presented(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    values.next().is_none().then(|| presented_in(value)).flatten()
}

/// The key in an `Authorization` value: Bearer's (RFC 6750 section 2.1) or Basic's password
/// (RFC 7617 section 2).
pub(super) fn presented_in(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    if let Some(token) = credentials(value, b"bearer") {
        return Some(Zeroizing::new(token.to_vec()));
    }
    let pair = pair_in(value)?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(|password| Zeroizing::new(password.to_vec()))
}

/// User, colon and password of Basic.
pub(super) fn pair_in(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    BASE64.decode(credentials(value, b"basic")?).ok().map(Zeroizing::new)
}

/// What stands behind this scheme (RFC 9110 section 11.4), whose case does not matter.
pub(super) fn credentials<'v>(value: &'v HeaderValue, scheme: &[u8]) -> Option<&'v [u8]> {
    let value = value.as_bytes().trim_ascii();
    let (found, rest) = value.split_at_checked(value.iter().position(|byte| *byte == b' ')?)?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}
