//! How long to wait before the next attempt to connect: exponential, with full jitter.
//!
//! Each failure doubles the longest wait; how long it really is, chance decides, so that the clients of a server that was
//! down do not all come back in the same second. Leaves out: time itself; the supervisor sleeps.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    /// In a row.
    failures: u32,
}

impl Backoff {
    /// The longest first wait, and the longest wait at all.
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most: most.max(least), failures: 0 }
    }

    /// Another failure: how long to wait now.
    pub(crate) fn wait(&mut self) -> Duration {
        // The keys of a `RandomState` come from the operating system.
        self.wait_with(RandomState::new().hash_one(0_u8))
    }

    /// A connection was stable: the next failure is the first one again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    fn wait_with(&mut self, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let ceiling = self.least.checked_mul(factor).unwrap_or(self.most).min(self.most);
        // In 2^16 steps, which nobody can tell from a continuum.
        let share = u32::from((random >> 48) as u16);
        ceiling.checked_mul(share).map_or(ceiling, |product| product / u32::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn the_longest_wait_doubles_up_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<u64> = (0..8).map(|_| backoff.wait_with(u64::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.wait_with(u64::MAX), Duration::from_secs(1));
    }

    #[test]
    fn chance_decides_from_nothing_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(8), Duration::from_secs(8));
        assert_eq!(backoff.wait_with(0), Duration::ZERO);
        assert_eq!(backoff.wait_with(u64::MAX / 2).as_millis(), 3_999);
        let waits: Vec<Duration> = (0..16).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(8)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn no_number_of_failures_and_no_span_is_too_much() {
        let mut backoff = Backoff { least: Duration::MAX, most: Duration::MAX, failures: u32::MAX };
        assert_eq!(backoff.wait_with(u64::MAX), Duration::MAX);
        assert_eq!(backoff.failures, u32::MAX);
    }
}
