//! What the kernel knows of this process, under the names that every client library of Prometheus
//! uses.

use std::fs;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::family::Families;
use super::unix_seconds;

/// This process at a moment. Where `/proc` does not tell, a number is left out.
#[derive(Debug)]
pub(super) struct Process {
    started: SystemTime,
    cpu: Duration,
    resident: Option<u64>,
    virtual_: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
    most_files: Option<u64>,
}

impl Process {
    pub(super) fn look(started: SystemTime) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::from_secs(u64::try_from(cpu.tv_sec).unwrap_or(0))
            + Duration::from_nanos(u64::try_from(cpu.tv_nsec).unwrap_or(0));
        let kib = |name| field(&status, name).map(|kib| kib * 1024);
        // One of them is the folder itself, open while it is read.
        let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as u64);
        Self {
            started,
            cpu,
            resident: kib("VmRSS:"),
            virtual_: kib("VmSize:"),
            threads: field(&status, "Threads:"),
            open_files: open,
            most_files: getrlimit(Resource::Nofile).current,
        }
    }
}

/// A number in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut families = Families(encoder);
        let started = unix_seconds(self.started);
        families.gauge("process_start_time", "When the process began, since 1970", Some(&Unit::Seconds), &started)?;
        let cpu = "Time on processors, in user and in system mode";
        families.counter_of("process_cpu", cpu, &Unit::Seconds, &self.cpu.as_secs_f64())?;
        let (bytes, none) = (Some(&Unit::Bytes), None);
        for (name, help, unit, value) in [
            ("process_resident_memory", "Memory that is resident", bytes, self.resident),
            ("process_virtual_memory", "Memory that is mapped", bytes, self.virtual_),
            ("process_open_fds", "Open file descriptors, connections among them", none, self.open_files),
            ("process_max_fds", "How many file descriptors may be open", none, self.most_files),
            ("process_threads", "Threads", none, self.threads),
        ] {
            if let Some(value) = value {
                families.gauge(name, help, unit, &value)?;
            }
        }
        Ok(())
    }
}
