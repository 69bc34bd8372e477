//! How much memory the process may use: what the system has, or the limit of its control group.
//!
//! Relates to: the default of
//! [`ServerOptions::max_queued_bytes_in_all`](crate::ServerOptions::max_queued_bytes_in_all). Leaves out: systems other
//! than Linux, for which a fixed amount is taken.

use std::fs;

/// The memory in bytes.
pub(crate) fn available() -> u64 {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.into_iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.chain(system).min().unwrap_or(ASSUMED)
}

/// The total that `/proc/meminfo` names, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let kibibytes =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is taken where the system does not say: 4 GiB.
const ASSUMED: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_found() {
        assert_eq!(total("MemTotal:       24689760 kB\nMemFree: 1 kB\n"), Some(24_689_760 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }
}
