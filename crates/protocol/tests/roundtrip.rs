//! Packets come back as they were sent, on every version, as far as the version carries them.

use gantline_protocol::packet::{Packet, PublishRef};
use gantline_protocol::{FixedHeader, PacketType, ProtocolVersion};
use gantline_test_support::packets::{carried, packet_of};
use proptest::prelude::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use proptest::{prop_assert, prop_assert_eq};

/// Runs `check` with generated packets of each type and version.
fn for_each_packet(
    strategy: impl Fn(PacketType, ProtocolVersion) -> Option<proptest::strategy::BoxedStrategy<Packet>>,
    check: impl Fn(Packet, ProtocolVersion) -> Result<(), TestCaseError>,
) {
    for version in ProtocolVersion::ALL {
        for packet_type in (1..=15).filter_map(PacketType::from_u8) {
            let Some(packets) = strategy(packet_type, version) else { continue };
            let mut runner =
                TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() });
            let result = runner.run(&packets, |packet| check(packet, version));
            result.unwrap_or_else(|error| panic!("{packet_type} on {version}: {error}"));
        }
    }
}

#[test]
fn what_is_sent_is_received() {
    for_each_packet(packet_of, |packet, version| {
        let mut bytes = vec![0xEE];
        packet.encode(version, &mut bytes).unwrap();
        prop_assert_eq!(bytes[0], 0xEE, "what was there before stays");
        let frame = &bytes[1..];
        let header = FixedHeader::parse(frame).unwrap().unwrap();
        prop_assert_eq!(header.frame_len(), frame.len());
        prop_assert_eq!(header.packet_type, packet.packet_type());
        prop_assert_eq!(Packet::decode(frame, version), Ok(carried(packet, version)));
        Ok(())
    });
}

#[test]
fn what_is_received_is_sent_again_as_it_came() {
    for_each_packet(packet_of, |packet, version| {
        let mut first = Vec::new();
        packet.encode(version, &mut first).unwrap();
        let mut again = Vec::new();
        Packet::decode(&first, version).unwrap().encode(version, &mut again).unwrap();
        prop_assert_eq!(first, again);
        Ok(())
    });
}

#[test]
fn a_part_of_a_packet_is_no_packet() {
    for_each_packet(packet_of, |packet, version| {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        for length in 0..bytes.len() {
            prop_assert!(Packet::decode(&bytes[..length], version).is_err());
        }
        bytes.push(0);
        prop_assert!(Packet::decode(&bytes, version).is_err());
        Ok(())
    });
}

#[test]
fn a_publish_is_the_same_in_place() {
    let only_publish =
        |packet_type, version| packet_of(packet_type, version).filter(|_| packet_type == PacketType::Publish);
    for_each_packet(only_publish, |packet, version| {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        let header = FixedHeader::parse(&bytes).unwrap().unwrap();
        let in_place = PublishRef::decode(&bytes[header.header_len.into()..], header.flags, version).unwrap();
        let Packet::Publish(owned) = carried(packet, version) else { panic!("not a PUBLISH") };
        prop_assert_eq!((in_place.dup, in_place.retain), (owned.dup, owned.retain));
        prop_assert_eq!(in_place.delivery, owned.delivery);
        prop_assert_eq!(in_place.payload, &owned.payload);
        prop_assert_eq!(in_place.topic, owned.topic.as_ref().map_or("", |topic| topic.as_str()));
        prop_assert_eq!(&in_place.properties.to_owned(), &owned.properties);
        if let Some(topic) = &owned.topic {
            let message = in_place.to_message();
            prop_assert_eq!(message.topic(), topic);
            prop_assert_eq!(message.payload(), &owned.payload);
            prop_assert_eq!(message.qos_level(), owned.delivery.qos());
            prop_assert_eq!(message.properties().topic_alias, None);
            prop_assert_eq!(&message.properties().user_properties, &owned.properties.user_properties);
        }
        Ok(())
    });
}

/// Changed bytes of good packets get further into the reading than random ones.
#[test]
fn nothing_that_arrives_makes_the_codec_panic() {
    let decode_all = |bytes: &[u8]| {
        for version in ProtocolVersion::ALL {
            if let Ok(packet) = Packet::decode(bytes, version) {
                // What was accepted can be sent on, and is shown in logs.
                packet.encode(version, &mut Vec::new()).unwrap();
                assert!(!format!("{packet:?}").is_empty());
            }
        }
    };
    let config = || Config { cases: 2048, failure_persistence: None, ..Config::default() };
    let random = proptest::collection::vec(proptest::num::u8::ANY, 0..64);
    let result = TestRunner::new(config()).run(&random, |mut bytes| {
        decode_all(&bytes);
        // The same with a length that is right, so that the body is read.
        if let [_, length, body @ ..] = bytes.as_mut_slice() {
            *length = body.len() as u8;
            decode_all(&bytes);
        }
        Ok(())
    });
    result.unwrap();
    for version in ProtocolVersion::ALL {
        let changes = proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..4);
        let cases =
            (gantline_test_support::packets::packet(version), changes).prop_map(|(packet, changes)| {
                let mut bytes = Vec::new();
                packet.encode(version, &mut bytes).unwrap();
                for (at, value) in changes {
                    let at = at % bytes.len();
                    bytes[at] = value;
                }
                bytes
            });
        let result = TestRunner::new(config()).run(&cases, |bytes| {
            decode_all(&bytes);
            Ok(())
        });
        result.unwrap();
    }
}
