//! Which traces are told of.

use std::sync::Arc;

use super::{Exporter, TraceId};

/// Where spans go, and which share of the traces begun here has them.
#[derive(Clone, Debug)]
pub struct Traces {
    exporter: Arc<Exporter>,
    /// Of 2^63.
    bound: u64,
}

impl Traces {
    /// Of the traces begun here, `share` (from 0 to 1) have spans.
    pub fn new(exporter: Arc<Exporter>, share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of 2^63, which is exact"
        )]
        let bound = (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self { exporter, bound }
    }

    /// Where they go.
    pub fn exporter(&self) -> &Arc<Exporter> {
        &self.exporter
    }

    /// Whether a trace that begins here is sampled. Said of its id, as OpenTelemetry's ratio sampler
    /// does: whoever asks of the same trace with a larger share says yes as well.
    pub fn samples(&self, trace: TraceId) -> bool {
        trace.low() >> 1 < self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_thousand(share: f64) -> usize {
        let traces = Traces::new(Exporter::to_nowhere(), share);
        (0..1000).filter(|_| traces.samples(TraceId::new())).count()
    }

    #[tokio::test]
    async fn the_share_says_how_many_traces_are_sampled() {
        assert_eq!((of_thousand(0.0), of_thousand(1.0)), (0, 1000));
        // Ten standard deviations on both sides.
        let tenth = of_thousand(0.1);
        assert!((10..=200).contains(&tenth), "{tenth}");
    }
}
