//! A message that is being handed to its receivers, whatever it came as.
//!
//! A packet of a client is read where it lies, and becomes a [`Frame`] only if somebody has to keep it; a will and a
//! message of the application are frames already. Relates to: [`Publisher`](super::publish::Publisher). Leaves out: who
//! receives it.

use gantline_protocol::{Frame, Head, Message, Moment, Outbound, PublishRef, QoS, SubscriptionIds};

/// A message on its way through the broker.
#[derive(Debug)]
pub(crate) struct Publication<'a> {
    /// The topic, never empty.
    pub(crate) topic: &'a str,
    /// The QoS with which it was published.
    pub(crate) qos: QoS,
    /// Whether it is to be kept.
    pub(crate) retain: bool,
    /// When it expires; [`Moment::NEVER`] if it does not.
    pub(crate) expires: Moment,
    payload_len: usize,
    source: Source<'a>,
    /// The packet as it came, where receivers of the publisher's layout get just that.
    verbatim: Option<Verbatim<'a>>,
    /// Made at the first need.
    frame: Option<Frame>,
}

#[derive(Debug)]
enum Source<'a> {
    Packet(&'a PublishRef<'a>),
    Message(&'a Outbound),
}

/// A packet with QoS 0 and nothing that belongs to the publisher's connection.
#[derive(Clone, Copy, Debug)]
struct Verbatim<'a> {
    packet: &'a [u8],
    has_properties: bool,
}

impl<'a> Publication<'a> {
    /// A packet whose topic is resolved: what is read in it, and the whole of it as it came in this layout.
    #[inline]
    pub(crate) fn of_packet(
        packet: &'a PublishRef<'a>,
        whole: &'a [u8],
        has_properties: bool,
        now: Moment,
    ) -> Self {
        let is_bare = whole.first() == Some(&PUBLISH) && packet.properties.is_plain();
        let expires = packet.properties.expiry().map_or(Moment::NEVER, |seconds| now.plus_secs(seconds));
        Self {
            topic: packet.topic,
            qos: packet.delivery.qos(),
            retain: packet.retain,
            expires,
            payload_len: packet.payload.len(),
            source: Source::Packet(packet),
            verbatim: is_bare.then_some(Verbatim { packet: whole, has_properties }),
            frame: None,
        }
    }

    /// A message that nobody sent over a connection.
    pub(crate) fn of_message(message: &'a Outbound) -> Self {
        Self {
            topic: message.frame.topic(),
            qos: message.qos,
            retain: message.retain,
            expires: message.expires,
            payload_len: message.frame.payload().len(),
            source: Source::Message(message),
            verbatim: None,
            frame: Some(message.frame.clone()),
        }
    }

    /// Whether the payload is empty, which clears a retained message.
    pub(crate) const fn is_empty(&self) -> bool {
        self.payload_len == 0
    }

    /// The payload.
    pub(crate) fn payload(&self) -> &[u8] {
        match self.source {
            Source::Packet(packet) => packet.payload,
            Source::Message(message) => message.frame.payload(),
        }
    }

    /// The whole message, copied.
    pub(crate) fn to_message(&self, now: Moment) -> Message {
        match self.source {
            Source::Packet(packet) => packet.to_message(),
            Source::Message(message) => {
                message.frame.to_message(self.qos, self.retain, message.remaining(now), &[])
            }
        }
    }

    /// Whether at QoS 0 it can be finished now: there is nothing to count down, and the copy is worth it.
    #[inline]
    pub(crate) fn can_be_finished(&self) -> bool {
        self.expires == Moment::NEVER && self.payload_len <= LARGEST_COPIED
    }

    /// Appends the finished packet with QoS 0 for receivers of one layout.
    #[inline]
    pub(crate) fn finish(&self, has_properties: bool, retain: bool, out: &mut Vec<u8>) {
        if let Some(verbatim) = self.verbatim
            && verbatim.has_properties == has_properties
            && !retain
        {
            return out.extend_from_slice(verbatim.packet);
        }
        let head = Head { retain, ..Head::default() };
        match self.source {
            Source::Packet(packet) => packet.forward(&head, has_properties, out),
            Source::Message(message) => message.frame.write(&head, has_properties, out),
        }
    }

    /// What all who keep the message share.
    #[inline]
    pub(crate) fn frame(&mut self) -> &Frame {
        let Self { frame, source, topic, .. } = self;
        frame.get_or_insert_with(|| match source {
            Source::Packet(packet) => Frame::from_publish(packet, topic),
            Source::Message(message) => message.frame.clone(),
        })
    }

    /// The message as an application sees it.
    pub(crate) fn message(&mut self, now: Moment) -> Message {
        let (qos, retain) = (self.qos, self.retain);
        let outbound = self.outbound(qos, retain, None);
        outbound.frame.to_message(qos, retain, outbound.remaining(now), &[])
    }

    /// The message for one receiver.
    #[inline]
    pub(crate) fn outbound(&mut self, qos: QoS, retain: bool, ids: Option<SubscriptionIds>) -> Outbound {
        let frame = self.frame().clone();
        Outbound { frame, subscription_ids: ids, expires: self.expires, tag: 0, qos, retain }
    }
}

/// The first byte of a PUBLISH without DUP, QoS and RETAIN.
const PUBLISH: u8 = 0x30;
/// A larger payload is shared instead of copied.
const LARGEST_COPIED: usize = 4096;
