//! What was judged before: a bounded memory, by a digest that nobody outside can make.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

/// So many are remembered. One that finds no place among them drives out another, which is judged again.
const MOST: usize = 4096;
/// Places that one of them may have.
const WAYS: usize = 4;

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

/// What came of it. A look at it takes no lock and writes nothing that others read; its memory is
/// taken with the first that is kept.
pub(super) struct Seen<T>(OnceLock<Box<[Place<T>]>>);

type Place<T> = ArcSwapOption<(Mark, T)>;

impl<T: Clone> Seen<T> {
    pub(super) fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(super) fn find(&self, mark: &Mark) -> Option<T> {
        let places = self.0.get()?.get(places(mark))?;
        places.iter().find_map(|place| match &*place.load() {
            Some(kept) if kept.0 == *mark => Some(kept.1.clone()),
            _ => None,
        })
    }

    pub(super) fn keep(&self, mark: Mark, what: T) {
        let all = self.0.get_or_init(|| (0..MOST).map(|_| ArcSwapOption::empty()).collect());
        let places = all.get(places(&mark)).unwrap_or_default();
        let its_own = || places.iter().find(|place| place.load().as_ref().is_some_and(|kept| kept.0 == mark));
        let free = || places.iter().find(|place| place.load().is_none());
        // Of those that are all taken, any.
        if let Some(place) = its_own().or_else(free).or_else(|| places.get(fastrand::usize(..WAYS))) {
            place.store(Some(Arc::new((mark, what))));
        }
    }
}

/// Where it may be. A mark is as good as random.
fn places(mark: &Mark) -> std::ops::Range<usize> {
    let first = usize::from(u16::from_le_bytes([mark[0], mark[1]])) % (MOST / WAYS) * WAYS;
    first..first + WAYS
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
        let (seen, marker) = (Seen::new(), Marker::new());
        let mark = |n: usize| marker.mark([&n.to_le_bytes()[..]]);
        assert_eq!(seen.find(&mark(0)), None);
        for n in 0..4 * MOST {
            seen.keep(mark(n), n);
            assert_eq!(seen.find(&mark(n)), Some(n), "what came last is there");
        }
        let found = (0..4 * MOST).filter(|n| seen.find(&mark(*n)) == Some(*n)).count();
        assert!((MOST * 3 / 4..=MOST).contains(&found), "{found}");
    }

    #[test]
    fn what_is_kept_again_takes_the_place_of_what_was_before() {
        let (seen, marker) = (Seen::new(), Marker::new());
        let mark = marker.mark([&b"a"[..]]);
        for n in 0..2 * WAYS {
            seen.keep(mark, n);
            assert_eq!(seen.find(&mark), Some(n));
        }
    }

    #[test]
    fn threads_that_look_and_keep_at_once_find_nothing_of_anothers() {
        let (seen, marker) = (Seen::new(), Marker::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in (0..20_000_usize).map(|n| n % 6000) {
                        let mark = marker.mark([&n.to_le_bytes()[..]]);
                        assert!(seen.find(&mark).is_none_or(|found| found == n));
                        seen.keep(mark, n);
                    }
                });
            }
        });
    }
}
