//! What a publisher sent and what of it arrived: lost, doubled, out of order.
//!
//! Messages are numbered from 0 by their publisher. Relates to: `traffic`, which keeps one for each publisher.
//! Leaves out: the bytes.

use std::collections::BTreeSet;

/// What one publisher has sent, and what of it arrived at each of its subscribers.
pub(crate) struct Ledger {
    window: u64,
    pub(crate) sent: u64,
    /// Messages below are delivered everywhere, or given up.
    settled: u64,
    /// Messages that were given up where the order says nothing.
    given_up: u64,
    arrivals: Vec<Arrivals>,
    order: Order,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
}

/// Which order is right.
enum Order {
    /// That of sending. A message that is jumped over is as good as lost, and frees the window.
    Sending,
    /// That of sending at each member of a group; the message after the last that it got.
    OfMember(Vec<u64>),
    /// Any: the messages have topics of their own.
    Any,
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
    /// A publisher that may have `window` messages undelivered to any of `subscribers`, all of which get all.
    pub(crate) fn new(window: u32, subscribers: impl Iterator<Item = usize>) -> Self {
        let arrivals = subscribers.map(|subscriber| Arrivals { subscriber, ..Arrivals::default() }).collect();
        Self {
            window: window.into(),
            sent: 0,
            settled: 0,
            given_up: 0,
            arrivals,
            order: Order::Sending,
            duplicates: 0,
            reordered: 0,
        }
    }

    /// A publisher each of whose messages goes to one of the subscribers `0..members`.
    pub(crate) fn shared(window: u32, members: usize) -> Self {
        Self { order: Order::OfMember(vec![0; members]), ..Self::new(window, 0..1) }
    }

    /// A publisher whose messages come to subscriber 0 in any order.
    pub(crate) fn unordered(window: u32) -> Self {
        Self { order: Order::Any, ..Self::new(window, 0..1) }
    }

    /// Notes that message `sequence` came to `subscriber`.
    pub(crate) fn arrived(&mut self, subscriber: usize, sequence: u64) {
        let place = if matches!(self.order, Order::OfMember(_)) { 0 } else { subscriber };
        let index = if self.arrivals.len() == 1 { 0 } else { place };
        let was_sent = |it: &&mut Arrivals| it.subscriber == place && sequence < self.sent;
        let Some(arrivals) = self.arrivals.get_mut(index).filter(was_sent) else {
            self.duplicates += 1;
            return;
        };
        let is_late = sequence < arrivals.next;
        if is_late && !arrivals.missing.remove(&sequence) {
            self.duplicates += 1;
            return;
        }
        if !is_late {
            arrivals.missing.extend(arrivals.next..sequence);
            arrivals.next = sequence + 1;
        }
        let is_wrong = match &mut self.order {
            Order::Sending => is_late,
            Order::OfMember(next) => next.get_mut(subscriber).is_some_and(|next| {
                let is_behind = sequence < *next;
                *next = (*next).max(sequence + 1);
                is_behind
            }),
            Order::Any => false,
        };
        self.reordered += u64::from(is_wrong);
    }

    /// How many messages may be sent now.
    pub(crate) fn room(&mut self) -> u64 {
        let undelivered = if matches!(self.order, Order::Sending) {
            let slowest = self.arrivals.iter().map(|it| it.next).min().unwrap_or(self.sent);
            self.settled = self.settled.max(slowest);
            self.sent - self.settled
        } else {
            self.lost().saturating_sub(self.given_up)
        };
        self.window.saturating_sub(undelivered)
    }

    /// Nothing comes any more: what is out no longer counts against the window.
    pub(crate) fn give_up(&mut self) {
        self.settled = self.sent;
        self.given_up = self.lost();
    }

    /// Messages that were sent and did not arrive (so far), once for each subscriber that lacks them.
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
        ledger.arrived(3, 5);
        assert_eq!((ledger.duplicates, ledger.lost()), (2, 2), "nobody sent it to 3");
    }

    #[test]
    fn members_of_a_group_are_each_in_order() {
        let mut ledger = Ledger::shared(10, 2);
        ledger.sent = 5;
        for (member, sequence) in [(1, 1), (0, 0), (1, 3), (0, 2)] {
            ledger.arrived(member, sequence);
        }
        assert_eq!((ledger.reordered, ledger.duplicates, ledger.lost(), ledger.room()), (0, 0, 1, 9));
        ledger.arrived(1, 4);
        ledger.arrived(0, 4);
        assert_eq!((ledger.reordered, ledger.duplicates, ledger.lost()), (0, 1, 0));
        ledger.sent = 7;
        ledger.arrived(0, 6);
        ledger.arrived(0, 5);
        assert_eq!((ledger.reordered, ledger.lost()), (1, 0));
    }

    #[test]
    fn what_is_given_up_frees_the_window_but_stays_lost() {
        let mut ledger = Ledger::unordered(10);
        ledger.sent = 10;
        ledger.arrived(0, 9);
        assert_eq!(ledger.room(), 1);
        ledger.give_up();
        assert_eq!((ledger.room(), ledger.lost(), ledger.reordered), (10, 9, 0));
    }
}
