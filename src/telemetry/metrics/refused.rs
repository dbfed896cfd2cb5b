//! Connections that were refused before their first request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines of the log for one listener and reason: whoever scans ports must not fill it.
const QUIET: Duration = Duration::from_secs(10);

/// Counts by listener and reason. Both have few values.
#[derive(Default, Debug)]
pub(super) struct RefusedConnections(Mutex<BTreeMap<(Arc<str>, &'static str), Row>>);

#[derive(Default, Debug)]
struct Row {
    count: u64,
    /// When the log was last told, and how many there were then.
    told: Option<(Instant, u64)>,
}

impl RefusedConnections {
    /// Counts one. Where the log is to be told of it: how many it was not told of.
    pub(super) fn add(&self, listener: &Arc<str>, reason: &'static str, now: Instant) -> Option<u64> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry((Arc::clone(listener), reason)).or_default();
        let before = row.told.map_or(0, |(_, count)| count);
        row.count += 1;
        if row.told.is_some_and(|(at, _)| now.saturating_duration_since(at) < QUIET) {
            return None;
        }
        row.told = Some((now, row.count));
        Some(row.count - before - 1)
    }

    /// Listener, reason, and how many.
    pub(super) fn rows(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|((listener, reason), row)| (Arc::clone(listener), *reason, row.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_in_ten_seconds_and_of_how_many_it_was_not_told() {
        let (refused, now) = (RefusedConnections::default(), Instant::now());
        let (here, there): (Arc<str>, Arc<str>) = ("127.0.0.1:443".into(), "127.0.0.1:8443".into());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(refused.add(&here, "handshake", now), Some(0));
        assert_eq!(refused.add(&here, "timeout", now), Some(0), "another reason");
        assert_eq!(refused.add(&there, "handshake", now), Some(0), "another listener");
        for second in 0..10 {
            assert_eq!(refused.add(&here, "handshake", after(second)), None);
        }
        assert_eq!(refused.add(&here, "handshake", after(10)), Some(10));
        assert_eq!(refused.add(&here, "handshake", after(30)), Some(0));
        let rows = refused.rows();
        let rows: Vec<_> = rows.iter().map(|(listener, reason, count)| (&**listener, *reason, *count)).collect();
        assert_eq!(
            rows,
            [("127.0.0.1:443", "handshake", 13), ("127.0.0.1:443", "timeout", 1), ("127.0.0.1:8443", "handshake", 1)]
        );
    }
}
