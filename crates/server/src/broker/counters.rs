//! What the server counts.
//!
//! Connections count for themselves and add their sums once a turn ([`Tally`]), so that the shared counters are touched
//! rarely; these have cache lines of their own, so that whoever adds disturbs nobody who only reads the broker. Relates
//! to: [`Metrics`](crate::Metrics), the public picture; `record.rs`, what is counted for each client. Leaves out:
//! rates.

use std::mem::take;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gantline_protocol::{Moment, QoS};

use super::record::Record;
use crate::events::DropCause;

/// Counters since the server began, and how much there is of what comes and goes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Streams that are open.
    pub(crate) connections: Level,
    /// Clients that are connected.
    pub(crate) clients: Level,
    pub(crate) accepted: Counter,
    pub(crate) connected: Counter,
    pub(crate) refused: Counter,
    pub(crate) refused_addresses: Counter,
    pub(crate) refused_sessions: Counter,
    pub(crate) rejected: Counter,
    pub(crate) unauthenticated: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) violations: Counter,
    pub(crate) intercepted: Counter,
    pub(crate) hook_panics: Counter,
    pub(crate) hook_timeouts: Counter,
    pub(crate) unconsumed: Counter,
    dropped: [Counter; DropCause::ALL.len()],
    pub(crate) expired: Counter,
    pub(crate) subscriptions_refused: Counter,
    pub(crate) sessions_expired: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) holds: Counter,
    pub(crate) quarantines: Counter,
    pub(crate) throttled: Counter,
    /// What every message adds to. Each thread has a part of its own, so that they do not take a line from each other.
    flows: [Flows; PARTS],
}

/// What went over the connections of one thread, or of a few.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Flows {
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    /// Copies of messages that were handed to receivers.
    pub(crate) routed: Counter,
}

impl Counters {
    /// The part that this thread adds to.
    pub(crate) fn flows(&self) -> &Flows {
        &self.flows[PART.with(|part| *part)]
    }

    /// The sum of all parts of a counter.
    pub(crate) fn sum(&self, of: impl Fn(&Flows) -> &Counter) -> u64 {
        self.flows.iter().map(|part| of(part).get()).sum()
    }

    /// Counts messages that were lost.
    pub(crate) fn add_dropped(&self, cause: DropCause, messages: u64) {
        self.dropped[cause as usize].add(messages);
    }

    pub(crate) fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize].get()
    }
}

/// What went one way over connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// PUBLISH packets by QoS.
    pub(crate) messages: [Counter; 3],
    /// What they measured, in bytes.
    pub(crate) publish_bytes: Counter,
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
}

impl Traffic {
    /// Counts PUBLISH packets by QoS; returns how many they are.
    fn add_messages(&self, by_qos: [u32; 3]) -> u64 {
        let [once, at_least_once, exactly_once] = by_qos.map(u64::from);
        self.messages[0].add(once);
        self.messages[1].add(at_least_once);
        self.messages[2].add(exactly_once);
        once + at_least_once + exactly_once
    }
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

    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How many there are of something, and how many there were at most. It orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Level {
    now: AtomicUsize,
    highest: AtomicUsize,
}

impl Level {
    /// One more; returns how many there are now.
    pub(crate) fn rise(&self) -> usize {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.highest.fetch_max(now, Ordering::Relaxed);
        now
    }

    /// One less.
    pub(crate) fn fall(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn highest(&self) -> usize {
        self.highest.load(Ordering::Relaxed)
    }
}

/// What one connection has counted since it last added it to the sums of its client and of the server, which it does
/// before it waits and after eight turns.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// PUBLISH packets that came, by QoS. A turn has 256 packets at most.
    received: [u16; 3],
    /// Packets that came and are not answered, besides those with QoS 0: acknowledgements, DISCONNECT, AUTH.
    pub(crate) unanswered: u16,
    /// PINGREQ packets that came.
    pub(crate) pings: u16,
    /// All packets that came.
    packets: u16,
    /// What came in bytes, and how much of it was PUBLISH packets.
    bytes: u32,
    publish_bytes: u32,
    /// Copies of messages that were handed to receivers.
    pub(crate) routed: u32,
    /// PUBLISH packets that were sent, by QoS.
    sent: [u32; 3],
    /// What they measured, in bytes, and what was written in all.
    sent_bytes: u32,
    written: u32,
}

impl Tally {
    /// A PUBLISH came.
    #[inline]
    pub(crate) fn receive(&mut self, qos: QoS, bytes: usize) {
        self.received[qos as usize] += 1;
        self.publish_bytes = self.publish_bytes.wrapping_add(bytes as u32);
    }

    /// So many packets came, those that [`receive`](Self::receive) was told of included, in so many bytes.
    pub(crate) fn came(&mut self, packets: u32, bytes: usize) {
        self.packets += packets as u16;
        self.bytes = self.bytes.wrapping_add(bytes as u32);
    }

    /// So many PUBLISH were sent.
    pub(crate) fn send(&mut self, qos: QoS, count: u32) {
        self.sent[qos as usize] += count;
    }

    /// The PUBLISH that were sent measured so many bytes.
    pub(crate) fn send_bytes(&mut self, bytes: usize) {
        self.sent_bytes = self.sent_bytes.wrapping_add(bytes as u32);
    }

    /// So many bytes were written.
    pub(crate) fn write(&mut self, bytes: usize) {
        self.written = self.written.wrapping_add(bytes as u32);
    }

    /// Adds everything to the sums.
    pub(crate) fn settle(&mut self, counters: &Counters, record: &Record, now: Moment) {
        if self.packets > 0 || self.bytes > 0 {
            self.settle_received(counters, record, now);
        }
        if self.written > 0 {
            self.settle_sent(counters, record, now);
        }
    }

    fn settle_received(&mut self, counters: &Counters, record: &Record, now: Moment) {
        let (packets, bytes) = (u64::from(take(&mut self.packets)), u64::from(take(&mut self.bytes)));
        let received = take(&mut self.received);
        // Every packet is answered by one, but for these.
        let answers = packets.saturating_sub(u64::from(received[0]) + u64::from(take(&mut self.unanswered)));
        let flows = counters.flows();
        let messages = flows.received.add_messages(received.map(u32::from));
        flows.received.publish_bytes.add(take(&mut self.publish_bytes).into());
        flows.received.packets.add(packets);
        flows.received.bytes.add(bytes);
        flows.routed.add(take(&mut self.routed).into());
        flows.sent.packets.add(answers);
        record.received.messages.add(messages);
        record.received.packets.add(packets);
        record.received.bytes.add(bytes);
        record.sent.packets.add(answers);
        if packets > u64::from(take(&mut self.pings)) {
            record.note_active(now);
        }
    }

    fn settle_sent(&mut self, counters: &Counters, record: &Record, now: Moment) {
        let bytes = u64::from(take(&mut self.written));
        let sent = &counters.flows().sent;
        let messages = sent.add_messages(take(&mut self.sent));
        sent.publish_bytes.add(take(&mut self.sent_bytes).into());
        sent.packets.add(messages);
        sent.bytes.add(bytes);
        record.sent.messages.add(messages);
        record.sent.packets.add(messages);
        record.sent.bytes.add(bytes);
        record.note_sent(now);
    }
}

thread_local! {
    /// Which part of the flows this thread adds to.
    static PART: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

/// Threads beyond share.
const PARTS: usize = 16;
