//! The byte budget that all mailboxes of a server share.
//!
//! Relates to: [`Mailbox`](super::Mailbox), which draws from it in steps so that a busy mailbox touches the shared
//! counter rarely. Leaves out: fairness between mailboxes; each has its own bounds for that.

use std::sync::atomic::{AtomicU64, Ordering};

/// A shared bound on queued bytes.
///
/// A mailbox draws [`Budget::STEP`]s for what exceeds its first step, so the true sum can exceed the limit by one
/// step for each mailbox.
#[derive(Debug)]
pub struct Budget {
    drawn: AtomicU64,
    limit: u64,
}

impl Budget {
    /// What is drawn and given back at once, and what each mailbox may hold without drawing: 4 KiB.
    pub const STEP: u32 = 4096;

    /// A budget of `limit` bytes.
    pub const fn new(limit: u64) -> Self {
        Self { drawn: AtomicU64::new(0), limit }
    }

    /// A budget that is never exhausted.
    pub const fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Bytes drawn at this moment.
    pub fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// The limit it was made with.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn draw(&self, bytes: u32) -> bool {
        // The counter guards no other memory, so relaxed operations suffice; overshoot is undone at once.
        let before = self.drawn.fetch_add(u64::from(bytes), Ordering::Relaxed);
        if before.saturating_add(u64::from(bytes)) <= self.limit {
            return true;
        }
        self.give_back(bytes);
        false
    }

    pub(super) fn give_back(&self, bytes: u32) {
        self.drawn.fetch_sub(u64::from(bytes), Ordering::Relaxed);
    }
}
