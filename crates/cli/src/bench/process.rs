//! What the operating system knows of a process: processor time, memory, descriptors. Linux only; without
//! a process id, or elsewhere, the figures are absent.

use std::{fs, time::Duration};

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads so far.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

/// Looks at process `pid`; `None` when it is gone or this is not Linux.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let resident = resident(pid)?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Some(Usage { cpu: cpu(pid)?, resident, descriptors: descriptors as u64 })
}

/// Resident memory of process `pid` in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

/// The most that was ever resident of process `pid`, in bytes.
pub(crate) fn highest_resident(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let amount = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = amount.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// Looks at this process.
pub(crate) fn own_cpu() -> Duration {
    cpu(std::process::id()).unwrap_or_default()
}

/// The scheduler counts nanoseconds for each thread; where it does not, ticks of 10 ms have to do.
fn cpu(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanoseconds: u64 = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    if nanoseconds > 0 { Some(Duration::from_nanos(nanoseconds)) } else { ticks(pid) }
}

/// Fields 14 and 15 of `stat`, counted behind the name, which may hold blanks.
fn ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}
