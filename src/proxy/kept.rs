//! The headers of a request, kept for sending them again. Few are: they are copied into one piece of
//! memory, which costs a request less than a map of its own and a reference to each value.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue};

/// One line after another: the lengths of its name and of its value, whether that is sensitive, both.
pub(super) struct Kept(Vec<u8>);

/// Memory that was used for this before. One a worker.
#[derive(Default, Debug)]
pub(super) struct Room(RefCell<Vec<Vec<u8>>>);

/// Bytes that most heads fit into.
const USUAL: usize = 1024;

/// Longer ones are not held on to.
const MOST: usize = 4096;

/// Pieces of memory that are held on to.
const PIECES: usize = 64;

impl Room {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(USUAL))
    }

    /// Takes back what is not needed any more.
    pub(super) fn give_back(&self, Kept(mut text): Kept) {
        let mut pieces = self.0.borrow_mut();
        if text.capacity() <= MOST && pieces.len() < PIECES {
            // There may be a client's cookies in it. (`zeroize` writes byte by byte, and all of the capacity.)
            text.fill(0);
            text.clear();
            pieces.push(text);
        }
    }
}

impl Kept {
    /// Copies a head's.
    pub(super) fn of(headers: &HeaderMap, room: &Room) -> Self {
        let mut text = room.take();
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            let sizes = name.len() as u64 | (value.len() as u64) << 24 | u64::from(value.is_sensitive()) << 63;
            text.extend_from_slice(&sizes.to_ne_bytes());
            text.extend_from_slice(name);
            text.extend_from_slice(value.as_bytes());
        }
        Self(text)
    }

    /// The headers; all of them, or `None`.
    pub(super) fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            let ((name, value), behind) = split(rest)?;
            headers.append(name, value);
            rest = behind;
        }
        Some(headers)
    }
}

/// The first line, and what stands behind it.
fn split(text: &[u8]) -> Option<((HeaderName, HeaderValue), &[u8])> {
    let (sizes, rest) = text.split_first_chunk::<8>()?;
    let sizes = u64::from_ne_bytes(*sizes);
    let (name, rest) = rest.split_at_checked(usize::try_from(sizes & 0xff_ffff).ok()?)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(sizes >> 24 & 0x7f_ffff_ffff).ok()?)?;
    // They were a name and a value before.
    let (name, mut value) = (HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    value.set_sensitive(sizes >> 63 != 0);
    Some(((name, value), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_there(
            lines in prop::collection::vec(("[a-z][a-z0-9_-]{0,60}", prop::collection::vec(0x20..=0x7e_u8, 0..400), any::<bool>()), 0..40)
        ) {
            let mut headers = HeaderMap::new();
            for (name, value, sensitive) in &lines {
                let mut value = HeaderValue::from_bytes(value).unwrap();
                value.set_sensitive(*sensitive);
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
            let room = Room::default();
            // In memory that held another head before.
            room.give_back(Kept(b"before".to_vec()));
            let again = Kept::of(&headers, &room).headers().unwrap();
            prop_assert_eq!(&again, &headers);
            let sensitive = |map: &HeaderMap| map.iter().map(|(_, value)| value.is_sensitive()).collect::<Vec<_>>();
            prop_assert_eq!(sensitive(&again), sensitive(&headers));
        }
    }
}
