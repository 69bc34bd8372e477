//! PUBLISH: a message on its way.
//!
//! Three forms of one packet: [`PublishRef`] is read in place and allocates nothing; [`Publish`] is owned, for tests
//! and tools; [`Parts`] is what both it and a [`Frame`](crate::Frame) are written from, so that the layout stands here
//! once. Leaves out: aliases, which are resolved by the connection.

use std::num::NonZeroU16;

use bytes::Bytes;

use super::{PacketType, read_packet_id};
use crate::codec::{Reader, varint, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::frame::Head;
use crate::message::Message;
use crate::output::Output;
use crate::packet_id::PacketId;
use crate::payload::Payload;
use crate::properties::{PropertyId, PublishProperties, PublishPropertiesRef};
use crate::qos::QoS;
use crate::topic::TopicName;
use crate::version::ProtocolVersion;

/// The QoS of a PUBLISH and its packet id, which is there exactly if the QoS is not 0 [MQTT-2.2.1-2].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// QoS 0; the default.
    #[default]
    AtMostOnce,
    /// QoS 1: answered with PUBACK.
    AtLeastOnce(PacketId),
    /// QoS 2: answered with PUBREC.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The QoS.
    #[inline]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce(_) => QoS::AtLeastOnce,
            Self::ExactlyOnce(_) => QoS::ExactlyOnce,
        }
    }

    /// The packet id; `None` with QoS 0.
    #[inline]
    pub const fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}

/// A received PUBLISH, checked and left where it is. Made by [`decode`](Self::decode).
///
/// Not `Copy`, because it is a part of [`Received`](crate::Received): where it is moved out of there, nothing is left
/// to be dropped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishRef<'a> {
    /// The sender may have sent it before.
    pub dup: bool,
    /// To a server: keep it. From a server: it was kept, or sent with this flag.
    pub retain: bool,
    /// QoS and packet id.
    pub delivery: Delivery,
    /// A valid topic name. Empty if there is only an alias; the connection then puts in the topic that it stands for.
    pub topic: &'a str,
    /// The properties; none on the older versions.
    pub properties: PublishPropertiesRef<'a>,
    /// The content.
    pub payload: &'a [u8],
}

impl<'a> PublishRef<'a> {
    /// Reads the body behind the fixed header, of which `flags` are the low four bits.
    ///
    /// # Errors
    ///
    /// QoS 3, DUP with QoS 0, the packet id 0, a topic that is no topic name or empty without an alias, or wrong
    /// properties.
    #[inline]
    pub fn decode(body: &'a [u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        Self::decode_knowing("", body, flags, version).map(|(publish, _)| publish)
    }

    /// As [`decode`](Self::decode), for a caller who knows a valid topic. If it is that of the packet this says so,
    /// does not check it again, and leaves the topic to the caller.
    #[inline]
    pub(crate) fn decode_knowing(
        topic: &str,
        body: &'a [u8],
        flags: u8,
        version: ProtocolVersion,
    ) -> Result<(Self, bool), Violation> {
        match Self::read(topic, body, flags, version) {
            Ok(publish) => Ok(publish),
            Err(violation) => Err(violation.in_packet(PacketType::Publish)),
        }
    }

    /// The message, with copies of all that it refers to. The topic must be there: of a packet with an alias only, the
    /// connection knows it.
    pub fn to_message(&self) -> Message {
        self.to_message_with(&mut None, Payload::copy_from_slice(self.payload))
    }

    /// As [`to_message`](Self::to_message), for a caller that copies the payload itself and keeps the topic of the last
    /// message: messages of the same topic in a row share it.
    #[inline]
    pub fn to_message_with(&self, last_topic: &mut Option<TopicName>, payload: Payload) -> Message {
        let topic = match last_topic {
            Some(topic) if topic.as_str() == self.topic => topic.clone(),
            _ => last_topic.insert(TopicName::trusted(self.topic)).clone(),
        };
        let properties = (!self.properties.raw().is_empty()).then(|| {
            let mut properties = Box::new(self.properties.to_owned());
            // The alias belongs to this one transmission.
            properties.topic_alias = None;
            properties
        });
        Message::from_parts(topic, payload, self.delivery.qos(), self.retain, properties)
    }

    /// Appends the packet as another receiver gets it: with this head, and of its properties those that are forwarded.
    /// The topic must be there. Its length must be within what MQTT can express.
    #[inline]
    pub fn forward(&self, head: &Head<'_>, has_properties: bool, out: &mut Vec<u8>) {
        let mut filtered = Vec::new();
        let properties = if self.properties.is_plain() {
            self.properties.raw()
        } else {
            self.properties.forwarded(&mut filtered);
            &filtered
        };
        let parts = head.parts(self.topic.as_bytes(), properties, self.payload, has_properties);
        write(&parts, parts.body_len(), out);
    }

    #[inline]
    fn read(
        known: &str,
        body: &'a [u8],
        flags: u8,
        version: ProtocolVersion,
    ) -> Result<(Self, bool), Violation> {
        let qos = flags >> 1 & 0b11;
        let dup = flags & DUP != 0;
        if qos == 3 {
            return Err(Violation::new(Rule::QoSInvalid).value(3));
        }
        if dup && qos == 0 {
            return Err(Rule::DupWithoutQoS.into());
        }
        let mut reader = Reader::new(body);
        let bytes = reader.binary()?;
        let is_known = !known.is_empty() && bytes == known.as_bytes();
        let topic = if is_known { "" } else { text(bytes)? };
        let delivery = match qos {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce(read_packet_id(&mut reader)?),
            _ => Delivery::ExactlyOnce(read_packet_id(&mut reader)?),
        };
        let properties = if version.has_properties() {
            let length = reader.varint()?;
            PublishPropertiesRef::parse(reader.bytes(length as usize)?)?
        } else {
            PublishPropertiesRef::default()
        };
        if !is_known && !TopicName::is_valid(topic) {
            accept_only_with_alias(topic, &properties)?;
        }
        let retain = flags & RETAIN != 0;
        Ok((Self { dup, retain, delivery, topic, properties, payload: reader.rest() }, is_known))
    }
}

/// A PUBLISH that owns its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The sender may have sent it before. Not with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// To a server: keep it. From a server: it was kept, or sent with this flag.
    pub retain: bool,
    /// The topic; `None` if there is only an alias.
    pub topic: Option<TopicName>,
    /// QoS and packet id.
    pub delivery: Delivery,
    /// The content.
    pub payload: Bytes,
    /// The properties.
    pub properties: PublishProperties,
}

impl Publish {
    /// Reads the body behind the fixed header, of which `flags` are the low four bits.
    ///
    /// # Errors
    ///
    /// As for [`PublishRef::decode`].
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        let publish = PublishRef::decode(body, flags, version)?;
        Ok(Self {
            dup: publish.dup,
            retain: publish.retain,
            topic: (!publish.topic.is_empty()).then(|| TopicName::trusted(publish.topic)),
            delivery: publish.delivery,
            payload: Bytes::copy_from_slice(publish.payload),
            properties: publish.properties.to_owned(),
        })
    }

    /// Appends the whole packet; properties only where the version has them.
    ///
    /// # Errors
    ///
    /// There is neither topic nor alias, or only an alias on a version that has none; DUP with QoS 0; a property that
    /// cannot be sent; or the packet is too long. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let has_properties = version.has_properties();
        if self.dup && self.delivery == Delivery::AtMostOnce {
            return Err(EncodeError::OutOfRange { field: "DUP", value: 1 });
        }
        if self.topic.is_none() && !has_properties {
            return Err(EncodeError::NotInVersion { field: "Topic Alias", version });
        }
        if self.topic.is_none() && self.properties.topic_alias.is_none() {
            return Err(EncodeError::Missing { field: "Topic Name" });
        }
        let mut properties = Vec::new();
        if has_properties {
            self.properties.encoded_len()?;
            self.properties.write_forwarded(&mut properties);
        }
        let parts = Parts {
            dup: self.dup,
            retain: self.retain,
            qos: self.delivery.qos(),
            packet_id: self.delivery.packet_id(),
            topic: self.topic.as_ref().map_or(&[], |topic| topic.as_str().as_bytes()),
            has_properties,
            alias: self.properties.topic_alias,
            expiry: self.properties.message_expiry_interval,
            subscription_ids: &self.properties.subscription_identifiers,
            properties: &properties,
            payload: &self.payload,
        };
        let length = parts.body_len();
        if length > varint::MAX as usize {
            return Err(EncodeError::TooLarge { length });
        }
        write(&parts, length, out);
        Ok(())
    }
}

/// Everything that a PUBLISH is written from. Nothing is checked when it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) qos: QoS,
    /// There exactly if the QoS is not 0.
    pub(crate) packet_id: Option<PacketId>,
    /// The topic name without its length, at most 65,535 bytes; empty if only the alias is sent.
    pub(crate) topic: &'a [u8],
    /// Whether the version has properties. If not, none of the following but the payload is written.
    pub(crate) has_properties: bool,
    /// Topic Alias.
    pub(crate) alias: Option<NonZeroU16>,
    /// Message Expiry Interval in seconds.
    pub(crate) expiry: Option<u32>,
    /// Subscription Identifiers, each 1 to 268,435,455.
    pub(crate) subscription_ids: &'a [u32],
    /// All other properties as they are on the wire, without length.
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl Parts<'_> {
    /// The bytes of the properties without their length.
    #[inline]
    fn properties_len(&self) -> usize {
        let ids = self.subscription_ids.iter().map(|id| 1 + varint::len(*id)).sum::<usize>();
        let alias = if self.alias.is_some() { 1 + 2 } else { 0 };
        let expiry = if self.expiry.is_some() { 1 + 4 } else { 0 };
        alias + expiry + ids + self.properties.len()
    }

    /// The bytes behind the fixed header.
    #[inline]
    pub(crate) fn body_len(&self) -> usize {
        // By the QoS, so that the length can be told before there is an id.
        let packet_id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = if self.has_properties { with_length(self.properties_len()) } else { 0 };
        2 + self.topic.len() + packet_id + properties + self.payload.len()
    }
}

/// The length of the whole packet with a body of this length, fixed header included. It may be more than MQTT can
/// express.
#[inline]
pub(crate) fn wire_len(body_len: usize) -> usize {
    1 + with_length(body_len)
}

/// Appends a whole packet, for which it reserves once. The body must not be longer than 268,435,455 bytes.
#[inline]
pub(crate) fn write(parts: &Parts<'_>, body_len: usize, out: &mut Vec<u8>) {
    out.reserve(1 + with_length(body_len));
    write_head(parts, body_len, out);
    out.extend_from_slice(parts.payload);
}

/// Appends a packet whose payload is shared.
pub(crate) fn write_shared(parts: &Parts<'_>, body_len: usize, payload: &Bytes, out: &mut impl Output) {
    write_head(parts, body_len, out.bytes());
    out.share(payload);
}

/// Appends everything before the payload.
#[inline]
fn write_head(parts: &Parts<'_>, body_len: usize, out: &mut Vec<u8>) {
    debug_assert!(body_len <= varint::MAX as usize, "the caller compares with the Maximum Packet Size");
    debug_assert_eq!(
        parts.packet_id.is_some(),
        parts.qos != QoS::AtMostOnce,
        "the packet id follows from the QoS"
    );
    out.push(first_byte(parts));
    varint::write(body_len as u32, out);
    writer::u16(parts.topic.len() as u16, out);
    out.extend_from_slice(parts.topic);
    if let Some(id) = parts.packet_id {
        writer::u16(id.get(), out);
    }
    if parts.has_properties {
        write_properties(parts, out);
    }
}

#[inline]
fn write_properties(parts: &Parts<'_>, out: &mut Vec<u8>) {
    varint::write(parts.properties_len() as u32, out);
    if let Some(alias) = parts.alias {
        out.push(PropertyId::TopicAlias.value());
        writer::u16(alias.get(), out);
    }
    if let Some(expiry) = parts.expiry {
        out.push(PropertyId::MessageExpiryInterval.value());
        writer::u32(expiry, out);
    }
    for &id in parts.subscription_ids {
        out.push(PropertyId::SubscriptionIdentifier.value());
        varint::write(id, out);
    }
    out.extend_from_slice(parts.properties);
}

#[inline]
fn first_byte(parts: &Parts<'_>) -> u8 {
    let dup = if parts.dup { DUP } else { 0 };
    let retain = if parts.retain { RETAIN } else { 0 };
    PacketType::Publish.value() << 4 | dup | parts.qos.value() << 1 | retain
}

/// This many bytes and the variable byte integer that says how many they are.
#[inline]
fn with_length(length: usize) -> usize {
    varint::len(u32::try_from(length).unwrap_or(u32::MAX)) + length
}

/// A string whose characters are checked elsewhere.
#[inline]
fn text(bytes: &[u8]) -> Result<&str, Violation> {
    str::from_utf8(bytes).map_err(|_| Violation::new(Rule::StringNotUtf8))
}

/// Judges a topic that is no topic name: it may be empty beside an alias.
#[cold]
fn accept_only_with_alias(topic: &str, properties: &PublishPropertiesRef<'_>) -> Result<(), Violation> {
    let rule = match topic {
        "" if properties.topic_alias().is_some() => return Ok(()),
        "" => Rule::TopicNameEmpty,
        _ if topic.as_bytes().contains(&0) => Rule::StringContainsNull,
        _ => Rule::TopicNameInvalid,
    };
    Err(rule.into())
}

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;
