//! API keys: which of the configured ones was presented.

use http::{HeaderMap, HeaderName};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::model::{ApiKey, KeyDigest};

/// Where a key goes that is in no `Authorization`.
pub(super) static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The name of the configured key that this is. Every key is compared, found or not.
pub(super) fn name_of<'k>(keys: &'k [ApiKey], presented: &[u8]) -> Option<&'k str> {
    // An empty key is one that was not given, even where one was configured by mistake.
    if presented.is_empty() {
        return None;
    }
    let digest = KeyDigest::of(presented);
    let mut found = Choice::from(0);
    let mut at = u64::MAX;
    for (place, key) in (0_u64..).zip(keys) {
        let equal = key.digest.ct_eq(&digest);
        at.conditional_assign(&place, equal);
        found |= equal;
    }
    let place = usize::try_from(at).ok().filter(|_| bool::from(found))?;
    keys.get(place).map(|key| key.name.as_str())
}

/// Takes `X-Api-Key` out in every spelling that a server might take for it.
pub(super) fn remove(headers: &mut HeaderMap) {
    headers.remove(&X_API_KEY);
    // `_` is written for `-` in CGI variables, where the two become one.
    while let Some(name) = headers.keys().find(|name| is_alias(name)).cloned() {
        headers.remove(name);
    }
}

fn is_alias(name: &HeaderName) -> bool {
    let name = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    name.eq(X_API_KEY.as_str().bytes())
}
