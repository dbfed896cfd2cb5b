//! What was judged before: a bounded memory, by a digest that nobody outside can make.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

/// More of them are forgotten together: what is forgotten is judged again.
const MOST: usize = 4096;

/// A keyed digest of something that was presented.
pub(super) type Mark = [u8; 32];

/// Makes marks, with a key of this process's own: what is remembered is of no use elsewhere, and
/// which two things share a bucket cannot be foretold.
pub(super) struct Marker(Key);

impl Marker {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        if aws_lc_rs::rand::fill(&mut key).is_err() {
            // Without the system's generator there is no TLS either; what is remembered stays in this process.
            key.fill_with(|| fastrand::u8(..));
        }
        Self(Key::new(HMAC_SHA256, &key))
    }

    /// The mark of these parts, each with its length.
    pub(super) fn mark<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Mark {
        let mut context = Context::with_key(&self.0);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut mark = Mark::default();
        for (to, from) in mark.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        mark
    }
}

/// What came of it.
pub(super) struct Seen<T>(RwLock<HashMap<Mark, T>>);

impl<T: Clone> Seen<T> {
    pub(super) fn new() -> Self {
        Self(RwLock::default())
    }

    pub(super) fn find(&self, mark: &Mark) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(mark).cloned()
    }

    pub(super) fn keep(&self, mark: Mark, what: T) {
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST && !seen.contains_key(&mark) {
            seen.clear();
        }
        seen.insert(mark, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_parts_apart_and_are_another_processs_own() {
        let marker = Marker::new();
        let mark = |parts: &[&str]| marker.mark(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(mark(&["a", "b"]), mark(&["a", "b"]));
        assert_ne!(mark(&["a", "b"]), mark(&["ab", ""]));
        assert_ne!(mark(&["a"]), Marker::new().mark([&b"a"[..]]));
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let seen = Seen::new();
        let marker = Marker::new();
        for n in 0..2 * MOST {
            seen.keep(marker.mark([&n.to_le_bytes()[..]]), n);
            assert!(seen.0.read().unwrap().len() <= MOST);
        }
        assert_eq!(seen.find(&marker.mark([&(2 * MOST - 1).to_le_bytes()[..]])), Some(2 * MOST - 1));
        assert_eq!(seen.find(&marker.mark([&0_usize.to_le_bytes()[..]])), None);
    }
}
