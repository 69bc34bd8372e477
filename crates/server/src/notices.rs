//! What is logged, counted and announced about the messages of a connection where that is rarely the case.
//!
//! Kept apart from `exchange.rs`, so that the way of a message has none of it but a branch. Relates to: `events.rs`;
//! the counters. Leaves out: the decision, and what the client is told.

use gantline_protocol::{Acked, Moment, ReasonCode, TopicFilter};

use crate::broker::Broker;
use crate::broker::publication::Publication;
use crate::broker::slot::ClientSlot;
use crate::events::{DropCause, MessageEvent};

/// A client has published, and somebody listens.
#[cold]
pub(crate) fn received(broker: &Broker, slot: &ClientSlot, publication: &mut Publication<'_>, now: Moment) {
    let client_id = slot.id().clone();
    let message = publication.message(now);
    broker.events.messages.announce(|| MessageEvent::Received { client_id, message });
}

/// A client has acknowledged a message, and somebody listens.
#[cold]
pub(crate) fn delivered(broker: &Broker, slot: &ClientSlot, acked: &Acked) {
    let Acked { packet_id, qos, reason, .. } = *acked;
    let client_id = slot.id().clone();
    broker.events.messages.announce(|| MessageEvent::Delivered { client_id, packet_id, qos, reason });
}

/// Why the topic of a message is refused, if it is; then the message is counted as lost.
#[cold]
pub(crate) fn topic_refused(broker: &Broker, slot: &ClientSlot, topic: &str) -> Option<ReasonCode> {
    let reason = broker.topic_bounds.refusal(topic)?;
    let client = slot.id();
    tracing::debug!(name: "publish.refused", %client, topic, %reason, "may not publish to this topic");
    broker.count_lost(slot, DropCause::TopicRefused, 1);
    Some(reason)
}

/// There is no room to retain a message; returns what its client is told.
#[cold]
pub(crate) fn no_room(broker: &Broker, slot: &ClientSlot) -> ReasonCode {
    tracing::debug!(name: "retained.full", client = %slot.id(), "there is no room to retain its message");
    broker.count_lost(slot, DropCause::RetainedFull, 1);
    ReasonCode::QuotaExceeded
}

/// The client has as many subscriptions as it may have; returns what it is told.
#[cold]
pub(crate) fn subscription_refused(broker: &Broker, slot: &ClientSlot, filter: &TopicFilter) -> ReasonCode {
    tracing::debug!(name: "subscribe.refused", client = %slot.id(), %filter, "has too many subscriptions");
    broker.counters.subscriptions_refused.add(1);
    ReasonCode::QuotaExceeded
}
