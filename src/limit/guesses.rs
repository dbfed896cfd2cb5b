//! Slows those who try keys.
//!
//! Each wrong key is one of its client's address. One is taken before a key is looked at and given back
//! when it was right: so those that are tried at once count as those that come one after the other, and
//! whoever does not wait for an answer has tried, too. An address that has used up what it has gets no
//! more answers: until the next one is due, a key that comes from there is not even looked at, and so
//! a right one among many wrong ones tells nothing. That would lock out honest clients behind the
//! same address; so what let in from there before is known, by a hash of it, and goes on to be
//! looked at as ever. Whoever has never been let in cannot add to what is known, and who has been adds
//! nothing but what was right.

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

/// A key that is looked at, and counts as a wrong one whatever becomes of it, unless it is said otherwise.
#[must_use]
#[derive(Debug)]
pub struct Guess<'g> {
    guesses: &'g Guesses,
    address: IpAddr,
    pace: Pace,
}

impl Guess<'_> {
    /// It was right, and is known from now on.
    pub fn was_right(self, shown: Fingerprint) {
        self.guesses.right(shown);
        self.was_none();
    }

    /// Nothing that can be guessed was found wrong.
    pub fn was_none(self) {
        self.guesses.wrong.give_back(self.address, self.pace);
    }
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

    /// Counts a key that is not known as a wrong one, unless it is not to be looked at.
    pub fn take(&self, address: IpAddr, pace: Pace, now: Instant) -> Result<Guess<'_>, Slowed> {
        let (address, now) = (group(address), nanos(self.epoch, now));
        match self.wrong.take(address, pace, now) {
            Ok(()) => Ok(Guess { guesses: self, address, pace }),
            Err(wait) => {
                let is_news = self.told.take(address, Pace::new(TOLD.0, TOLD.1), now).is_ok();
                Err(Slowed { wait, is_news })
            }
        }
    }

    /// What was shown let its client in.
    fn right(&self, shown: Fingerprint) {
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

    /// What was shown lets in no longer.
    pub fn forget(&self, shown: Fingerprint) {
        let Some(known) = self.known.get() else { return };
        for place in &known[places(shown)] {
            let _ = place.compare_exchange(shown.0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether it let in before. Takes no lock and writes nothing.
    pub fn knows(&self, shown: Fingerprint) -> bool {
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
            assert!(guesses.take(HERE, pace(), now).is_ok(), "{tried}");
        }
        let wait = Duration::from_secs(6);
        let slowed = || guesses.take(HERE, pace(), now).map(drop);
        assert_eq!(slowed(), Err(Slowed { wait, is_news: true }));
        for _ in 0..1000 {
            assert_eq!(slowed(), Err(Slowed { wait, is_news: false }), "it gets no longer");
        }
        assert!(guesses.take(THERE, pace(), now).is_ok());
        assert!(guesses.take(HERE, pace(), now + wait).is_ok(), "one every six seconds");
        assert!(guesses.take(HERE, pace(), now + wait).is_err());
    }

    #[test]
    fn those_that_are_looked_at_at_once_count_and_right_ones_are_given_back() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        let under_way: Vec<_> = (0..20).filter_map(|_| guesses.take(HERE, pace(), now).ok()).collect();
        assert_eq!(under_way.len(), 10);
        let mut under_way = under_way.into_iter();
        under_way.next().unwrap().was_right(guesses.fingerprint(HERE, "k3y"));
        under_way.next().unwrap().was_none();
        // Their clients have gone away.
        drop(under_way);
        assert_eq!((0..20).filter_map(|_| guesses.take(HERE, pace(), now).ok()).count(), 2);
    }

    #[test]
    fn what_let_in_is_known_at_its_address_until_it_is_forgotten() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        let honest = guesses.fingerprint(HERE, "k3y");
        assert!(!guesses.knows(honest));
        guesses.take(HERE, pace(), now).unwrap().was_right(honest);
        assert!(guesses.knows(honest));
        assert!(!guesses.knows(guesses.fingerprint(HERE, "k3z")));
        assert!(!guesses.knows(guesses.fingerprint(THERE, "k3y")), "what is known is of an address");
        guesses.forget(honest);
        assert!(!guesses.knows(honest));
    }

    #[test]
    fn a_fingerprint_tells_nothing() {
        let guesses = Guesses::new(Instant::now());
        assert_eq!(format!("{:?}", guesses.fingerprint(HERE, "k3y")), "***");
    }
}
