//! Sending: our publishes, from the head on the wire to the acknowledgement, and once more after a reconnect.
//!
//! Relates to: [`Outgoing`](crate::session::Outgoing), which keeps what is in flight, and [`Frame`], which writes
//! everything but the head. Leaves out: which messages wait; the caller has them.

use std::ops::DerefMut;

use super::{Connection, NotSent, Received};
use crate::error::Violation;
use crate::frame::{Frame, Head};
use crate::outbound::Outbound;
use crate::output::Output;
use crate::packet::{PacketType, ack, publish};
use crate::packet_id::PacketId;
use crate::qos::QoS;
use crate::reason_code::ReasonCode;
use crate::session::{Progress, Resend, Session};
use crate::time::Moment;
use crate::topic::{Alias, OutboundAliases};

impl<R, S: DerefMut<Target = Session>> Connection<R, S> {
    /// Sends a message. With QoS 1 or 2 it stays in flight until [`Received::Acked`]. Whether it has expired is the
    /// caller's question; the machine only writes what remains, at least one second.
    ///
    /// # Errors
    ///
    /// The message comes back unsent: it is too large for the peer, [`quota`](Self::quota) is 0, or the server does
    /// not offer its QoS or RETAIN.
    pub fn publish(&mut self, now: Moment, message: Outbound, out: &mut impl Output) -> Result<(), NotSent> {
        if message.qos == QoS::AtMostOnce {
            return self.publish_once(now, &message, out);
        }
        if self.quota() == 0 {
            return Err(NotSent::NoQuota(message));
        }
        let head = Head::of(&message, now);
        let length = match self.check(&head, &message.frame) {
            Ok(length) => length,
            Err(refusal) => return Err(refusal.of(message)),
        };
        let Some(id) = self.session.outgoing.next_id() else { return Err(NotSent::NoQuota(message)) };
        self.write(&Head { packet_id: Some(id), ..head }, &message.frame, length, out);
        self.sent += 1;
        self.session.outgoing.insert(id, message);
        Ok(())
    }

    /// Sends a QoS 0 message whose head is known only now: alias, remaining expiry. Its `qos` is not looked at.
    ///
    /// # Errors
    ///
    /// As of [`publish`](Self::publish); [`NotSent::NoQuota`] only if the connection is not open.
    pub fn publish_once(
        &mut self,
        now: Moment,
        message: &Outbound,
        out: &mut impl Output,
    ) -> Result<(), NotSent> {
        if !self.is_open() {
            return Err(NotSent::NoQuota(message.clone()));
        }
        let head = Head { qos: QoS::AtMostOnce, ..Head::of(message, now) };
        let length = match self.check(&head, &message.frame) {
            Ok(length) => length,
            Err(refusal) => return Err(refusal.of(message.clone())),
        };
        self.write(&head, &message.frame, length, out);
        Ok(())
    }

    /// Sends again what the session holds in flight, in the original order and with DUP [MQTT-4.4.0-1]: to be called
    /// once, when the peer is known to have the session too. What exceeds the peer's Receive Maximum or 64 KiB
    /// follows as acknowledgements come in, and until then [`quota`](Self::quota) is 0. If not everything goes at once,
    /// PUBREL comes before PUBLISH.
    ///
    /// Returns the messages that are dropped because they are larger than the peer's Maximum Packet Size is now
    /// [MQTT-3.1.2-24], or because the server does not offer their QoS or RETAIN any more [MQTT-3.2.2-11]
    /// [MQTT-3.2.2-14]. Of those with QoS 2, PUBREL is sent, so that their ids can be used again.
    pub fn resume(&mut self, now: Moment, out: &mut Vec<u8>) -> Vec<Outbound> {
        let mut dropped = Vec::new();
        let (limits, outgoing) = (&self.limits, &mut self.session.outgoing);
        for &id in self.backlog.iter().rev() {
            let fits = |message: &Outbound| {
                let (head, peer) = (Head::of(message, now), &limits.peer);
                message.frame.wire_len(&head, limits.version.has_properties())
                    <= peer.maximum_packet_size as usize
                    && head.qos <= peer.maximum_qos
                    && (peer.retain_available || !head.retain)
            };
            dropped.extend(outgoing.remove_unless(id, fits));
        }
        if self.backlog.len() > limits.peer.receive_maximum.into() {
            // What is no PUBLISH does not wait for room [MQTT-3.3.4-8] [MQTT-3.3.4-10].
            let is_release = |id: &PacketId| matches!(outgoing.resend(*id), Some(Resend::Release));
            self.backlog.sort_by_cached_key(is_release);
        }
        self.resend(now, out);
        dropped
    }

    /// How many QoS 1 and 2 messages may be sent now.
    ///
    /// Each connection begins with a quota of its own [MQTT-4.9.0-1], whatever flows of earlier ones wait for PUBCOMP;
    /// but of all flows together there are no more than twice the Receive Maximum, or a peer that never sends PUBCOMP
    /// could, from connection to connection, bring every packet id into flight.
    #[inline]
    pub fn quota(&self) -> u16 {
        if !self.is_open() || !self.backlog.is_empty() {
            return 0;
        }
        let maximum = u32::from(self.limits.peer.receive_maximum);
        let most = (2 * maximum).min(u16::MAX.into());
        // Neither is above the maximum, which is a u16.
        maximum.saturating_sub(self.sent).min(most.saturating_sub(self.inflight() as u32)) as u16
    }

    /// How many of our QoS 1 and 2 messages are not acknowledged completely.
    pub fn inflight(&self) -> usize {
        self.session.outgoing.len()
    }

    /// PUBACK, PUBREC or PUBCOMP.
    #[inline]
    pub(super) fn receive_ack(
        &mut self,
        now: Moment,
        kind: PacketType,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Received<'static>, Violation> {
        let version = self.limits.version;
        let (id, reason) = ack::read_id_reason(kind, body, version)?;
        let progress = self.session.outgoing.acknowledge(kind, id, reason);
        let progress =
            progress.map_err(|rule| Violation::new(rule).in_packet(kind).value(id.get().into()))?;
        let received = match progress {
            Progress::Done { acked, counted } => {
                self.sent -= u32::from(counted);
                Received::Acked(acked)
            }
            Progress::Release => {
                ack::write(PacketType::PubRel, id, ReasonCode::Success, version, out);
                Received::Handled
            }
            // The peer waits for PUBREL where we have lost the state. So it ends its wait.
            Progress::Unknown if kind == PacketType::PubRec && !reason.is_error() => {
                ack::write(PacketType::PubRel, id, ReasonCode::PacketIdentifierNotFound, version, out);
                Received::Handled
            }
            Progress::Forgotten | Progress::Unknown => Received::Handled,
        };
        if !self.backlog.is_empty() {
            self.resend(now, out);
        }
        Ok(received)
    }

    /// Forgets what was to be sent again.
    pub(super) fn forget_backlog(&mut self) {
        self.backlog.clear();
    }

    /// Sends again from the backlog what the quota allows, up to a bound in bytes but at least one packet.
    fn resend(&mut self, now: Moment, out: &mut Vec<u8>) {
        let end = out.len() + RESEND_BYTES;
        let version = self.limits.version;
        while let Some(&id) = self.backlog.last() {
            if out.len() >= end {
                return;
            }
            match self.session.outgoing.resend(id) {
                Some(Resend::Publish { message, counted }) => {
                    if self.sent >= self.limits.peer.receive_maximum.into() {
                        return;
                    }
                    self.sent += 1;
                    *counted = true;
                    let head = Head { dup: true, packet_id: Some(id), ..Head::of(message, now) };
                    message.frame.write(&head, version.has_properties(), out);
                }
                Some(Resend::Release) => {
                    ack::write(PacketType::PubRel, id, ReasonCode::Success, version, out);
                }
                None => {}
            }
            self.backlog.pop();
        }
        self.backlog = Vec::new();
    }

    /// Writes a new message whose body has `length` bytes without an alias.
    #[inline]
    fn write(&mut self, head: &Head<'_>, frame: &Frame, length: usize, out: &mut impl Output) {
        let has_properties = self.limits.version.has_properties();
        // The alias comes last: choosing it counts as sending it.
        match self.alias(frame, length) {
            None => frame.write_sized(head, has_properties, length, out),
            alias => frame.write(&Head { alias, ..*head }, has_properties, out),
        }
    }

    /// The length of the body of a new message without an alias, or why it cannot be sent.
    #[inline]
    fn check(&self, head: &Head<'_>, frame: &Frame) -> Result<usize, Refusal> {
        let (version, peer) = (self.limits.version, &self.limits.peer);
        if head.qos > peer.maximum_qos {
            return Err(Refusal::NotOffered(ReasonCode::QoSNotSupported));
        }
        if head.retain && !peer.retain_available {
            return Err(Refusal::NotOffered(ReasonCode::RetainNotSupported));
        }
        let length = frame.body_len(head, version.has_properties());
        if publish::wire_len(length) > peer.maximum_packet_size as usize {
            return Err(Refusal::TooLarge);
        }
        Ok(length)
    }

    /// How to write the topic of a message whose body has `length` bytes without an alias.
    #[inline]
    fn alias(&mut self, frame: &Frame, length: usize) -> Option<Alias> {
        if self.limits.peer.topic_alias_maximum == 0 { None } else { self.choose_alias(frame, length) }
    }

    fn choose_alias(&mut self, frame: &Frame, length: usize) -> Option<Alias> {
        let peer = &self.limits.peer;
        let aliases =
            self.outbound.get_or_insert_with(|| Box::new(OutboundAliases::new(peer.topic_alias_maximum)));
        // An assignment makes the packet a little larger.
        if publish::wire_len(length) + ALIAS_BYTES <= peer.maximum_packet_size as usize {
            aliases.choose(frame.topic_bytes())
        } else {
            aliases.find(frame.topic_bytes())
        }
    }
}

/// Why a message cannot be sent.
enum Refusal {
    TooLarge,
    NotOffered(ReasonCode),
}

impl Refusal {
    fn of(self, message: Outbound) -> NotSent {
        match self {
            Self::TooLarge => NotSent::TooLarge(message),
            Self::NotOffered(reason) => NotSent::NotOffered(message, reason),
        }
    }
}

/// What is sent again at once; more follows with the acknowledgements.
const RESEND_BYTES: usize = 64 * 1024;
/// The property, and what the two length fields may grow by.
const ALIAS_BYTES: usize = 3 + 2;
