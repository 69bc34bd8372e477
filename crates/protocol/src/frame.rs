//! Frames: what all receivers of a message share, in one allocation.
//!
//! A [`Frame`] holds the topic, the property bytes that are forwarded untouched, and the payload. Per receiver only the
//! [`Head`] differs: flags, packet id, alias, subscription identifiers and the expiry that remains. Relates to:
//! [`PublishRef`], from which a server makes frames, and [`Message`], from which users do. Leaves out: who receives
//! it ([`Outbound`](crate::Outbound)).

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use triomphe::ThinArc;

use crate::message::Message;
use crate::outbound::Outbound;
use crate::output::Output;
use crate::packet::{PublishRef, publish};
use crate::packet_id::PacketId;
use crate::payload::Payload;
use crate::properties::{PublishProperties, PublishPropertiesRef};
use crate::qos::QoS;
use crate::time::Moment;
use crate::topic::{Alias, TopicName};

/// A message without what differs per receiver: immutable, 8 bytes, cheap to clone.
#[derive(Clone)]
pub struct Frame(ThinArc<Layout, u8>);

/// Where the parts are: topic, properties and payload follow each other.
struct Layout {
    /// A payload above [`LARGE_PAYLOAD`], which is not copied into the frame.
    large: Option<Box<Bytes>>,
    properties_len: u32,
    topic_len: u16,
}

/// What differs per receiver of a [`Frame`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The QoS of this delivery.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The DUP flag: the message was sent before with this packet id.
    pub dup: bool,
    /// The packet id; there is one exactly if the QoS is not 0.
    pub packet_id: Option<PacketId>,
    /// How the topic is written; `None` is without an alias.
    pub alias: Option<Alias>,
    /// The subscription identifiers.
    pub subscription_ids: &'a [u32],
    /// The remaining expiry in seconds.
    pub expiry: Option<u32>,
}

impl<'a> Head<'a> {
    /// The head of this message as a new one, without packet id and alias.
    pub fn of(message: &'a Outbound, now: Moment) -> Self {
        Self {
            qos: message.qos,
            retain: message.retain,
            dup: false,
            packet_id: None,
            alias: None,
            subscription_ids: message.subscription_ids(),
            expiry: message.remaining(now),
        }
    }

    /// What a PUBLISH with this head is written from.
    #[inline]
    pub(crate) fn parts<'p>(
        &self,
        topic: &'p [u8],
        properties: &'p [u8],
        payload: &'p [u8],
        has_properties: bool,
    ) -> publish::Parts<'p>
    where
        'a: 'p,
    {
        publish::Parts {
            dup: self.dup,
            retain: self.retain,
            qos: self.qos,
            packet_id: self.packet_id,
            topic: if matches!(self.alias, Some(Alias::Use(_))) { &[] } else { topic },
            has_properties,
            alias: self.alias.map(Alias::number),
            expiry: self.expiry,
            subscription_ids: self.subscription_ids,
            properties,
            payload,
        }
    }
}

impl Frame {
    /// The frame of a received publish. `topic` is its resolved topic.
    pub fn from_publish(publish: &PublishRef<'_>, topic: &str) -> Self {
        let properties = &publish.properties;
        Self::build(topic, |out| properties.forwarded(out), Content::Borrowed(publish.payload))
    }

    /// The frame of a message. Expiry, QoS and RETAIN are not part of it.
    pub fn from_message(message: &Message) -> Self {
        let write = |out: &mut Vec<u8>| message.properties().write_forwarded(out);
        Self::build(message.topic().as_str(), write, Content::Shared(message.payload()))
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        // Every constructor takes a `str`.
        str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// The topic without the cost of proving that it is text.
    #[inline]
    pub fn topic_bytes(&self) -> &[u8] {
        &self.0.slice[..usize::from(self.layout().topic_len)]
    }

    /// The property bytes that are forwarded as they are: neither alias nor expiry nor subscription identifiers.
    #[inline]
    pub fn raw_properties(&self) -> &[u8] {
        let start = usize::from(self.layout().topic_len);
        &self.0.slice[start..start + self.layout().properties_len as usize]
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        match &self.layout().large {
            Some(payload) => payload,
            None => &self.0.slice[self.payload_start()..],
        }
    }

    /// Whether the payload is empty, which clears a retained message.
    pub fn payload_is_empty(&self) -> bool {
        self.payload().is_empty()
    }

    /// The payload where it is kept beside the frame, because it is above 4 KiB: it can be written to a socket without
    /// copying it.
    pub fn large_payload(&self) -> Option<&Bytes> {
        self.layout().large.as_deref()
    }

    /// The message as a receiver sees it.
    pub fn to_message(
        &self,
        qos: QoS,
        retain: bool,
        expiry: Option<u32>,
        subscription_ids: &[u32],
    ) -> Message {
        let payload = match self.large_payload() {
            Some(payload) => payload.clone().into(),
            None => Payload::copy_from_slice(self.payload()),
        };
        let raw = self.raw_properties();
        let mut properties = match PublishPropertiesRef::parse(raw) {
            Ok(properties) if !raw.is_empty() => properties.to_owned(),
            _ => PublishProperties::default(),
        };
        properties.message_expiry_interval = expiry;
        properties.subscription_identifiers = subscription_ids.to_vec();
        Message::from_parts(
            TopicName::trusted(self.topic()),
            payload,
            qos,
            retain,
            (!properties.is_empty()).then(|| Box::new(properties)),
        )
    }

    /// How many bytes of memory the frame holds.
    pub fn weight(&self) -> usize {
        let counters = 2 * size_of::<usize>();
        let large = self.large_payload().map_or(0, |payload| payload.len() + size_of::<Bytes>());
        counters + size_of::<Layout>() + self.0.slice.len() + large
    }

    /// The length of the whole PUBLISH with this head, fixed header included; of QoS 1 and 2 the packet id counts, also
    /// if it is not known yet. `has_properties` is what the receiver's version says.
    #[inline]
    pub fn wire_len(&self, head: &Head<'_>, has_properties: bool) -> usize {
        publish::wire_len(self.body_len(head, has_properties))
    }

    /// The length behind the fixed header of the PUBLISH with this head.
    #[inline]
    pub(crate) fn body_len(&self, head: &Head<'_>, has_properties: bool) -> usize {
        self.parts(head, has_properties).body_len()
    }

    /// Appends the whole PUBLISH with this head. Its length must be within what MQTT can express, which
    /// [`wire_len`](Self::wire_len) and the receiver's Maximum Packet Size tell.
    #[inline]
    pub fn write(&self, head: &Head<'_>, has_properties: bool, out: &mut impl Output) {
        self.write_sized(head, has_properties, self.body_len(head, has_properties), out);
    }

    /// As [`write`](Self::write), where the length behind the fixed header is known.
    #[inline]
    pub(crate) fn write_sized(
        &self,
        head: &Head<'_>,
        has_properties: bool,
        body_len: usize,
        out: &mut impl Output,
    ) {
        let parts = self.parts(head, has_properties);
        match self.large_payload() {
            None => publish::write(&parts, body_len, out.bytes()),
            Some(payload) => publish::write_shared(&parts, body_len, payload, out),
        }
    }

    #[inline]
    fn parts<'a>(&'a self, head: &Head<'a>, has_properties: bool) -> publish::Parts<'a> {
        head.parts(self.topic_bytes(), self.raw_properties(), self.payload(), has_properties)
    }

    fn build(topic: &str, properties: impl FnOnce(&mut Vec<u8>), payload: Content<'_>) -> Self {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.extend_from_slice(topic.as_bytes());
            properties(scratch);
            let properties_len = (scratch.len() - topic.len()) as u32;
            let large = payload.keep_beside(scratch);
            // A topic of type `TopicName`, or from the wire, has at most 65,535 bytes.
            let layout = Layout { large, properties_len, topic_len: topic.len() as u16 };
            let frame = Self(ThinArc::from_header_and_slice(layout, scratch));
            if scratch.capacity() > LARGE_SCRATCH {
                *scratch = Vec::new();
            }
            frame
        })
    }

    fn layout(&self) -> &Layout {
        &self.0.header.header
    }

    fn payload_start(&self) -> usize {
        usize::from(self.layout().topic_len) + self.layout().properties_len as usize
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("topic", &self.topic())
            .field("properties", &self.raw_properties().len())
            .field("payload", &self.payload().len())
            .finish()
    }
}

enum Content<'a> {
    Borrowed(&'a [u8]),
    Shared(&'a Payload),
}

impl Content<'_> {
    /// Appends the payload, or returns it if it is to be kept beside the frame.
    fn keep_beside(self, scratch: &mut Vec<u8>) -> Option<Box<Bytes>> {
        match self {
            Self::Borrowed(payload) if payload.len() > LARGE_PAYLOAD => {
                Some(Box::new(Bytes::copy_from_slice(payload)))
            }
            Self::Shared(payload) if payload.len() > LARGE_PAYLOAD => Some(Box::new(payload.to_bytes())),
            Self::Borrowed(payload) => {
                scratch.extend_from_slice(payload);
                None
            }
            Self::Shared(payload) => {
                scratch.extend_from_slice(payload);
                None
            }
        }
    }
}

thread_local! {
    /// Where the parts are put together, because the allocation of a frame is filled by one copy.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

const LARGE_PAYLOAD: usize = 4096;
/// Beyond this the scratch is not kept.
const LARGE_SCRATCH: usize = 64 * 1024;
