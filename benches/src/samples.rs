//! Packets, topics and filters to measure with.

use std::num::NonZeroU16;

use gantline_protocol::{
    Connect, Delivery, Message, Packet, PacketId, ProtocolVersion, Publish, PublishProperties, QoS,
    Subscribe, SubscribeFilter, SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName,
};

/// The topic of a small message.
pub const TOPIC: &str = "site/7/device/21/temperature";
/// The payload of a small message: 16 bytes.
pub const PAYLOAD: &[u8; 16] = b"21.50 C at 12:00";

/// A packet as bytes.
pub fn encoded(packet: &Packet, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

/// CONNECT of a client whose session ends with its connection and that is never given up.
pub fn connect(id: &str, version: ProtocolVersion) -> Packet {
    Packet::Connect(Box::new(Connect {
        client_id: id.to_owned(),
        version,
        clean_start: true,
        keep_alive: 0,
        ..Connect::default()
    }))
}

/// SUBSCRIBE to one filter.
pub fn subscribe(filter: &str, qos: QoS) -> Packet {
    let options = SubscriptionOptions::default().maximum_qos(qos);
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        filters: vec![SubscribeFilter { filter: TopicFilter::new(filter).unwrap(), options }],
        properties: SubscribeProperties::default(),
    })
}

/// PUBLISH of the small message; the packet id is for QoS 1 and 2.
pub fn publish(qos: QoS, packet_id: u16) -> Packet {
    publish_with(qos, packet_id, 0)
}

/// The same with so many user properties.
pub fn publish_with(qos: QoS, packet_id: u16, user_properties: usize) -> Packet {
    let properties = PublishProperties {
        user_properties: (0..user_properties)
            .map(|number| (format!("property-{number}"), format!("value-{number}")))
            .collect(),
        ..PublishProperties::default()
    };
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id(packet_id)),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id(packet_id)),
    };
    Packet::Publish(Box::new(Publish {
        dup: false,
        retain: false,
        topic: Some(TopicName::new(TOPIC).unwrap()),
        delivery,
        payload: PAYLOAD.to_vec().into(),
        properties,
    }))
}

/// The small message to a topic of your choice.
pub fn message(topic: &str) -> Message {
    Message::new(topic, PAYLOAD.to_vec()).unwrap()
}

/// A packet id.
pub fn id(number: u16) -> PacketId {
    PacketId::from(NonZeroU16::new(number).unwrap())
}

/// Topics as long as [`topics`], many below the same level, where those are alone below theirs.
pub fn siblings(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("site/{}/temperature/{number:09}", number % 100))
}

/// Topics of a site with devices, each different.
pub fn topics(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("site/{}/device/{number}/temperature", number % 100))
}

/// As many filters as topics: each matches exactly one of the [`topics`].
pub fn filters(count: usize, kind: FilterKind) -> impl Iterator<Item = TopicFilter> {
    topics(count).map(move |topic| {
        let device = topic.trim_end_matches("temperature");
        let filter = match kind {
            FilterKind::Exact => topic,
            FilterKind::Wildcard => format!("{device}+"),
        };
        TopicFilter::new(filter).unwrap()
    })
}

/// Whether a filter has a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// Without: found by hash.
    Exact,
    /// With `+`: found level by level.
    Wildcard,
}

impl FilterKind {
    /// For the name of a measurement.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Wildcard => "wildcard",
        }
    }
}
