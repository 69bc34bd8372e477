//! Who gets whose messages: topics, filters, and what has to arrive where.
//!
//! Relates to: [`Plan`](super::Plan), of which it is a part. Leaves out: how fast, how many, and connections.

use crate::bench::{
    ledger::Ledger,
    run::Run,
    wire::publish::{COUNTER, Turns},
};

/// Who gets whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// A topic and a subscriber for each publisher.
    Pairs,
    /// The same, connected so that of each four pairs two cross between the workers of a broker that has two and gives
    /// them connections in turn.
    CrossingPairs,
    /// All of so many subscribers get all messages.
    All(usize),
    /// One of so many subscribers gets each message.
    Group(usize),
    /// A topic and a subscriber for each publisher, and the subscribers are not there by now.
    Away,
    /// A topic for each of so many subscribers. Each publisher sends to one after the other, and no two begin with the
    /// same.
    InTurns(usize),
    /// A topic for each message of each publisher, and nobody who subscribes by now.
    Scattered,
}

impl Topology {
    /// How many subscribers there are from the beginning.
    pub(crate) const fn subscribers(self, publishers: usize) -> usize {
        match self {
            Self::Pairs | Self::CrossingPairs => publishers,
            Self::All(count) | Self::Group(count) | Self::InTurns(count) => count,
            Self::Away | Self::Scattered => 0,
        }
    }

    /// The publisher that connects as the `turn`-th, behind the subscribers, who connect in their order.
    pub(super) const fn publisher_at(self, turn: usize) -> usize {
        match self {
            // 0 1 3 2 4 5 7 6 ...: every other two change places, and with them the worker.
            Self::CrossingPairs => turn ^ (turn / 2 % 2),
            _ => turn,
        }
    }

    /// The end of the topic of a publisher.
    pub(super) fn topic(self, publisher: usize) -> String {
        match self {
            Self::Scattered => format!("{publisher}/{COUNTER}"),
            Self::InTurns(_) => COUNTER.to_owned(),
            _ => publisher.to_string(),
        }
    }

    /// Which topics a publisher takes turns at.
    pub(super) const fn turns(self, publisher: usize, publishers: usize) -> Turns {
        match self {
            Self::InTurns(count) => {
                Turns { first: (publisher * count / publishers) as u64, topics: count as u64 }
            }
            _ => Turns::ALONE,
        }
    }

    /// The filter of a subscriber.
    pub(crate) fn filter(self, run: &Run, subscriber: usize) -> String {
        match self {
            Self::Pairs | Self::CrossingPairs | Self::Away => run.topic(&subscriber.to_string()),
            Self::InTurns(_) => run.topic(&format!("{subscriber:0width$}", width = COUNTER.len())),
            Self::All(_) | Self::Scattered => run.topic("+"),
            Self::Group(_) => format!("$share/bench/{}", run.topic("+")),
        }
    }

    pub(super) fn ledger(self, window: u32, publisher: usize) -> Ledger {
        match self {
            Self::Pairs | Self::CrossingPairs | Self::Away => Ledger::new(window, publisher..publisher + 1),
            Self::All(count) => Ledger::new(window, 0..count),
            Self::Group(count) | Self::InTurns(count) => Ledger::shared(window, count),
            Self::Scattered => Ledger::unordered(window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_crossing_pairs_meet_another_worker() {
        let pairs = 12;
        let crossing = (0..pairs)
            .filter(|turn| {
                let publisher = Topology::CrossingPairs.publisher_at(*turn);
                // Its subscriber connected as the `publisher`-th, and before all publishers.
                (pairs + turn) % 2 != publisher % 2
            })
            .count();
        assert_eq!(crossing, pairs / 2);
        let mut all: Vec<_> = (0..pairs).map(|turn| Topology::CrossingPairs.publisher_at(turn)).collect();
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..pairs));
    }
}
