//! What is known of one client besides what a push has to know: what it sent and got, since when it is there, its
//! items.
//!
//! Relates to: [`ClientSlot`](super::slot::ClientSlot), which has one; `counters.rs`, whose tallies are added here once
//! a turn; [`SessionStatus`](crate::SessionStatus), the public picture. Leaves out: subscriptions and what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gantline_protocol::{Moment, ProtocolVersion};
use gantline_transport::PeerInfo;
use gantline_transport::sync::Mutex;

use super::counters::Counter;
use crate::session_items::SessionItems;

/// The record of one client.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    /// Messages that were lost.
    pub(crate) dropped: Counter,
    /// When a packet last came that was more than a sign of life, and when one was last sent, in milliseconds.
    active: AtomicU64,
    spoken: AtomicU64,
    /// Messages that are sent to the client and not acknowledged, while it is connected.
    inflight: AtomicU32,
    kept: Mutex<Kept>,
}

/// What went one way between a client and the server since the session began, or the sums were reset.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// PUBLISH packets.
    pub(crate) messages: Counter,
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
}

/// What is not counted.
#[derive(Debug, Default)]
struct Kept {
    details: Details,
    /// There once somebody asked for them.
    items: Option<SessionItems>,
}

/// What an application may know of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// When the session began.
    pub(crate) created: Moment,
    /// When the last connection began or ended.
    pub(crate) changed: Moment,
    /// The other end of the last connection, and the version that it speaks.
    pub(crate) peer: Option<(Arc<PeerInfo>, ProtocolVersion)>,
}

impl Record {
    /// A packet came that is more than a sign of life.
    pub(crate) fn note_active(&self, now: Moment) {
        self.active.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Something was sent.
    pub(crate) fn note_sent(&self, now: Moment) {
        self.spoken.store(now.as_millis(), Ordering::Relaxed);
    }

    /// So many messages are sent and not acknowledged.
    pub(crate) fn set_inflight(&self, messages: usize) {
        self.inflight.store(messages as u32, Ordering::Relaxed);
    }

    /// How many messages are sent and not acknowledged.
    pub(crate) fn inflight(&self) -> u32 {
        self.inflight.load(Ordering::Relaxed)
    }

    /// When a packet last came that was more than a sign of life.
    pub(crate) fn active(&self) -> Moment {
        Moment::from_millis(self.active.load(Ordering::Relaxed))
    }

    /// When something was last sent.
    pub(crate) fn spoken(&self) -> Moment {
        Moment::from_millis(self.spoken.load(Ordering::Relaxed))
    }

    /// Begins all sums at zero.
    pub(crate) fn reset(&self) {
        for traffic in [&self.received, &self.sent] {
            [&traffic.messages, &traffic.packets, &traffic.bytes].into_iter().for_each(Counter::reset);
        }
        self.dropped.reset();
    }

    /// A session begins: what is there of an earlier one is forgotten.
    pub(crate) fn begin_session(&self, now: Moment) {
        self.reset();
        let mut kept = self.kept.lock();
        kept.details.created = now;
        let items = kept.items.take();
        drop(kept);
        // User code, so not under the lock.
        drop(items);
    }

    /// A session ends.
    pub(crate) fn end_session(&self) {
        let items = self.kept.lock().items.take();
        drop(items);
    }

    /// A connection begins.
    pub(crate) fn begin_connection(&self, peer: Arc<PeerInfo>, version: ProtocolVersion, now: Moment) {
        let mut kept = self.kept.lock();
        kept.details.changed = now;
        let former = kept.details.peer.replace((peer, version));
        drop(kept);
        drop(former);
        self.note_active(now);
    }

    /// A connection ends.
    pub(crate) fn end_connection(&self, now: Moment) {
        self.kept.lock().details.changed = now;
    }

    /// What is not counted.
    pub(crate) fn details(&self) -> Details {
        self.kept.lock().details.clone()
    }

    /// The items of the session.
    pub(crate) fn items(&self) -> SessionItems {
        self.kept.lock().items.get_or_insert_default().clone()
    }
}
