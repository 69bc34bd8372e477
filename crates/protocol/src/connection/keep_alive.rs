//! Keep alive on both sides: when the server gives a client up, when the client pings and when it gives the server up.
//!
//! Time is what the caller says it is. Leaves out: who asks when; a server with many connections asks a timer wheel.

use std::time::Duration;

use crate::time::Moment;

/// When a server that last heard of its client at `received` closes the connection: after one and a half times the
/// keep alive [MQTT-3.1.2-22]. Never, if it is 0.
pub(super) fn patience_ends(keep_alive: u16, received: Moment) -> Moment {
    if keep_alive == 0 {
        return Moment::NEVER;
    }
    received.plus(Duration::from_millis(u64::from(keep_alive) * 1500))
}

/// The client's part: something must be sent in every period [MQTT-3.1.2-20], and a ping must be answered. A server
/// that is silent while we send is asked too: what we send may go nowhere.
#[derive(Debug)]
pub(super) struct Pings {
    /// When a packet was last sent, as far as the machine was told.
    sent: Moment,
    /// When a packet came last.
    heard: Moment,
    /// The sign of life since which the server owes a PINGRESP.
    unanswered: Option<Moment>,
}

/// What is to be done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// The server has been silent for a whole period after a ping.
    GiveUp,
}

impl Pings {
    pub(super) const fn new(now: Moment) -> Self {
        Self { sent: now, heard: now, unanswered: None }
    }

    pub(super) fn sent(&mut self, now: Moment) {
        self.sent = self.sent.max(now);
    }

    /// Any packet came: the server lives, though it may still owe the answer (a large message may be in its way).
    #[inline]
    pub(super) fn received(&mut self, now: Moment) {
        self.heard = now;
        if let Some(since) = &mut self.unanswered {
            *since = now;
        }
    }

    pub(super) fn answered(&mut self) {
        self.unanswered = None;
    }

    pub(super) fn pinged(&mut self, now: Moment) {
        self.sent = now;
        self.unanswered.get_or_insert(now);
    }

    pub(super) fn next(&self, keep_alive: u16) -> Moment {
        if keep_alive == 0 && self.unanswered.is_none() {
            return Moment::NEVER;
        }
        let ping = self.next_ping(keep_alive);
        self.unanswered.map_or(ping, |since| ping.min(since.plus(period(keep_alive))))
    }

    /// After a period in which we sent nothing, or two in which nothing came.
    fn next_ping(&self, keep_alive: u16) -> Moment {
        if keep_alive == 0 {
            return Moment::NEVER;
        }
        let sent = self.sent.plus(period(keep_alive));
        // Once is enough.
        if self.unanswered.is_some() { sent } else { sent.min(self.heard.plus(2 * period(keep_alive))) }
    }

    pub(super) fn due(&self, keep_alive: u16, now: Moment) -> Due {
        if self.unanswered.is_some_and(|since| since.plus(period(keep_alive)) <= now) {
            Due::GiveUp
        } else if self.next_ping(keep_alive) <= now {
            Due::Ping
        } else {
            Due::Nothing
        }
    }
}

/// The period in which a packet must leave, and in which a ping must be answered. The latter holds without keep alive
/// too, for pings by hand.
fn period(keep_alive: u16) -> Duration {
    if keep_alive == 0 { UNASKED_PATIENCE } else { Duration::from_secs(u64::from(keep_alive)) }
}

const UNASKED_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::{Due, Pings, patience_ends};
    use crate::time::Moment;

    const fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn the_server_waits_one_and_a_half_times_the_keep_alive() {
        assert_eq!(patience_ends(10, at(100)), at(115));
        assert_eq!(patience_ends(1, at(0)), Moment::from_millis(1500));
        assert_eq!(patience_ends(0, at(100)), Moment::NEVER);
    }

    #[test]
    fn the_client_pings_when_nothing_was_sent() {
        let mut pings = Pings::new(at(0));
        assert_eq!(pings.next(10), at(10));
        pings.sent(at(4));
        assert_eq!(pings.due(10, at(10)), Due::Nothing);
        assert_eq!(pings.due(10, at(14)), Due::Ping);
    }

    #[test]
    fn a_server_that_is_silent_while_we_send_is_asked_once() {
        let mut pings = Pings::new(at(0));
        pings.sent(at(18));
        assert_eq!((pings.next(10), pings.due(10, at(19))), (at(20), Due::Nothing));
        assert_eq!(pings.due(10, at(20)), Due::Ping);
        pings.pinged(at(20));
        pings.sent(at(25));
        assert_eq!((pings.next(10), pings.due(10, at(29))), (at(30), Due::Nothing));
        pings.received(at(29));
        pings.answered();
        pings.sent(at(48));
        assert_eq!(pings.next(10), at(49));
    }

    #[test]
    fn a_silent_server_is_given_up_after_a_period() {
        let mut pings = Pings::new(at(0));
        pings.pinged(at(10));
        assert_eq!(pings.next(10), at(20));
        assert_eq!(pings.due(10, at(20)), Due::GiveUp);
    }

    #[test]
    fn a_server_that_sends_is_not_given_up() {
        let mut pings = Pings::new(at(0));
        pings.pinged(at(10));
        pings.received(at(18));
        assert_eq!(pings.due(10, at(20)), Due::Ping);
        pings.pinged(at(20));
        assert_eq!(pings.due(10, at(28)), Due::GiveUp);
        pings.answered();
        assert_eq!(pings.due(10, at(28)), Due::Nothing);
    }

    #[test]
    fn without_keep_alive_there_is_no_ping_but_one_by_hand_is_awaited() {
        let mut pings = Pings::new(at(0));
        assert_eq!(pings.next(0), Moment::NEVER);
        pings.pinged(at(10));
        assert_eq!(pings.next(0), at(40));
        assert_eq!(pings.due(0, at(40)), Due::GiveUp);
    }
}
