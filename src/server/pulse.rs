//! Whether the workers still go round, told from outside their threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::roster::TICK;

/// What a beat becomes once a worker has ended as it was told to: nothing more is expected of it.
const AT_REST: u64 = u64::MAX;

/// A worker's sign of life: it beats with every tick, so a thread that hangs, spins or has panicked
/// does not.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
}

impl Pulse {
    /// One tick more. Only the worker itself writes, so no read-modify-write is needed.
    pub fn beat(&self) {
        self.beats.store(self.beats.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The worker ends, as it should.
    pub(super) fn rest(&self) {
        self.beats.store(AT_REST, Ordering::Relaxed);
    }
}

/// Looks at pulses from time to time, further apart than [`Rounds::EACH`].
#[derive(Debug)]
pub struct Rounds {
    pulses: Vec<(Arc<Pulse>, u64)>,
}

impl Rounds {
    /// The least time between two looks.
    pub const EACH: Duration = TICK.saturating_mul(2);

    /// Of these workers' pulses.
    pub fn new(pulses: impl IntoIterator<Item = Arc<Pulse>>) -> Self {
        // Not what they are now: a worker that hung before the first look is found at the first look.
        Self { pulses: pulses.into_iter().map(|pulse| (pulse, 0)).collect() }
    }

    /// The numbers of the workers that have not ticked since the last look.
    pub fn silent(&mut self) -> Vec<usize> {
        let look = |(number, (pulse, seen)): (usize, &mut (Arc<Pulse>, u64))| {
            let beats = pulse.beats.load(Ordering::Relaxed);
            let before = std::mem::replace(seen, beats);
            (beats == before && beats != AT_REST).then_some(number)
        };
        self.pulses.iter_mut().enumerate().filter_map(look).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_not_ticked_since_the_last_look_is_found() {
        let pulses = [Arc::new(Pulse::default()), Arc::new(Pulse::default())];
        let mut rounds = Rounds::new(pulses.iter().cloned());
        assert_eq!(rounds.silent(), [0, 1], "neither has ever ticked");
        pulses[0].beat();
        assert_eq!(rounds.silent(), [1]);
        pulses[0].beat();
        pulses[1].beat();
        assert!(rounds.silent().is_empty());
        assert_eq!(rounds.silent(), [0, 1], "what was seen before is no new sign of life");
    }

    #[test]
    fn a_worker_that_has_ended_as_it_should_is_not_missed() {
        let pulse = Arc::new(Pulse::default());
        let mut rounds = Rounds::new([Arc::clone(&pulse)]);
        pulse.rest();
        assert!(rounds.silent().is_empty());
        assert!(rounds.silent().is_empty());
    }
}
