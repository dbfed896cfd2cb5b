//! Time as tokens count it: it runs through suspend and no step of the wall clock touches it.

use std::time::Duration;

/// Time since boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(Duration);

impl Moment {
    /// Boot itself: not later than any other moment.
    pub(super) const BOOT: Self = Self(Duration::ZERO);

    /// A moment this long after boot.
    pub fn since_boot(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Later by this much; saturates.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// Earlier by this much; never before boot.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }

    /// As an atomic holds it; saturates after 584 years.
    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// As an atomic held it.
    pub(super) fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }
}

/// A source of moments.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now.
    fn now(&self) -> Moment;
}

/// `CLOCK_BOOTTIME`: `Instant` stands still while Linux is suspended, and a token does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Moment(Duration::new(seconds, nanos))
    }
}

/// A clock for tests: it follows tokio's paused time, and jumps where a machine sleeps.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct TestClock {
    origin: tokio::time::Instant,
    slept: std::sync::atomic::AtomicU64,
}

#[cfg(test)]
impl TestClock {
    /// An hour after boot.
    pub(super) fn new() -> std::sync::Arc<Self> {
        let slept = Duration::from_secs(3600);
        std::sync::Arc::new(Self {
            origin: tokio::time::Instant::now(),
            slept: u64::try_from(slept.as_nanos()).unwrap().into(),
        })
    }

    /// The machine was suspended this long: no timer ran, this clock did.
    pub(super) fn suspend(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        self.slept.fetch_add(nanos, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for TestClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.slept.load(std::sync::atomic::Ordering::SeqCst)).after(self.origin.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_runs_on_and_never_back() {
        let first = BootClock.now();
        let second = BootClock.now();
        assert!(first > Moment::BOOT && second >= first);
    }

    #[test]
    fn moments_saturate_at_both_ends() {
        let moment = Moment::since_boot(Duration::from_secs(5));
        assert_eq!(moment.before(Duration::from_secs(9)), Moment::BOOT);
        assert_eq!(moment.after(Duration::MAX).nanos(), u64::MAX);
        assert_eq!(Moment::from_nanos(moment.nanos()), moment);
        assert_eq!(moment.until(Moment::BOOT), Duration::ZERO);
    }
}
