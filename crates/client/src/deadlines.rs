//! When answers to requests have been waited for too long.
//!
//! All have the same time, so those who asked first are due first. Relates to: `exchange.rs`, which has the requests,
//! and `pending.rs`, which does the same for publishes. Leaves out: the timer.

use std::collections::VecDeque;
use std::time::Duration;

use gantline_protocol::{Moment, PacketId};

/// Requests in the order in which they are due. Without a time-out nothing is kept.
#[derive(Debug)]
pub(crate) struct Deadlines {
    limit: Option<Duration>,
    due: VecDeque<(Moment, Awaited)>,
    pings: u64,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The answer to a SUBSCRIBE or UNSUBSCRIBE.
    Request(PacketId),
    /// The answer to the PINGREQ of this number.
    Ping(u64),
}

impl Deadlines {
    pub(crate) const fn new(limit: Option<Duration>) -> Self {
        Self { limit, due: VecDeque::new(), pings: 0 }
    }

    pub(crate) const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    pub(crate) const fn is_set(&self) -> bool {
        self.limit.is_some()
    }

    /// Adds a request that is sent now. `is_awaited` tells of earlier ones whether they still wait; those in front that
    /// do not are forgotten.
    pub(crate) fn add(&mut self, now: Moment, awaited: Awaited, is_awaited: impl Fn(Awaited) -> bool) {
        let Some(limit) = self.limit else { return };
        while self.due.front().is_some_and(|(_, earlier)| !is_awaited(*earlier)) {
            self.due.pop_front();
        }
        // An id is free again once its request has been answered.
        self.due.retain(|(_, earlier)| *earlier != awaited);
        self.due.push_back((now.plus(limit), awaited));
    }

    /// A number for the next ping.
    pub(crate) const fn number(&mut self) -> u64 {
        self.pings += 1;
        self.pings
    }

    pub(crate) fn next(&self) -> Moment {
        self.due.front().map_or(Moment::NEVER, |(due, _)| *due)
    }

    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Awaited> {
        if self.next() > now { None } else { self.due.pop_front().map(|(_, awaited)| awaited) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Awaited, Deadlines};
    use gantline_protocol::{Moment, PacketId};

    fn at(seconds: u64) -> Moment {
        Moment::ZERO.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn what_was_answered_takes_no_room() {
        let mut deadlines = Deadlines::new(Some(Duration::from_secs(10)));
        for now in 0..100 {
            let ping = Awaited::Ping(deadlines.number());
            deadlines.add(at(now), ping, |_| false);
        }
        assert_eq!((deadlines.due.len(), deadlines.next()), (1, at(109)));
    }

    #[test]
    fn an_id_that_is_used_again_has_the_time_of_its_new_request() {
        let mut deadlines = Deadlines::new(Some(Duration::from_secs(10)));
        let (first, other) = (PacketId::new(1).unwrap(), PacketId::new(2).unwrap());
        for (now, id) in [(0, other), (1, first), (5, first)] {
            deadlines.add(at(now), Awaited::Request(id), |_| true);
        }
        assert_eq!(deadlines.take_due(at(9)), None);
        assert_eq!(deadlines.take_due(at(12)), Some(Awaited::Request(other)));
        assert_eq!(deadlines.take_due(at(12)), None);
        assert_eq!(deadlines.take_due(at(15)), Some(Awaited::Request(first)));
        assert_eq!(deadlines.next(), Moment::NEVER);
    }
}
