//! One sender: how much it may send now, and which of its messages are acknowledged.

use super::waits::Waits;
use crate::bench::{
    failure::Failure,
    histogram::Histogram,
    ledger::Ledger,
    link::Link,
    wire::{self, publish::PublishTemplate},
};

/// How many bits of a label are the number of the message; the publisher stands above them.
const SEQUENCE_BITS: u32 = 48;
/// A few packet ids stay free for what was given up.
const MOST_UNACKNOWLEDGED: u32 = 60_000;

/// How fast publishers send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each keeps its window full of undelivered messages: the load follows the broker.
    Window,
    /// All together send so many in a second, evenly, and whatever comes back. A message that cannot be sent
    /// when it is due carries its due time all the same, so a broker that stalls cannot hide it.
    Rate(u32),
    /// Each sends so many in all, and keeps its window full of unacknowledged messages.
    Total(u64),
}

/// A publisher.
pub(crate) struct Publisher {
    index: usize,
    pub(crate) link: Link,
    template: PublishTemplate,
    pub(crate) ledger: Ledger,
    qos: u8,
    window: u32,
    /// Messages that are not acknowledged, or with QoS 0 not followed by the answer to a ping.
    unacknowledged: u32,
    allowed: u32,
    /// Messages that were acknowledged with an error.
    pub(crate) refused: u64,
    /// How long it waits for acknowledgements, when that is of interest.
    pub(crate) waits: Option<Waits>,
}

impl Publisher {
    pub(crate) fn new(
        index: usize,
        link: Link,
        template: PublishTemplate,
        ledger: Ledger,
        qos: u8,
        window: u32,
        allowed: u32,
    ) -> Self {
        let allowed = allowed.min(MOST_UNACKNOWLEDGED);
        Self {
            index,
            link,
            template,
            ledger,
            qos,
            window,
            unacknowledged: 0,
            allowed,
            refused: 0,
            waits: None,
        }
    }

    /// Puts into the output what may be sent at `now`, in nanoseconds since the start.
    pub(crate) fn refill(&mut self, pace: Pace, publishers: usize, now: u64, late: &mut Histogram) {
        let room = self.room(pace, publishers, now);
        for _ in 0..room {
            let sequence = self.ledger.sent;
            let stamp = self.next_due(pace, publishers).unwrap_or(now);
            if matches!(pace, Pace::Rate(_)) {
                late.add(now.saturating_sub(stamp));
            }
            self.ledger.sent += 1;
            let label = (self.index as u64) << SEQUENCE_BITS | sequence;
            self.template.write(&mut self.link.out, sequence, label, stamp);
            if let Some(waits) = &mut self.waits {
                waits.sent(now);
            }
        }
        let pings = self.qos == 0 && matches!(pace, Pace::Total(_)) && room > 0;
        if pings {
            self.link.out.extend(wire::PINGREQ);
        }
        if self.qos > 0 || pings {
            self.unacknowledged += room as u32;
        }
    }

    fn room(&mut self, pace: Pace, publishers: usize, now: u64) -> u64 {
        let room = match pace {
            Pace::Window => self.ledger.room(),
            Pace::Rate(rate) => {
                let due = (u128::from(now) * u128::from(rate) / 1_000_000_000) as u64;
                let index = self.index as u64;
                let mine = due.saturating_sub(index).div_ceil(publishers as u64);
                mine.saturating_sub(self.ledger.sent)
            }
            // Without acknowledgements it takes turns with the answers to its pings.
            Pace::Total(_) if self.qos == 0 && self.unacknowledged > 0 => 0,
            Pace::Total(total) => {
                (total - self.ledger.sent).min(self.window.saturating_sub(self.unacknowledged).into())
            }
        };
        if self.qos == 0 {
            return room;
        }
        room.min(self.allowed.saturating_sub(self.unacknowledged).into())
    }

    /// When the next message has to be sent, in nanoseconds since the start: message `k` of all is due when
    /// `k + 1` fit into the time.
    pub(crate) fn next_due(&self, pace: Pace, publishers: usize) -> Option<u64> {
        let Pace::Rate(rate) = pace else { return None };
        let number = u128::from(self.ledger.sent) * publishers as u128 + self.index as u128 + 1;
        Some((number * 1_000_000_000).div_ceil(rate.into()) as u64)
    }

    /// Reads acknowledgements at `now`; true when there were any.
    pub(crate) fn read_acks(
        &mut self,
        scratch: &mut [u8],
        now: u64,
        all: &mut Histogram,
    ) -> Result<bool, Failure> {
        let Self { link, unacknowledged, refused, qos, waits, .. } = self;
        let before = *unacknowledged;
        link.read(scratch, |first, body, out| match (first >> 4, body) {
            (wire::PUBREC, &[_, _, 0x80..=0xFF, ..]) => {
                *refused += 1;
                *unacknowledged = unacknowledged.saturating_sub(1);
            }
            (wire::PUBREC, &[high, low, ..]) => wire::ack(out, wire::PUBREL, [high, low]),
            (wire::PUBACK | wire::PUBCOMP, _) => {
                *refused += u64::from(body.get(2).is_some_and(|code| *code >= 0x80));
                *unacknowledged = unacknowledged.saturating_sub(1);
                if let Some(waits) = waits {
                    waits.acknowledged(now, all);
                }
            }
            (wire::PINGRESP, _) if *qos == 0 => *unacknowledged = 0,
            _ => {}
        })?;
        Ok(*unacknowledged != before)
    }

    /// True when all that was to be sent is sent and acknowledged.
    pub(crate) fn is_done(&self, pace: Pace) -> bool {
        self.unacknowledged == 0 && matches!(pace, Pace::Total(total) if self.ledger.sent >= total)
    }

    /// True when all that was sent has arrived and is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.unacknowledged == 0 && self.ledger.lost() == 0
    }

    pub(crate) const fn sent(&self) -> u64 {
        self.ledger.sent
    }

    pub(crate) fn unacknowledged(&self) -> u64 {
        self.unacknowledged.into()
    }
}

/// The publisher of a label, and the number of its message.
pub(crate) const fn parse_label(label: u64) -> (usize, u64) {
    ((label >> SEQUENCE_BITS) as usize, label & ((1 << SEQUENCE_BITS) - 1))
}
