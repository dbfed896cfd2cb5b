//! How often, by the generic cell rate algorithm: a bucket is one number, the moment at which it will
//! be empty again. No timer fills it, and any thread may take from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::Rate;

/// How often something may happen, and how much of it at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pace {
    /// From one to the next, in nanoseconds.
    interval: u64,
    /// The same for all that may come at once.
    whole: u64,
}

impl Pace {
    /// At this rate, with so many at once (at least one).
    pub fn new(rate: Rate, burst: u32) -> Self {
        let interval = rate.interval();
        Self { interval, whole: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// When a bucket will be empty that will be `due`, if one more is taken now; or how long until
    /// one may be.
    pub(super) fn after(self, due: u64, now: u64) -> Result<u64, Duration> {
        let next = due.max(now).saturating_add(self.interval);
        match next.saturating_sub(now).saturating_sub(self.whole) {
            0 => Ok(next),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    /// When a bucket is empty of which one that was taken is put back.
    pub(super) fn before(self, due: u64) -> u64 {
        due.saturating_sub(self.interval)
    }
}

/// What is left of one client's, or of one route's. Begins full.
#[derive(Default, Debug)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one, or says how long until there is one. `now` is in nanoseconds since any moment.
    pub fn take(&self, pace: Pace, now: u64) -> Result<(), Duration> {
        let mut due = self.0.load(Ordering::Relaxed);
        loop {
            let next = pace.after(due, now)?;
            match self.0.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => due = changed,
            }
        }
    }
}

/// `Retry-After` counts whole seconds; coming too early would only be refused again.
pub fn seconds_up(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_500, 60)] {
            assert_eq!(seconds_up(Duration::from_millis(millis)), seconds);
        }
    }

    /// The same as people think of it: tokens that come in with the time, up to a burst.
    struct Oracle {
        interval: u64,
        burst: u64,
        /// Tokens, each `interval` large.
        level: u64,
        last: u64,
    }

    impl Oracle {
        fn take(&mut self, now: u64) -> bool {
            let full = self.interval * self.burst;
            self.level = (self.level + (now - self.last)).min(full);
            self.last = now;
            let enough = self.level >= self.interval;
            if enough {
                self.level -= self.interval;
            }
            enough
        }
    }

    proptest! {
        #[test]
        fn a_bucket_lets_through_what_a_count_of_tokens_does(
            count in 1..1000_u32,
            unit in prop::sample::select(vec!["s", "m", "h"]),
            burst in 1..50_u32,
            steps in prop::collection::vec(0..5_000_000_000_u64, 1..200),
        ) {
            let rate = Rate::parse(&format!("{count}/{unit}")).unwrap();
            let (pace, bucket) = (Pace::new(rate, burst), Bucket::default());
            let (interval, burst) = (rate.interval(), u64::from(burst));
            let mut oracle = Oracle { interval, burst, level: interval * burst, last: 0 };
            let mut now = 0;
            for step in steps {
                now += step;
                let taken = bucket.take(pace, now);
                prop_assert_eq!(taken.is_ok(), oracle.take(now));
                if let Err(wait) = taken {
                    // The wait is exact: a nanosecond earlier would be too early.
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(bucket.take(pace, now + wait - 1).is_err());
                    prop_assert!(wait <= interval);
                }
            }
        }
    }

    #[test]
    fn threads_that_take_at_once_get_no_more_than_there_is() {
        let (pace, bucket) = (Pace::new(Rate::parse("1/h").unwrap(), 1000), Bucket::default());
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..1000).filter(|_| bucket.take(pace, 0).is_ok()).count())).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[test]
    fn the_slowest_pace_does_not_overflow() {
        let (pace, bucket) = (Pace::new(Rate::parse("1/h").unwrap(), Rate::MOST), Bucket::default());
        for _ in 0..1000 {
            bucket.take(pace, u64::MAX - 5).unwrap();
        }
    }
}
