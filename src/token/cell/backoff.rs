//! When the next login may be tried after one failed.

use std::time::Duration;

use crate::token::Moment;
use crate::vendor::{FaultClass, TokenFault};

/// The first wait after a fault that may be over in a moment.
const TRANSIENT_FIRST: Duration = Duration::from_millis(250);
/// The longest such wait: once the vendor is back, so are we within this.
const TRANSIENT_LONGEST: Duration = Duration::from_secs(4);
/// Full jitter may come out as nothing; this much is always waited, so that no run of luck makes
/// a storm: at worst an eighth of the full wait, and never less than this.
const FLOOR: Duration = Duration::from_millis(50);
/// The first wait after a vendor refused the credentials: an account must not be locked by retries.
const REFUSED_FIRST: Duration = Duration::from_secs(5);
/// The longest such wait.
const REFUSED_LONGEST: Duration = Duration::from_secs(60);
/// The longest that a vendor's Retry-After is believed.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(60);

/// How often logins failed in a row, and until when none is tried.
///
/// The classes count apart, and only a success clears them: a vendor that answers 500 and 401 in
/// turns is not asked more often than one that answers 401 only.
#[derive(Debug)]
pub(super) struct Backoff {
    transient: u32,
    refused: u32,
    until: Moment,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { transient: 0, refused: 0, until: Moment::BOOT }
    }

    /// No login before this moment; long past where none failed.
    pub(super) fn until(&self) -> Moment {
        self.until
    }

    /// A login succeeded, or will be another one: whatever was counted no longer holds.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// The next login may come after this time already; returns how long none is tried.
    pub(super) fn hasten(&mut self, now: Moment, wait: Duration) -> Duration {
        let wait = wait.max(FLOOR);
        self.until = self.until.min(now.after(wait));
        now.until(self.until)
    }

    /// A login failed; returns how long none is tried.
    pub(super) fn failed(&mut self, now: Moment, fault: &TokenFault, rng: &mut fastrand::Rng) -> Duration {
        let wait = match fault.class {
            FaultClass::Transient => {
                self.transient = self.transient.saturating_add(1);
                let full = doubled(TRANSIENT_FIRST, self.transient - 1, TRANSIENT_LONGEST);
                full.mul_f64(rng.f64()).max(full / 8).max(FLOOR)
            }
            FaultClass::Refused => {
                self.refused = self.refused.saturating_add(1);
                // Upward only: the vendor's count of failed logins is what must not be hurried.
                doubled(REFUSED_FIRST, self.refused - 1, REFUSED_LONGEST).mul_f64(1.0 + 0.1 * rng.f64())
            }
        };
        let told = fault.retry_after.unwrap_or_default().min(RETRY_AFTER_LONGEST);
        let wait = wait.max(told);
        self.until = now.after(wait);
        wait
    }
}

/// `first`, doubled so many times, at most `longest`.
pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::FaultReason;

    fn fault(class: FaultClass) -> TokenFault {
        TokenFault::new(class, FaultReason::Status(500))
    }

    fn waits(class: FaultClass, seed: u64, count: usize) -> Vec<Duration> {
        let (mut backoff, mut rng) = (Backoff::new(), fastrand::Rng::with_seed(seed));
        (0..count).map(|_| backoff.failed(Moment::BOOT, &fault(class), &mut rng)).collect()
    }

    #[test]
    fn a_transient_fault_waits_with_full_jitter_up_to_four_seconds() {
        for seed in 0..200 {
            for (wait, full) in
                waits(FaultClass::Transient, seed, 70).into_iter().zip([250, 500, 1000, 2000, 4000, 4000])
            {
                let full = Duration::from_millis(full);
                assert!(wait <= full && wait >= FLOOR && wait >= full / 8, "{wait:?} of {full:?}");
            }
        }
    }

    #[test]
    fn a_refusal_waits_from_five_to_sixty_seconds_and_never_less() {
        for seed in 0..200 {
            for (wait, full) in waits(FaultClass::Refused, seed, 70).into_iter().zip([5, 10, 20, 40, 60, 60, 60]) {
                let full = Duration::from_secs(full);
                assert!(wait >= full && wait <= full.mul_f64(1.1), "{wait:?} of {full:?}");
            }
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_minute_and_never_shortens_the_wait() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (told, least, most) in [(0, 0, 1), (7, 7, 7), (60, 60, 60), (86_400, 60, 60)] {
            let fault = TokenFault { retry_after: Some(Duration::from_secs(told)), ..fault(FaultClass::Transient) };
            let wait = Backoff::new().failed(Moment::BOOT, &fault, &mut rng);
            assert!(wait >= Duration::from_secs(least) && wait <= Duration::from_secs(most), "{told}: {wait:?}");
        }
    }

    #[test]
    fn alternating_classes_do_not_hurry_each_other() {
        let (mut backoff, mut rng) = (Backoff::new(), fastrand::Rng::with_seed(1));
        for _ in 0..10 {
            backoff.failed(Moment::BOOT, &fault(FaultClass::Refused), &mut rng);
            backoff.failed(Moment::BOOT, &fault(FaultClass::Transient), &mut rng);
        }
        assert!(backoff.failed(Moment::BOOT, &fault(FaultClass::Refused), &mut rng) >= REFUSED_LONGEST);
        backoff.reset();
        assert!(backoff.failed(Moment::BOOT, &fault(FaultClass::Refused), &mut rng) < REFUSED_FIRST * 2);
    }
}
