//! What this machine lets the process have, and whether memory is short.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::limit::descriptors::raise;
use crate::limit::{MemoryGauge, MemoryNews, Sign};
use crate::live::Live;
use crate::telemetry::metrics::Metrics;

/// How often is looked at memory: faster than any client fills it.
const LOOK: Duration = Duration::from_millis(250);

/// So many looks in a row find no request under way before that counts: six seconds, so that
/// connections which nobody uses have been closed and take up no more.
const QUIET: u32 = 24;

/// So seldom the log is told that memory is short, however often it is.
const TOLD: Duration = Duration::from_secs(60);

/// Connections of clients at once, where the configuration does not say: half of the files that may be
/// open, since each needs one to its upstream. `None` for no bound.
pub(super) fn connections() -> Option<usize> {
    raise().map(|files| usize::try_from(files / 2).unwrap_or(usize::MAX).max(1))
}

/// Warns of more connections than there are files for.
pub(super) fn tell_connections(wished: Option<u32>, most: Option<usize>) {
    if let (Some(wished), Some(most)) = (wished, most)
        && usize::try_from(wished).is_ok_and(|wished| wished > most)
    {
        let mend = "raise the limit of open files (`ulimit -n`, `LimitNOFILE`), or write less";
        tracing::warn!(
            wished,
            most,
            mend,
            "`limits.connections` is more than there are files for: a client's connection needs one, and its upstream's another"
        );
    }
}

/// What the log says of memory, which follows what is so: at once, but for a shortage soon after another.
#[derive(Default)]
struct Telling {
    short: bool,
    last: Option<Instant>,
}

impl Telling {
    /// Whether the log is to say that memory is short, or no longer; `None` where it has said what is so.
    fn turn(&mut self, short: bool, now: Instant) -> Option<bool> {
        let soon = short && self.last.is_some_and(|last| now < last + TOLD);
        if short == self.short || soon {
            return None;
        }
        if short {
            self.last = Some(now);
        }
        self.short = short;
        Some(short)
    }
}

/// Looks at this process's memory until it is dropped, and shows while it is too much.
///
/// `busy` is what each worker says of its connections: those on which a request is under way. Clients
/// that only ask again and again, and are refused, must not keep it from being over.
pub(super) async fn watch_memory(live: Arc<Live>, metrics: Arc<Metrics>, busy: Vec<Arc<AtomicUsize>>) {
    let group = group_memory();
    let (mut gauge, mut telling) = (MemoryGauge::default(), Telling::default());
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut quiet) = (None, 0);
    loop {
        looks.tick().await;
        let most = live.load().memory.or(group);
        let used = most.and_then(|_| resident()).unwrap_or(0);
        if most != told {
            told = most;
            if let Some(most) = most.filter(|most| used > *most) {
                tracing::warn!(used, most, "`limits.memory` is less than is in use already: requests will be refused");
            }
        }
        quiet = if busy.iter().all(|busy| busy.load(Ordering::Relaxed) == 0) { quiet + 1 } else { 0 };
        let idle = quiet >= QUIET || metrics.connections().clients == 0;
        match gauge.look(used, most, idle) {
            None => {}
            Some(MemoryNews::Over) => live.strain().set(Sign::Memory, true),
            Some(MemoryNews::Relieved) => live.strain().set(Sign::Memory, false),
        }
        match telling.turn(live.strain().shows(Sign::Memory), Instant::now()) {
            None => {}
            Some(true) => tracing::warn!(used, most, "memory is short: new requests are refused"),
            Some(false) if most.is_some_and(|most| used > most) => {
                tracing::info!(used, most, "nothing is under way: requests are taken again");
            }
            Some(false) => tracing::info!(used, most, "memory is no longer short: requests are taken again"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shortage_that_comes_and_goes_is_told_once_a_minute_and_in_the_end_as_it_is() {
        let mut telling = Telling::default();
        let mut told = Vec::new();
        for look in 0..480 {
            // Two minutes of it, each half second another.
            told.extend(telling.turn(look % 2 == 0, Instant::now()).map(|short| (look, short)));
            tokio::time::advance(LOOK).await;
        }
        assert_eq!(told, [(0, true), (1, false), (240, true), (241, false)]);
        assert_eq!(telling.turn(true, Instant::now()), Some(true), "one that lasts is told");
        tokio::time::advance(LOOK).await;
        assert_eq!(telling.turn(true, Instant::now()), None);
        assert_eq!(telling.turn(false, Instant::now()), Some(false));
        assert_eq!(telling.turn(true, Instant::now()), None);
        tokio::time::advance(TOLD).await;
        assert_eq!(telling.turn(true, Instant::now()), Some(true), "once it is time");
    }
}
