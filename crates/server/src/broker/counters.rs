//! What the server counts.
//!
//! Connections count for themselves and add their sums once a turn, so that the shared counters are touched rarely.
//! Relates to: [`Stats`](crate::Stats), the public picture. Leaves out: what each client counts for itself, which is in
//! its slot.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters since the server began, and the number of connections.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicUsize,
    pub(crate) connected: Counter,
    pub(crate) refused: Counter,
    pub(crate) rejected: Counter,
    pub(crate) received: Counter,
    pub(crate) routed: Counter,
    dropped: Counter,
    pub(crate) expired: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) violations: Counter,
    pub(crate) intercepted: Counter,
    pub(crate) hook_panics: Counter,
    pub(crate) hook_timeouts: Counter,
}

/// A sum that only grows. It orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts messages that were lost at a bound.
    pub(crate) fn add_dropped(&self, messages: u64) {
        self.dropped.add(messages);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// A stream was accepted; returns how many there are now.
    pub(crate) fn open(&self) -> usize {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A stream is closed.
    pub(crate) fn close(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many streams are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
