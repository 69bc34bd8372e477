//! A message on its way to one receiver: the shared frame and what differs per receiver.
//!
//! Relates to: [`Frame`], which all receivers share, and the mailboxes and inflight tables that hold outbounds by the
//! thousand, which is why it is kept at 32 bytes. Leaves out: packet id, DUP and alias, which are known only when the
//! message is sent.

use triomphe::ThinArc;

use crate::frame::Frame;
use crate::message::Message;
use crate::qos::QoS;
use crate::time::Moment;

/// A message for one receiver.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Topic, forwarded properties and payload.
    pub frame: Frame,
    /// The subscription identifiers of the receiver's subscriptions that match. `None` is none.
    pub subscription_ids: Option<SubscriptionIds>,
    /// When the message expires; [`Moment::NEVER`] if it does not. The remaining seconds are sent along [MQTT-3.3.2-6].
    pub expires: Moment,
    /// A number of the caller, given back when the flow is complete. Opaque to the machine.
    pub tag: u32,
    /// The QoS for this receiver.
    pub qos: QoS,
    /// The RETAIN flag for this receiver.
    pub retain: bool,
}

impl Outbound {
    /// A message that goes out as it is: QoS, RETAIN and expiry of the message, counted from `now`.
    pub fn new(message: &Message, now: Moment) -> Self {
        let expires = match message.properties().message_expiry_interval {
            Some(seconds) => now.plus_secs(seconds),
            None => Moment::NEVER,
        };
        Self {
            frame: Frame::from_message(message),
            subscription_ids: None,
            expires,
            tag: 0,
            qos: message.qos_level(),
            retain: message.is_retained(),
        }
    }

    /// The message as users see it, with the expiry that remains.
    pub fn to_message(&self, now: Moment) -> Message {
        self.frame.to_message(self.qos, self.retain, self.remaining(now), self.subscription_ids())
    }

    /// How many bytes of memory it holds, shared ones included: the measure of bounded queues.
    pub fn weight(&self) -> usize {
        let ids = self.subscription_ids.as_ref().map_or(0, |ids| size_of_val(ids.as_slice()));
        size_of::<Self>() + self.frame.weight() + ids
    }

    /// The subscription identifiers to send along.
    pub fn subscription_ids(&self) -> &[u32] {
        self.subscription_ids.as_ref().map_or(&[], SubscriptionIds::as_slice)
    }

    /// Whether the message has expired.
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires <= now
    }

    /// The seconds that remain, for the wire: rounded up and at least 1, because 0 would mean something else to a
    /// receiver than a message which was just in time. `None` if it never expires.
    pub fn remaining(&self, now: Moment) -> Option<u32> {
        if self.expires == Moment::NEVER {
            return None;
        }
        let seconds = self.expires.since(now).as_millis().div_ceil(1000).max(1);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// The subscription identifiers of one receiver for one message, shared and immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionIds(ThinArc<(), u32>);

impl SubscriptionIds {
    /// Keeps these identifiers; `None` if there are none.
    pub fn new(ids: &[u32]) -> Option<Self> {
        (!ids.is_empty()).then(|| Self(ThinArc::from_header_and_slice((), ids)))
    }

    /// The identifiers, at least one.
    pub fn as_slice(&self) -> &[u32] {
        &self.0.slice
    }
}

#[cfg(test)]
mod tests {
    use super::{Outbound, SubscriptionIds};
    use crate::message::Message;
    use crate::time::Moment;

    #[test]
    fn an_outbound_has_32_bytes() {
        assert_eq!(size_of::<Outbound>(), 32);
        assert_eq!(size_of::<Option<Outbound>>(), 32);
    }

    #[test]
    fn remaining_seconds_are_rounded_up_and_never_zero() {
        let start = Moment::from_millis(10_000);
        let outbound = Outbound::new(&Message::new("a", "b").unwrap().expiry(3), start);
        assert_eq!(outbound.remaining(start), Some(3));
        assert_eq!(outbound.remaining(Moment::from_millis(10_001)), Some(3));
        assert_eq!(outbound.remaining(Moment::from_millis(11_000)), Some(2));
        assert!(!outbound.is_expired(Moment::from_millis(12_999)));
        assert!(outbound.is_expired(Moment::from_millis(13_000)));
        assert_eq!(outbound.remaining(Moment::from_millis(20_000)), Some(1));
    }

    #[test]
    fn without_expiry_there_is_nothing_to_count_down() {
        let outbound = Outbound::new(&Message::new("a", "b").unwrap(), Moment::ZERO);
        assert_eq!(outbound.remaining(Moment::from_millis(u64::MAX - 1)), None);
    }

    #[test]
    fn no_identifiers_hold_no_memory() {
        assert!(SubscriptionIds::new(&[]).is_none());
        assert_eq!(SubscriptionIds::new(&[7, 9]).unwrap().as_slice(), [7, 9]);
    }
}
