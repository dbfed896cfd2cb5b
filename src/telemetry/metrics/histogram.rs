//! How durations are distributed.

use std::time::Duration;

use super::count::Count;

/// The upper bounds of the buckets, in seconds; the last bucket has none. A warm request through the
/// proxy to an upstream in the same house takes less than a millisecond, and 60 s is how long an
/// answer's head is waited for by default. Between them the steps are 1, 2.5, 5, 10: a quantile is
/// told to about a factor of two, for 17 series a route. The defaults for connecting (5 s) and for
/// answers (60 s) are bounds themselves, so that what ran into them stands apart.
pub const BOUNDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The same in nanoseconds. A test compares the two.
const NANOS: [u64; BOUNDS.len()] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Durations by bucket, with one writer.
#[derive(Default, Debug)]
pub(super) struct Histogram {
    buckets: [Count; BOUNDS.len() + 1],
    /// Enough for five hundred years of waiting.
    nanos: Count,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // A bound belongs to the bucket below it.
        let place = NANOS.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.add(1);
        }
        if nanos > 0 {
            self.nanos.add(nanos);
        }
    }
}

/// What was observed, as numbers at a moment.
#[derive(Clone, PartialEq, Debug)]
pub struct HistogramTotals {
    /// Observations in each bucket, not cumulative: one for each of [`BOUNDS`] and one for what is
    /// above them all.
    pub buckets: Vec<u64>,
    /// The sum of all durations, in seconds.
    pub sum_seconds: f64,
}

impl Default for HistogramTotals {
    fn default() -> Self {
        Self { buckets: vec![0; BOUNDS.len() + 1], sum_seconds: 0.0 }
    }
}

impl HistogramTotals {
    #[expect(clippy::cast_precision_loss, reason = "what is below a microsecond in a year is nobody's concern")]
    pub(super) fn add(&mut self, more: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&more.buckets) {
            *sum += bucket.read();
        }
        self.sum_seconds += more.nanos.read() as f64 / 1e9;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came after `earlier`. Where that has more, it was another life of the same name: then
    /// nothing is known to have come.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
        Self {
            buckets: self.buckets.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect(),
            sum_seconds: (self.sum_seconds - earlier.sum_seconds).max(0.0),
        }
    }

    /// The duration in seconds below which this share of all lies, linear inside its bucket as
    /// `PromQL`'s `histogram_quantile` has it: of what is above all bounds, the greatest bound is told.
    /// `None` where there was none.
    #[expect(clippy::cast_precision_loss, reason = "a share of more than 2^52 requests is told well enough")]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (inside, upper) in self.buckets.iter().map(|inside| *inside as f64).zip(BOUNDS) {
            if inside > 0.0 && below + inside >= rank {
                return Some(lower + (upper - lower) * (rank - below) / inside);
            }
            below += inside;
            lower = *upper;
        }
        Some(lower)
    }
}
