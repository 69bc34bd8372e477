//! When answers to requests have been waited for too long.
//!
//! All have the same time, so those who asked first are due first. Relates to: `exchange.rs`, which has the requests, and
//! `pending.rs`, which does the same for publishes. Leaves out: the timer.

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

    pub(crate) fn add(&mut self, now: Moment, awaited: Awaited) {
        if let Some(limit) = self.limit {
            if let Awaited::Request(_) = awaited {
                // The id was free: an earlier request of that id has been answered.
                self.due.retain(|(_, earlier)| *earlier != awaited);
            }
            self.due.push_back((now.plus(limit), awaited));
        }
    }

    /// Returns the number of the ping.
    pub(crate) fn add_ping(&mut self, now: Moment) -> u64 {
        self.pings += 1;
        self.add(now, Awaited::Ping(self.pings));
        self.pings
    }

    pub(crate) fn next(&self) -> Moment {
        self.due.front().map_or(Moment::NEVER, |(due, _)| *due)
    }

    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Awaited> {
        if self.next() > now { None } else { self.due.pop_front().map(|(_, awaited)| awaited) }
    }
}
