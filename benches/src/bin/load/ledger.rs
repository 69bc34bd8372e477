//! What a publisher sent and what of it arrived: lost, doubled, out of order.
//!
//! Messages are numbered from 0 by their publisher. Relates to: `flow`, which keeps one for each publisher, and
//! the bystander of `abuse`. Leaves out: the bytes.

use std::collections::BTreeSet;

/// What one publisher has sent, and what of it arrived at each of its subscribers.
pub(crate) struct Ledger {
    window: u64,
    pub(crate) sent: u64,
    /// Messages below are delivered everywhere, or given up.
    settled: u64,
    arrivals: Vec<Arrivals>,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
}

#[derive(Default)]
struct Arrivals {
    subscriber: usize,
    /// The message that comes next if all goes well.
    next: u64,
    /// Messages that were jumped over.
    missing: BTreeSet<u64>,
}

impl Ledger {
    /// A publisher that may have `window` messages undelivered to any of `subscribers`.
    pub(crate) fn new(window: u32, subscribers: impl Iterator<Item = usize>) -> Self {
        let arrivals = subscribers.map(|subscriber| Arrivals { subscriber, ..Arrivals::default() }).collect();
        Self { window: window.into(), sent: 0, settled: 0, arrivals, duplicates: 0, reordered: 0 }
    }

    /// Notes that message `sequence` came to `subscriber`.
    pub(crate) fn arrived(&mut self, subscriber: usize, sequence: u64) {
        let index = if self.arrivals.len() == 1 { 0 } else { subscriber };
        let Some(arrivals) = self.arrivals.get_mut(index).filter(|it| it.subscriber == subscriber) else {
            self.duplicates += 1;
            return;
        };
        if sequence >= arrivals.next {
            arrivals.missing.extend(arrivals.next..sequence);
            arrivals.next = sequence + 1;
        } else if arrivals.missing.remove(&sequence) {
            self.reordered += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// How many messages may be sent now.
    pub(crate) fn room(&mut self) -> u64 {
        let slowest = self.arrivals.iter().map(|it| it.next).min().unwrap_or(self.sent);
        self.settled = self.settled.max(slowest);
        self.window - (self.sent - self.settled)
    }

    /// True when everything that was sent arrived, or was jumped over.
    pub(crate) fn is_settled(&mut self) -> bool {
        self.room() == self.window
    }

    /// Nothing comes any more: what is out no longer counts against the window.
    pub(crate) fn give_up(&mut self) {
        self.settled = self.sent;
    }

    /// Messages that were sent and did not arrive, once for each subscriber that lacks them.
    pub(crate) fn lost(&self) -> u64 {
        let lost = |it: &Arrivals| it.missing.len() as u64 + (self.sent - it.next);
        self.arrivals.iter().map(lost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_tells_loss_from_disorder_and_doubles() {
        let mut ledger = Ledger::new(10, 4..5);
        ledger.sent = 6;
        for sequence in [0, 1, 1, 4, 2] {
            ledger.arrived(4, sequence);
        }
        assert_eq!((ledger.duplicates, ledger.reordered), (1, 1));
        assert_eq!(ledger.lost(), 2, "3 was jumped over, 5 never came");
        assert_eq!(ledger.room(), 9);
    }
}
