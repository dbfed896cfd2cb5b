//! What this machine lets the process have, and whether memory is short.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::limit::descriptors::raise;
use crate::limit::{MemoryGauge, MemoryNews, Sign};
use crate::live::Live;
use crate::telemetry::metrics::Metrics;

/// How often is looked at memory: faster than any client fills it.
const LOOK: Duration = Duration::from_millis(250);

/// Connections of clients at once, where the configuration does not say: half of the files that may be
/// open, since each needs one to its upstream. `None` for no bound.
pub(super) fn connections() -> Option<usize> {
    raise().map(|files| usize::try_from(files / 2).unwrap_or(usize::MAX).max(1))
}

/// Looks at this process's memory until it is dropped, and shows while it is too much.
pub(super) async fn watch_memory(live: Arc<Live>, metrics: Arc<Metrics>) {
    let group = group_memory();
    let mut gauge = MemoryGauge::default();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let most = live.load().memory.or(group);
        let used = most.and_then(|_| resident()).unwrap_or(0);
        let idle = metrics.connections().clients == 0;
        match gauge.look(used, most, idle) {
            None => {}
            Some(MemoryNews::Over) => {
                live.strain().set(Sign::Memory, true);
                tracing::warn!(used, most, "memory is short: new requests are refused");
            }
            Some(MemoryNews::Relieved) => {
                live.strain().set(Sign::Memory, false);
                tracing::info!(used, most, "memory is no longer short: requests are taken again");
            }
        }
    }
}

/// What is resident of this process, in bytes (`proc_pid_status(5)`).
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Nine tenths of what the control group may have, where it is bounded.
fn group_memory() -> Option<u64> {
    let group = fs::read_to_string("/proc/self/cgroup").ok()?;
    // In a container the group is its own root.
    let own = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let most = ["/sys/fs/cgroup".to_owned(), format!("/sys/fs/cgroup{own}")];
    let read = |folder: &String| fs::read_to_string(format!("{folder}/memory.max")).ok()?.trim().parse::<u64>().ok();
    most.iter().filter_map(read).min().map(|most| most / 10 * 9)
}
