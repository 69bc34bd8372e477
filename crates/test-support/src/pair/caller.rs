//! What the caller of a machine sees, and what it does about it.
//!
//! Relates to: `pair.rs`, which plays the callers. Leaves out: when answers are held back.

use gantline_protocol::{
    AckProperties, Disconnect, QoS, ReasonCode, Receipt, Received, SubAck, SubscribeFilter, UnsubAck,
};

use crate::trace;

/// What a caller does about what it received.
pub(super) enum Reaction {
    Nothing,
    Acknowledge(Receipt),
    Suback(SubAck),
    Unsuback(UnsubAck),
    /// With the session expiry that the other end wishes.
    Close(Option<u32>),
}

/// What the caller of an end sees, as a line, and what it does about it.
pub(super) fn observe(received: Received<'_>) -> (Option<String>, Reaction) {
    let (line, reaction) = match received {
        Received::Handled => return (None, Reaction::Nothing),
        Received::Publish(publish, receipt) => {
            let topic = publish.topic;
            let payload = String::from_utf8_lossy(publish.payload);
            let line = match payload.len() {
                0..=40 => format!("message {topic} {payload:?}"),
                length => format!("message {topic} of {length} bytes"),
            };
            let void = publish.delivery.qos() == QoS::AtMostOnce;
            (line, if void { Reaction::Nothing } else { Reaction::Acknowledge(receipt) })
        }
        Received::Acked(acked) => {
            let mut line = format!("acked {}: {}", acked.tag, acked.reason);
            if let Some(properties) = &acked.properties {
                line += &trace::ack_line(properties);
            }
            (line, Reaction::Nothing)
        }
        Received::Subscribe(subscribe) => {
            let granted = |filter: &SubscribeFilter| ReasonCode::granted(filter.options.maximum_qos);
            let reasons = subscribe.filters.iter().map(granted).collect();
            let properties = AckProperties::default();
            let suback = SubAck { packet_id: subscribe.packet_id, reasons, properties };
            ("subscribes".to_owned(), Reaction::Suback(suback))
        }
        Received::Unsubscribe(unsubscribe) => {
            let reasons = vec![ReasonCode::Success; unsubscribe.filters.len()];
            let properties = AckProperties::default();
            let unsuback = UnsubAck { packet_id: unsubscribe.packet_id, reasons, properties };
            ("unsubscribes".to_owned(), Reaction::Unsuback(unsuback))
        }
        Received::Disconnect(Disconnect { reason, properties }) => {
            (format!("the other end leaves: {reason}"), Reaction::Close(properties.session_expiry_interval))
        }
        Received::Auth(auth) => (format!("auth: {}", auth.reason), Reaction::Nothing),
        Received::Connected(connected) => {
            let mut line = format!("connected: {}", connected.connack.reason);
            for lost in &connected.lost {
                let whole = if lost.message.is_some() { "" } else { " (taken over)" };
                line += &format!(", lost {}{whole}", lost.tag);
            }
            (line, Reaction::Nothing)
        }
        Received::SubAck(suback) => (format!("subscribed: {}", reasons(&suback.reasons)), Reaction::Nothing),
        Received::UnsubAck(unsuback) => {
            (format!("unsubscribed: {}", reasons(&unsuback.reasons)), Reaction::Nothing)
        }
        Received::Pong => ("pong".to_owned(), Reaction::Nothing),
        other => (format!("{other:?}"), Reaction::Nothing),
    };
    (Some(line), reaction)
}

fn reasons(reasons: &[ReasonCode]) -> String {
    reasons.iter().map(ReasonCode::to_string).collect::<Vec<_>>().join(", ")
}
