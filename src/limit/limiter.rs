//! A rule, and what its clients have used of it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::bucket::{Bucket, Pace};
use super::table::Table;
use crate::model::{Per, RateRule};

/// Clients that a rule tells apart at once, and what it may take of memory with them: half a MiB.
const CLIENTS: usize = 32_768;

/// Who is asking, as far as rules count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who {
    /// The client's address; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// The identity of what let it in; `None` where nothing was asked for.
    pub key: Option<u64>,
}

/// One rule of one route. Lives on through reloads that do not change it.
#[derive(Debug)]
pub struct Limiter {
    per: Per,
    pace: Pace,
    epoch: Instant,
    all: Bucket,
    each: Table,
}

impl Limiter {
    /// A rule of which nothing is used.
    pub fn new(rule: &RateRule, now: Instant) -> Self {
        let pace = Pace::new(rule.rate, rule.burst);
        Self { per: rule.per, pace, epoch: now, all: Bucket::default(), each: Table::new(CLIENTS) }
    }

    /// Takes one, or says how long until there is one.
    pub fn take(&self, who: Who, now: Instant) -> Result<(), Duration> {
        let now = nanos(self.epoch, now);
        match self.per {
            Per::Route => self.all.take(self.pace, now),
            // Whoever has no key, or no address, is one with all others that have none.
            Per::Key => self.each.take(who.key, self.pace, now),
            Per::Address => self.each.take(who.address.map(group), self.pace, now),
        }
    }
}

/// Nanoseconds from one moment to the other.
pub(super) fn nanos(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

/// The address by which a client is counted. One line of IPv6 has a network of 64 bits, and with it
/// as many addresses as it likes.
pub fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rate;

    fn limiter(per: Per) -> (Limiter, Instant) {
        let now = Instant::now();
        (Limiter::new(&RateRule { rate: Rate::a_minute(1), burst: 1, per }, now), now)
    }

    fn at(address: &str) -> Who {
        Who { address: Some(address.parse().unwrap()), key: None }
    }

    #[test]
    fn addresses_are_told_apart_and_those_of_one_line_are_not() {
        let (limiter, now) = limiter(Per::Address);
        limiter.take(at("192.0.2.1"), now).unwrap();
        limiter.take(at("192.0.2.2"), now).unwrap();
        limiter.take(at("2001:db8::1"), now).unwrap();
        limiter.take(at("2001:db8:0:1::1"), now).unwrap();
        for again in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::ffff:1:2", "2001:db8:0:1::2"] {
            assert_eq!(limiter.take(at(again), now), Err(Duration::from_secs(60)), "{again}");
        }
        limiter.take(at("192.0.2.1"), now + Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn keys_are_told_apart_and_those_without_one_are_not() {
        let (limiter, now) = limiter(Per::Key);
        let by = |key| Who { address: None, key };
        for key in [Some(1), Some(2), None] {
            assert!(limiter.take(by(key), now).is_ok());
            assert!(limiter.take(by(key), now).is_err());
        }
    }

    #[test]
    fn a_route_is_one_for_all() {
        let (limiter, now) = limiter(Per::Route);
        limiter.take(at("192.0.2.1"), now).unwrap();
        assert!(limiter.take(at("192.0.2.2"), now).is_err());
    }
}
