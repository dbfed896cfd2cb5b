//! Slows those who try keys.
//!
//! Each wrong key is one of its client's address. An address that has used up what it has gets no
//! more answers: until the next one is due, a key that comes from there is not even looked at, and so
//! a right one among many wrong ones tells nothing. That would lock out honest clients behind the
//! same address; so what was let in from there before is known, by a hash of it, and goes on to be
//! looked at as ever. Whoever has never been let in cannot add to what is known.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bucket::Pace;
use super::limiter::{group, nanos};
use super::table::Table;
use crate::model::Rate;

/// Addresses of which wrong keys are counted at once: half a MiB.
const ADDRESSES: usize = 32_768;
/// Of what was let in, so much is known at once: 128 KiB.
const KNOWN: usize = 16_384;
/// Places that one of those may have.
const WAYS: usize = 4;
/// Lines that the log has of one address.
const TOLD: (Rate, u32) = (Rate::a_minute(1), 1);

/// What a client showed, and from where, without a way back to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Hidden: it is made of a key.
impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A key that is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slowed {
    /// Until one will be.
    pub wait: Duration,
    /// Whether the log has not been told of this address for a minute.
    pub is_news: bool,
}

/// Wrong keys by address, for the life of the process.
pub struct Guesses {
    epoch: Instant,
    secret: RandomState,
    wrong: Table,
    told: Table,
    known: OnceLock<Box<[AtomicU64]>>,
}

impl Guesses {
    /// Nobody has tried anything.
    pub fn new(now: Instant) -> Self {
        let (wrong, told) = (Table::new(ADDRESSES), Table::new(ADDRESSES));
        Self { epoch: now, secret: RandomState::new(), wrong, told, known: OnceLock::new() }
    }

    /// What is known of a client by its address and what it shows there.
    pub fn fingerprint(&self, address: IpAddr, shown: impl Hash) -> Fingerprint {
        // 0 is an empty place.
        Fingerprint(self.secret.hash_one((group(address), shown)) | 1)
    }

    /// Whether a key from this address is not to be looked at.
    pub fn slowed(&self, address: IpAddr, shown: Fingerprint, pace: Pace, now: Instant) -> Option<Slowed> {
        let (address, now) = (group(address), nanos(self.epoch, now));
        let wait = self.wrong.wait(address, pace, now)?;
        if self.knows(shown) {
            return None;
        }
        let is_news = self.told.take(address, Pace::new(TOLD.0, TOLD.1), now).is_ok();
        Some(Slowed { wait, is_news })
    }

    /// A wrong key came from this address.
    pub fn wrong(&self, address: IpAddr, pace: Pace, now: Instant) {
        // One more than there may be changes nothing: those are known keys that are no longer right.
        let _ = self.wrong.take(group(address), pace, nanos(self.epoch, now));
    }

    /// What was shown let its client in. No lock, and nothing is written where it is known.
    pub fn right(&self, shown: Fingerprint) {
        if self.knows(shown) {
            return;
        }
        let known = self.known.get_or_init(|| (0..KNOWN).map(|_| AtomicU64::new(0)).collect());
        let places = &known[places(shown)];
        let free = places.iter().find(|place| place.load(Ordering::Relaxed) == 0);
        // Of four that are taken, any.
        let chosen = free.or_else(|| places.get(usize::from(shown.0.to_be_bytes()[0]) % WAYS));
        if let Some(place) = chosen {
            place.store(shown.0, Ordering::Relaxed);
        }
    }

    fn knows(&self, shown: Fingerprint) -> bool {
        let Some(known) = self.known.get() else { return false };
        known[places(shown)].iter().any(|place| place.load(Ordering::Relaxed) == shown.0)
    }
}

fn places(shown: Fingerprint) -> std::ops::Range<usize> {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a size")]
    let first = (shown.0 % (KNOWN / WAYS) as u64) as usize * WAYS;
    first..first + WAYS
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guesses").field("wrong", &self.wrong).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn pace() -> Pace {
        Pace::new(Rate::a_minute(10), 10)
    }

    #[test]
    fn an_address_that_tried_too_much_is_slowed_and_others_are_not() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        for tried in 0..10 {
            let shown = guesses.fingerprint(HERE, tried);
            assert_eq!(guesses.slowed(HERE, shown, pace(), now), None, "{tried}");
            guesses.wrong(HERE, pace(), now);
        }
        let shown = guesses.fingerprint(HERE, "the right one");
        let wait = Duration::from_secs(6);
        assert_eq!(guesses.slowed(HERE, shown, pace(), now), Some(Slowed { wait, is_news: true }));
        assert_eq!(guesses.slowed(HERE, shown, pace(), now), Some(Slowed { wait, is_news: false }));
        assert_eq!(guesses.slowed(THERE, shown, pace(), now), None);
        assert_eq!(guesses.slowed(HERE, shown, pace(), now + wait), None, "one every six seconds");
    }

    #[test]
    fn whoever_was_let_in_from_a_slowed_address_before_goes_on() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        let honest = guesses.fingerprint(HERE, "k3y");
        guesses.right(honest);
        for _ in 0..20 {
            guesses.wrong(HERE, pace(), now);
        }
        assert_eq!(guesses.slowed(HERE, honest, pace(), now), None);
        let other = guesses.fingerprint(HERE, "k3z");
        assert!(guesses.slowed(HERE, other, pace(), now).is_some());
        // The same key from elsewhere is not known: what is known is of an address.
        for _ in 0..20 {
            guesses.wrong(THERE, pace(), now);
        }
        assert!(guesses.slowed(THERE, guesses.fingerprint(THERE, "k3y"), pace(), now).is_some());
    }

    #[test]
    fn wrong_keys_beyond_the_bound_do_not_lengthen_it() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        for _ in 0..1000 {
            guesses.wrong(HERE, pace(), now);
        }
        let slowed = guesses.slowed(HERE, guesses.fingerprint(HERE, 1), pace(), now).unwrap();
        assert_eq!(slowed.wait, Duration::from_secs(6));
    }

    #[test]
    fn a_fingerprint_tells_nothing() {
        let guesses = Guesses::new(Instant::now());
        assert_eq!(format!("{:?}", guesses.fingerprint(HERE, "k3y")), "***");
    }
}
