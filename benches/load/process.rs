//! What the kernel knows of a process and its children, from `/proc`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// The process and everything below it, parents first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some((_, parent)) = state_and_parent(pid)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    tree
}

/// Whether the process still runs; a zombie does not.
pub(crate) fn alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// User and system time of all threads that live.
pub(crate) fn cpu_time(pids: &[u32]) -> Duration {
    pids.iter().map(|&pid| threads(pid).or_else(|| ticks(pid)).unwrap_or_default()).sum()
}

/// From the scheduler, in nanoseconds; not every kernel keeps these.
fn threads(pid: u32) -> Option<Duration> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        if let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) {
            sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    (sum > 0).then_some(Duration::from_nanos(sum))
}

/// From `/proc/PID/stat`, in ticks of 10 ms (`USER_HZ` is 100 wherever Linux runs).
fn ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let sum = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(sum * 10))
}

/// Highest resident size so far, in KiB, of all together; pages they share are counted for each.
pub(crate) fn peak_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| field_kib(&format!("/proc/{pid}/status"), "VmHWM:")).sum()
}

/// Resident size now, in KiB; a shared page is split among those who share it.
pub(crate) fn pss_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
}

fn field_kib(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The CPUs that this process may use.
pub(crate) fn allowed_cpus() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let ranges = list.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// A clock that all processes of the machine share, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// More files than that nothing here needs, and some programs make tables as large as their limit.
const MOST_FILES: u64 = 1 << 20;

/// Lets this process, and those that it starts, open as many files as they may ever; how many that is.
pub(crate) fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(MOST_FILES)
}
