//! Receiving: the peer's publishes, from the packet to our acknowledgement.
//!
//! Relates to: [`Incoming`](crate::session::Incoming), which knows QoS 2 duplicates, and the receipts, which keep the
//! order of acknowledgements. Leaves out: what becomes of a message.

use std::ops::DerefMut;

use super::link::Phase;
use super::receipts::Receipts;
use super::{Connection, Receipt, Received};
use crate::error::{Rule, Violation};
use crate::packet::{Delivery, PacketType, PublishRef, ack};
use crate::packet_id::PacketId;
use crate::reason_code::ReasonCode;
use crate::session::{Arrival, Departure, Session};

impl<R, S: DerefMut<Target = Session>> Connection<R, S> {
    /// Acknowledges a received message, or refuses it with an error, which ends its flow. May be called in any order;
    /// what is sent keeps the order of arrival. A receipt of QoS 0, of an earlier connection or used before does
    /// nothing. A peer whose version knows no reasons is told success. Behind a goodbye nothing is sent, but what was
    /// taken with QoS 2 is remembered.
    #[inline]
    pub fn acknowledge(&mut self, receipt: Receipt, reason: ReasonCode, out: &mut Vec<u8>) {
        let kind = match receipt.delivery {
            Delivery::AtMostOnce => return,
            Delivery::AtLeastOnce(_) => PacketType::PubAck,
            Delivery::ExactlyOnce(_) => PacketType::PubRec,
        };
        if receipt.generation != self.generation {
            return;
        }
        let reason = match self.limits.version.has_reason_codes() {
            true => reason.adapted_to(kind),
            false => ReasonCode::Success,
        };
        if kind == PacketType::PubAck {
            self.at_least_once.settle(receipt.position, reason);
        } else if let Some(id) = self.exactly_once.settle(receipt.position, reason) {
            if reason.is_error() {
                self.session.incoming.refuse(id);
            } else {
                self.session.incoming.accept(id);
            }
        }
        if self.phase != Phase::Closed {
            self.release_receipts(kind, out);
        }
    }

    /// How many received messages the caller has not acknowledged, or whose acknowledgement waits for an earlier one.
    pub fn open_receipts(&self) -> usize {
        self.at_least_once.len() + self.exactly_once.len()
    }

    /// A frame that is known to be a PUBLISH; `None` as for [`take_publish`](Self::take_publish).
    #[inline]
    pub(super) fn open_publish<'a>(
        &'a mut self,
        sender: Sender,
        frame: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(PublishRef<'a>, Receipt)>, Violation> {
        let (header, body) = self.open_frame(frame)?;
        debug_assert_eq!(header.packet_type, PacketType::Publish, "the caller has looked at the first byte");
        self.take_publish(sender, header.flags, body, out)
    }

    /// A PUBLISH; `None` if it is a duplicate, which is not delivered.
    #[inline]
    pub(super) fn take_publish<'a>(
        &'a mut self,
        sender: Sender,
        flags: u8,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(PublishRef<'a>, Receipt)>, Violation> {
        let last_topic = self.last_topic.as_deref().map_or("", String::as_str);
        let (mut publish, is_last_topic) =
            PublishRef::decode_knowing(last_topic, body, flags, self.limits.version)?;
        let own = &self.limits.own;
        if publish.delivery.qos() > own.maximum_qos {
            return Err(in_publish(Rule::QoSAboveMaximum).value(publish.delivery.qos().value().into()));
        }
        if publish.retain && !own.retain_available {
            return Err(in_publish(Rule::RetainUnavailable));
        }
        if sender == Sender::Client && publish.properties.has_subscription_identifiers() {
            return Err(in_publish(Rule::SubscriptionIdentifierFromClient));
        }
        let maximum = own.topic_alias_maximum;
        let receipt = self.open_receipt(publish.delivery, out)?;
        if !is_last_topic && !publish.topic.is_empty() {
            let last_topic = self.last_topic.get_or_insert_default();
            last_topic.clear();
            last_topic.push_str(publish.topic);
        }
        if is_last_topic {
            publish.topic = self.last_topic.as_deref().map_or("", String::as_str);
        }
        if let Some(alias) = publish.properties.topic_alias() {
            let resolved = self.inbound.resolve(alias, publish.topic, maximum);
            publish.topic = resolved.map_err(|rule| in_publish(rule).value(alias.into()))?;
        }
        Ok(receipt.map(|receipt| (publish, receipt)))
    }

    /// PUBREL arrived: its id is free again, and PUBCOMP says whether it was known [MQTT-4.3.3-11]. A message that
    /// waits for its PUBREC cannot be released.
    pub(super) fn receive_pubrel(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Received<'static>, Violation> {
        let version = self.limits.version;
        let (id, _) = ack::read_id_reason(PacketType::PubRel, body, version)?;
        let reason = match self.session.incoming.release(id) {
            Departure::Released => {
                self.received -= 1;
                ReasonCode::Success
            }
            Departure::Unknown => ReasonCode::PacketIdentifierNotFound,
            Departure::Open => {
                let violation = Violation::new(Rule::AcknowledgementMismatch).in_packet(PacketType::PubRel);
                return Err(violation.value(id.get().into()));
            }
        };
        ack::write(PacketType::PubComp, id, reason, version, out);
        Ok(Received::Handled)
    }

    /// Judges an arrival by its QoS; `None` if it is a duplicate, which is not delivered.
    #[inline]
    fn open_receipt(&mut self, delivery: Delivery, out: &mut Vec<u8>) -> Result<Option<Receipt>, Violation> {
        let position = match delivery {
            Delivery::AtMostOnce => 0,
            Delivery::AtLeastOnce(id) => {
                self.count_received(&self.at_least_once)?;
                self.received += 1;
                self.at_least_once.push(id, None)
            }
            Delivery::ExactlyOnce(id) => {
                if !self.session.incoming.is_current(id) {
                    self.count_received(&self.exactly_once)?;
                    self.received += 1;
                }
                match self.session.incoming.arrived(id) {
                    Arrival::New => self.exactly_once.push(id, None),
                    // Its PUBREC is on its way to be sent.
                    Arrival::Open => return Ok(None),
                    Arrival::Received => {
                        // Acknowledged again, behind what arrived before it, and not delivered [MQTT-4.3.3-10].
                        self.acknowledge_again(id, out)?;
                        return Ok(None);
                    }
                }
            }
        };
        Ok(Some(Receipt { delivery, position, generation: self.generation }))
    }

    /// Whether one more publish is within our Receive Maximum. A neutral maximum is not counted against, but the
    /// queue of receipts ends all the same: nobody has more packet ids.
    #[inline]
    fn count_received(&self, receipts: &Receipts) -> Result<(), Violation> {
        let maximum = self.limits.own.receive_maximum;
        let exceeded = maximum != u16::MAX && self.received >= i32::from(maximum);
        if exceeded || receipts.len() >= usize::from(u16::MAX) {
            return Err(in_publish(Rule::ReceiveMaximumExceeded).value(maximum.into()));
        }
        Ok(())
    }

    /// Owes one more PUBREC for a message that was acknowledged before.
    #[cold]
    fn acknowledge_again(&mut self, id: PacketId, out: &mut Vec<u8>) -> Result<(), Violation> {
        if self.exactly_once.len() >= usize::from(u16::MAX) {
            let maximum = self.limits.own.receive_maximum;
            return Err(in_publish(Rule::ReceiveMaximumExceeded).value(maximum.into()));
        }
        self.exactly_once.push(id, Some(ReasonCode::Success));
        self.release_receipts(PacketType::PubRec, out);
        Ok(())
    }

    /// Sends the acknowledgements of one kind that wait for no earlier one.
    #[inline]
    fn release_receipts(&mut self, kind: PacketType, out: &mut Vec<u8>) {
        let receipts =
            if kind == PacketType::PubAck { &mut self.at_least_once } else { &mut self.exactly_once };
        while let Some((id, reason)) = receipts.release() {
            // Without PUBREL to come, the peer counts the flow as complete now.
            if kind == PacketType::PubAck || reason.is_error() {
                self.received -= 1;
            }
            ack::write(kind, id, reason, self.limits.version, out);
        }
    }
}

/// Who sends what we receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A client, which must not send subscription identifiers [MQTT-3.3.4-6].
    Client,
    Server,
}

const fn in_publish(rule: Rule) -> Violation {
    Violation::new(rule).in_packet(PacketType::Publish)
}
