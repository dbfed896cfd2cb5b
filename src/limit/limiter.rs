//! A rule, and what its clients have used of it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bucket::{Bucket, Pace};
use super::table::Table;
use crate::model::{Per, RateRule};

/// Clients that all rules together tell apart at once, each once for each rule that it meets: 4.5 MiB.
const CLIENTS: usize = 262_144;

/// What clients have used of those rules that tell them apart, for the life of the process: one table,
/// so that its memory is bounded however many routes there are.
#[derive(Debug)]
pub struct Clients {
    epoch: Instant,
    used: Table,
    rules: AtomicU64,
}

impl Clients {
    /// Nobody has used anything.
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { epoch: now, used: Table::new(CLIENTS), rules: AtomicU64::new(0) })
    }
}

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
    all: Bucket,
    each: Arc<Clients>,
    /// Tells it from other rules among what clients have used.
    number: u64,
}

impl Limiter {
    /// A rule of which nothing is used.
    pub fn new(rule: &RateRule, each: &Arc<Clients>) -> Self {
        let pace = Pace::new(rule.rate, rule.burst);
        let number = each.rules.fetch_add(1, Ordering::Relaxed);
        Self { per: rule.per, pace, all: Bucket::default(), each: Arc::clone(each), number }
    }

    /// Takes one, or says how long until there is one.
    pub fn take(&self, who: Who, now: Instant) -> Result<(), Duration> {
        let now = nanos(self.each.epoch, now);
        let (used, number) = (&self.each.used, self.number);
        match self.per {
            Per::Route => self.all.take(self.pace, now),
            // Whoever has no key, or no address, is one with all others that have none.
            Per::Key => used.take((number, who.key), self.pace, now),
            Per::Address => used.take((number, who.address.map(group)), self.pace, now),
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
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Rate;

    fn limiter(per: Per) -> (Limiter, Instant) {
        let now = Instant::now();
        (Limiter::new(&RateRule { rate: Rate::a_minute(1), burst: 1, per }, &Clients::new(now)), now)
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
    fn all_rules_share_one_table_and_nothing_of_what_is_used_of_another() {
        let now = Instant::now();
        let clients = Clients::new(now);
        let rule = RateRule { rate: Rate::a_minute(1), burst: 1, per: Per::Address };
        let many: Vec<_> = (0..10_000).map(|_| Limiter::new(&rule, &clients)).collect();
        for limiter in &many {
            limiter.take(at("192.0.2.1"), now).unwrap();
        }
        let still = many.iter().filter(|limiter| limiter.take(at("192.0.2.1"), now).is_err()).count();
        assert_eq!(still, many.len());
        for limiter in &many {
            for host in 0..100 {
                let address = Some(IpAddr::V4(Ipv4Addr::from_bits(host)));
                let _ = limiter.take(Who { address, key: None }, now);
            }
        }
        assert!(clients.used.most() < 5 << 20, "{} bytes", clients.used.most());
    }

    #[test]
    fn a_route_is_one_for_all() {
        let (limiter, now) = limiter(Per::Route);
        limiter.take(at("192.0.2.1"), now).unwrap();
        assert!(limiter.take(at("192.0.2.2"), now).is_err());
    }
}
