//! Bytes that are wiped when the last of those who hold them lets go: for what a library takes as
//! `Bytes` or as a header's value, where a [`Secret`](super::Secret) cannot go along.

use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use zeroize::{Zeroize, Zeroizing};

/// The same bytes, without a copy: every clone shares them, and the last one wipes them.
pub fn wiped_bytes(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(bytes)
}

/// A header's value, marked sensitive, whose text is wiped when its last clone goes. What is written to
/// a connection is a copy in the HTTP library's buffer, which is not.
pub fn secret_header(text: Zeroizing<String>) -> Result<HeaderValue, InvalidHeaderValue> {
    // A `Bytes` is kept as it is, not copied (http 1.x documents it so).
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Wipes bytes that nobody else holds; says whether that was so.
pub fn wipe(bytes: Bytes) -> bool {
    bytes.try_into_mut().map(|mut bytes| bytes.as_mut().zeroize()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::HeaderMap;

    use super::*;

    /// Tells when it is dropped, as `Zeroizing` wipes then.
    struct Probe(Arc<AtomicBool>);

    impl AsRef<[u8]> for Probe {
        fn as_ref(&self) -> &[u8] {
            b"Bearer k3y"
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_headers_value_is_the_owners_own_bytes_and_lets_go_of_them_with_its_last_clone() {
        let gone = Arc::new(AtomicBool::new(false));
        let owned = Bytes::from_owner(Probe(Arc::clone(&gone)));
        let place = owned.as_ptr();
        let value = HeaderValue::from_maybe_shared(owned).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value.clone());
        assert_eq!(headers["authorization"].as_bytes().as_ptr(), place, "no copy that nobody wipes");
        drop(value);
        assert!(!gone.load(Ordering::Relaxed));
        drop(headers);
        assert!(gone.load(Ordering::Relaxed));
    }

    #[test]
    fn a_secret_header_is_sensitive_and_says_what_it_was_given() {
        let value = secret_header(Zeroizing::new("Bearer k3y".to_owned())).unwrap();
        assert!(value.is_sensitive() && value == "Bearer k3y");
        assert!(!format!("{value:?}").contains("k3y"));
        assert!(secret_header(Zeroizing::new("a\r\nb: c".to_owned())).is_err());
    }

    #[test]
    fn bytes_are_wiped_where_nobody_else_holds_them() {
        let bytes = Bytes::from(b"access_token".to_vec());
        let other = bytes.clone();
        assert!(!wipe(bytes), "somebody reads them still");
        assert!(wipe(other));
    }
}
