//! Metrics of one name, as prometheus-client writes them.

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::telemetry::metrics::{BOUNDS, HistogramTotals};

/// One label and its value.
type Label<V> = (&'static str, V);

/// Writes one family after the other. Names go without the suffixes `_total` and `_info` and without
/// the unit: those are put behind them.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        put_counter(&mut metric, &value)
    }

    pub(super) fn counters<const N: usize, V: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = ([Label<V>; N], u64)>,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        rows.into_iter().try_for_each(|(labels, value)| put_counter(&mut metric.encode_family(&labels)?, &value))
    }

    pub(super) fn counter_of<C: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        value: &C,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(unit), MetricType::Counter)?;
        put_counter(&mut metric, value)
    }

    pub(super) fn gauge<G: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: &G,
    ) -> std::fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(value)
    }

    pub(super) fn gauges<const N: usize, V: EncodeLabelValue, G: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = ([Label<V>; N], G)>,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        rows.into_iter().try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
    }

    /// Of durations in seconds.
    pub(super) fn histograms<'a, const N: usize, V: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([Label<V>; N], &'a HistogramTotals)>,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, totals) in rows {
            let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(totals.buckets.iter().copied()).collect();
            let mut row = metric.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(totals.sum_seconds, totals.count(), &buckets, None)?;
        }
        Ok(())
    }

    pub(super) fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[Label<&str>; N],
    ) -> std::fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }
}

fn put_counter<C: EncodeCounterValue>(metric: &mut MetricEncoder<'_>, value: &C) -> std::fmt::Result {
    metric.encode_counter::<NoLabelSet, _, u64>(value, None)
}
