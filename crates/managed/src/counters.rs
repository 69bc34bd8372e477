//! How many: what a managed client has done so far, and what it has to do.
//!
//! Leaves out: received messages, of which each stream counts those that it dropped.

use crate::outbox::Load;
use crate::outcome::Outcome;

/// A look at the counters of a managed client. Those of the past count since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages in the outbox, waiting and in flight.
    pub pending_messages: usize,
    /// Their topics, payloads and properties in bytes.
    pub pending_bytes: usize,
    /// Messages that were sent and are not acknowledged.
    pub in_flight: usize,
    /// Filters that are wanted.
    pub filters: usize,
    /// Messages that ended as delivered.
    pub delivered: u64,
    /// Messages that ended as rejected.
    pub rejected: u64,
    /// Messages that ended as dropped.
    pub dropped: u64,
    /// Messages that ended as indeterminate.
    pub indeterminate: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Attempts to connect that failed.
    pub failed_attempts: u64,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally(Counters);

impl Tally {
    pub(crate) const fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Delivered(_) => &mut self.0.delivered,
            Outcome::Rejected(_) => &mut self.0.rejected,
            Outcome::Dropped(_) => &mut self.0.dropped,
            Outcome::Indeterminate(_) => &mut self.0.indeterminate,
        } += 1;
    }

    pub(crate) const fn connected(&mut self) {
        self.0.connections += 1;
    }

    pub(crate) const fn failed(&mut self) {
        self.0.failed_attempts += 1;
    }

    pub(crate) const fn counters(&self, load: Load, in_flight: usize, filters: usize) -> Counters {
        Counters { pending_messages: load.messages, pending_bytes: load.bytes, in_flight, filters, ..self.0 }
    }
}
