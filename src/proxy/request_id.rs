//! The name of a request, by which it is found in logs, here and at the upstream: the client's own
//! `X-Request-Id` where it is well-formed, else one that is made.

use std::cell::RefCell;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::write_hex;

/// The header in which it comes, goes on and is returned, as nginx, Envoy and their users know it.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are not taken: they would be a way to fill the log.
const LONGEST: usize = 128;

/// Hexadecimal digits of 128 bits.
const LENGTH: usize = 32;

/// Names that are made from one piece of memory.
const CHUNK: usize = 128;

/// Stands for a name that will be made.
pub(super) const TO_BE_MADE: &str = "00000000000000000000000000000000";

/// Makes names. One a worker: most names cost no allocation.
#[derive(Debug, Default)]
pub(super) struct Mint {
    chunk: RefCell<BytesMut>,
}

impl Mint {
    /// The name of a request that may have been `given` one.
    pub(super) fn name(&self, given: Option<&HeaderValue>) -> HeaderValue {
        given.cloned().unwrap_or_else(|| self.make())
    }

    /// Random, so that the names of replicas do not meet; no secret, so the generator need not be a
    /// cryptographic one.
    fn make(&self) -> HeaderValue {
        let mut name = [0; LENGTH];
        write_hex(&mut name, &fastrand::u128(..).to_be_bytes());
        self.write(&name)
    }

    /// A header value with this text, which must be one, in memory that it shares with others.
    pub(super) fn write(&self, text: &[u8]) -> HeaderValue {
        let mut chunk = self.chunk.borrow_mut();
        if chunk.capacity() < text.len() {
            *chunk = BytesMut::with_capacity(LENGTH * CHUNK);
        }
        chunk.put_slice(text);
        HeaderValue::from_maybe_shared(chunk.split().freeze()).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// The client's name for its request. One that is given twice is not guessed at, and one with
/// other characters than names have is not copied into logs.
pub(super) fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut all = headers.get_all(&REQUEST_ID).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@,".contains(byte);
    ((1..=LONGEST).contains(&only.len()) && only.as_bytes().iter().all(fits)).then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[&str]) -> HeaderValue {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&REQUEST_ID, HeaderValue::try_from(*value).unwrap());
        }
        Mint::default().name(given(&headers))
    }

    #[test]
    fn a_well_formed_name_is_kept() {
        let longest = "a".repeat(LONGEST);
        for name in ["1", "0b1e2f3a-4c5d-6e7f-8a9b-0c1d2e3f4a5b", "Root=1-67891233-abcdef", "a/b+c==,d@e_f:g", &longest]
        {
            assert_eq!(named(&[name]), name);
        }
    }

    #[test]
    fn a_name_that_is_doubled_empty_long_or_odd_is_replaced() {
        let long = "a".repeat(LONGEST + 1);
        for names in [&[][..], &[""], &["a", "a"], &["a b"], &["a\"b"], &["a;b"], &["a{b}"], &[&long]] {
            let made = named(names);
            assert_eq!(made.len(), LENGTH, "{names:?}");
            assert!(made.as_bytes().iter().all(u8::is_ascii_hexdigit), "{names:?}");
        }
    }

    #[test]
    fn names_that_are_made_differ_and_share_their_memory() {
        let mint = Mint::default();
        let made: std::collections::HashSet<_> = (0..1000).map(|_| mint.name(None)).collect();
        assert_eq!(made.len(), 1000);
        let at = |name: &HeaderValue| name.as_bytes().as_ptr() as usize;
        let (first, second) = (Mint::default(), Mint::default());
        let (a, b, c) = (first.name(None), first.name(None), second.name(None));
        assert_eq!(at(&b), at(&a) + LENGTH);
        assert_ne!(at(&c), at(&b) + LENGTH);
    }
}
