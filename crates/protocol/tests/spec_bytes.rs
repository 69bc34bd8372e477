//! Packets byte by byte, as the figures and tables of the three specifications lay them out.
//!
//! Each case is written and read. The values are those of the non-normative examples where there is one: topic `a/b`,
//! packet identifier 10, user name and password, a will with QoS 1, keep alive 10. Bytes are in the notation of
//! `gantline_test_support::packets::bytes`: `..` is the remaining length.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::num::{NonZeroU16, NonZeroU32};

use gantline_protocol::ProtocolVersion::{V3_1, V3_1_1, V5_0};
use gantline_protocol::packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, Publish, RetainHandling, SubAck, Subscribe,
    SubscribeFilter, SubscriptionOptions, UnsubAck, Unsubscribe, Will,
};
use gantline_protocol::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties, PacketId,
    PayloadFormat, ProtocolVersion, PublishProperties, QoS, ReasonCode, SubscribeProperties, TopicFilter,
    TopicName, UnsubscribeProperties, UserProperties, WillProperties,
};
use gantline_test_support::packets::bytes;

/// The packet is written as these bytes, and these bytes are read as the packet.
#[track_caller]
fn is(version: ProtocolVersion, packet: &Packet, text: &str) {
    let expected = bytes(text);
    let mut written = Vec::new();
    packet.encode(version, &mut written).unwrap();
    assert_eq!(written, expected, "{version} {packet:?} is written as {written:02x?}");
    assert_eq!(Packet::decode(&expected, version).as_ref(), Ok(packet), "{version} {text}");
}

fn id() -> PacketId {
    PacketId::new(10).unwrap()
}

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn pair() -> UserProperties {
    [("k", "v")].into_iter().collect()
}

fn explained() -> AckProperties {
    AckProperties { reason_string: Some("no".into()), user_properties: pair() }
}

/// The example of section 3.1.2.13 (5.0) and 3.1.2.11 (3.1.1).
fn connect(version: ProtocolVersion) -> Connect {
    Connect {
        version,
        client_id: "c".into(),
        clean_start: true,
        keep_alive: 10,
        will: Some(Will {
            topic: topic("w"),
            payload: "gone".into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: WillProperties::default(),
        }),
        user_name: Some("u".into()),
        password: Some("p".into()),
        ..Connect::default()
    }
}

#[test]
fn connect_of_each_version() {
    let is_connect = |connect, text: &str| is(V5_0, &Packet::Connect(Box::new(connect)), text);
    let payload = "00 01 'c' 00 01 'w' 00 04 'gone' 00 01 'u' 00 01 'p'";
    is_connect(connect(V3_1), &format!("10 .. 00 06 'MQIsdp' 03 CE 00 0A {payload}"));
    is_connect(connect(V3_1_1), &format!("10 .. 00 04 'MQTT' 04 CE 00 0A {payload}"));
    let mut of_5 = connect(V5_0);
    of_5.properties.session_expiry_interval = Some(10);
    let payload = "00 01 'c' 00 00 01 'w' 00 04 'gone' 00 01 'u' 00 01 'p'";
    is_connect(of_5, &format!("10 .. 00 04 'MQTT' 05 CE 00 0A 05 11 00 00 00 0A {payload}"));
}

#[test]
fn connect_flags() {
    let flags = |flags: &str, text: &str| format!("10 .. 00 04 'MQTT' 04 {flags} 00 00 00 00 {text}");
    let is_connect = |connect, text: &str| is(V3_1_1, &Packet::Connect(Box::new(connect)), text);
    let plain = || Connect { version: V3_1_1, ..Connect::default() };
    let will = |qos, retain| Connect {
        will: Some(Will { qos, retain, payload: "".into(), ..connect(V3_1_1).will.unwrap() }),
        ..plain()
    };
    is_connect(plain(), &flags("00", ""));
    is_connect(Connect { clean_start: true, ..plain() }, &flags("02", ""));
    is_connect(will(QoS::AtMostOnce, false), &flags("04", "00 01 'w' 00 00"));
    is_connect(will(QoS::AtLeastOnce, false), &flags("0C", "00 01 'w' 00 00"));
    is_connect(will(QoS::ExactlyOnce, true), &flags("34", "00 01 'w' 00 00"));
    is_connect(Connect { user_name: Some("u".into()), ..plain() }, &flags("80", "00 01 'u'"));
    let password = Some("p".into());
    is_connect(
        Connect { user_name: Some("".into()), password: password.clone(), ..plain() },
        &flags("C0", "00 00 00 01 'p'"),
    );
    let only_password = Connect { password, ..Connect::default() };
    is_connect(only_password, "10 .. 00 04 'MQTT' 05 40 00 00 00 00 00 00 01 'p'");
}

#[test]
fn connect_of_a_bridge() {
    let bridge = |version| Packet::Connect(Box::new(Connect { version, bridge: true, ..Connect::default() }));
    is(V3_1, &bridge(V3_1), "10 .. 00 06 'MQIsdp' 83 00 00 00 00 00");
    is(V3_1_1, &bridge(V3_1_1), "10 .. 00 04 'MQTT' 84 00 00 00 00 00");
}

#[test]
fn connect_with_all_properties() {
    let connect = Connect {
        properties: ConnectProperties {
            session_expiry_interval: Some(u32::MAX),
            receive_maximum: NonZeroU16::new(20),
            maximum_packet_size: NonZeroU32::new(256),
            topic_alias_maximum: Some(3),
            request_response_information: Some(true),
            request_problem_information: Some(false),
            authentication_method: Some("m".into()),
            authentication_data: Some("d".into()),
            user_properties: pair(),
        },
        will: Some(Will {
            qos: QoS::AtMostOnce,
            properties: WillProperties {
                will_delay_interval: Some(5),
                payload_format_indicator: PayloadFormat::Utf8,
                message_expiry_interval: Some(6),
                content_type: Some("t".into()),
                response_topic: Some(topic("r")),
                correlation_data: Some("x".into()),
                user_properties: pair(),
            },
            ..connect(V5_0).will.unwrap()
        }),
        ..Connect::default()
    };
    is(
        V5_0,
        &Packet::Connect(Box::new(connect)),
        "10 .. 00 04 'MQTT' 05 04 00 00 \
         23 11 FF FF FF FF 21 00 14 27 00 00 01 00 22 00 03 19 01 17 00 15 00 01 'm' 16 00 01 'd' \
         26 00 01 'k' 00 01 'v' 00 00 \
         1F 18 00 00 00 05 01 01 02 00 00 00 06 03 00 01 't' 08 00 01 'r' 09 00 01 'x' 26 00 01 'k' 00 01 'v' \
         00 01 'w' 00 04 'gone'",
    );
}

#[test]
fn connack_of_each_version() {
    let is_connack = |version, session_present, reason, text: &str| {
        let connack = ConnAck { session_present, reason, ..ConnAck::default() };
        is(version, &Packet::ConnAck(Box::new(connack)), text);
    };
    is_connack(V3_1, false, ReasonCode::Success, "20 02 00 00");
    is_connack(V3_1_1, false, ReasonCode::Success, "20 02 00 00");
    is_connack(V3_1_1, true, ReasonCode::Success, "20 02 01 00");
    is_connack(V5_0, true, ReasonCode::Success, "20 03 01 00 00");
    let codes = [
        (ReasonCode::UnsupportedProtocolVersion, 1, 0x84),
        (ReasonCode::ClientIdentifierNotValid, 2, 0x85),
        (ReasonCode::ServerUnavailable, 3, 0x88),
        (ReasonCode::BadUserNameOrPassword, 4, 0x86),
        (ReasonCode::NotAuthorized, 5, 0x87),
    ];
    for (reason, return_code, reason_code) in codes {
        is_connack(V3_1, false, reason, &format!("20 02 00 {return_code:02X}"));
        is_connack(V3_1_1, false, reason, &format!("20 02 00 {return_code:02X}"));
        is_connack(V5_0, false, reason, &format!("20 03 00 {reason_code:02X} 00"));
    }
}

#[test]
fn connack_of_a_server_that_does_not_know_the_version() {
    let connack = Packet::decode(&bytes("20 02 00 01"), V5_0);
    let reason = ReasonCode::UnsupportedProtocolVersion;
    assert_eq!(connack, Ok(Packet::ConnAck(Box::new(ConnAck { reason, ..ConnAck::default() }))));
}

#[test]
fn connack_with_all_properties() {
    let properties = ConnAckProperties {
        session_expiry_interval: Some(10),
        receive_maximum: NonZeroU16::new(20),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: NonZeroU32::new(256),
        assigned_client_identifier: Some("i".into()),
        topic_alias_maximum: Some(3),
        reason_string: Some("s".into()),
        wildcard_subscription_available: Some(false),
        subscription_identifiers_available: Some(true),
        shared_subscription_available: Some(false),
        server_keep_alive: Some(60),
        response_information: Some("r".into()),
        server_reference: Some("o".into()),
        authentication_method: Some("m".into()),
        authentication_data: Some("d".into()),
        user_properties: pair(),
    };
    is(
        V5_0,
        &Packet::ConnAck(Box::new(ConnAck { properties, ..ConnAck::default() })),
        "20 .. 00 00 3C 11 00 00 00 0A 21 00 14 24 01 25 00 27 00 00 01 00 12 00 01 'i' 22 00 03 1F 00 01 's' \
         28 00 29 01 2A 00 13 00 3C 1A 00 01 'r' 1C 00 01 'o' 15 00 01 'm' 16 00 01 'd' 26 00 01 'k' 00 01 'v'",
    );
}

#[test]
fn publish_of_each_version() {
    let publish = |dup, retain, delivery| {
        Packet::Publish(Box::new(Publish {
            dup,
            retain,
            topic: Some(topic("a/b")),
            delivery,
            payload: "hi".into(),
            properties: PublishProperties::default(),
        }))
    };
    for version in [V3_1, V3_1_1] {
        is(version, &publish(false, false, Delivery::AtMostOnce), "30 .. 00 03 'a/b' 'hi'");
        is(version, &publish(false, true, Delivery::AtMostOnce), "31 .. 00 03 'a/b' 'hi'");
        is(version, &publish(false, false, Delivery::AtLeastOnce(id())), "32 .. 00 03 'a/b' 00 0A 'hi'");
        is(version, &publish(true, true, Delivery::ExactlyOnce(id())), "3D .. 00 03 'a/b' 00 0A 'hi'");
    }
    is(V5_0, &publish(false, false, Delivery::AtMostOnce), "30 .. 00 03 'a/b' 00 'hi'");
    is(V5_0, &publish(true, false, Delivery::AtLeastOnce(id())), "3A .. 00 03 'a/b' 00 0A 00 'hi'");
    is(V5_0, &publish(false, true, Delivery::ExactlyOnce(id())), "35 .. 00 03 'a/b' 00 0A 00 'hi'");
}

#[test]
fn publish_with_all_properties() {
    let publish = Publish {
        dup: false,
        retain: false,
        topic: Some(topic("t")),
        delivery: Delivery::AtMostOnce,
        payload: "".into(),
        properties: PublishProperties {
            payload_format_indicator: PayloadFormat::Utf8,
            message_expiry_interval: Some(60),
            topic_alias: NonZeroU16::new(2),
            response_topic: Some(topic("r")),
            correlation_data: Some("x".into()),
            subscription_identifiers: vec![1, 268_435_455],
            content_type: Some("c".into()),
            user_properties: pair(),
        },
    };
    is(
        V5_0,
        &Packet::Publish(Box::new(publish)),
        "30 .. 00 01 't' 24 23 00 02 02 00 00 00 3C 0B 01 0B FF FF FF 7F 01 01 08 00 01 'r' 09 00 01 'x' \
         03 00 01 'c' 26 00 01 'k' 00 01 'v'",
    );
}

#[test]
fn publish_with_an_alias_only() {
    let publish = Publish {
        dup: false,
        retain: false,
        topic: None,
        delivery: Delivery::AtMostOnce,
        payload: "x".into(),
        properties: PublishProperties { topic_alias: NonZeroU16::new(1), ..PublishProperties::default() },
    };
    is(V5_0, &Packet::Publish(Box::new(publish)), "30 .. 00 00 03 23 00 01 'x'");
}

/// The string of figure 1-2 (5.0): `A` and U+2A6D4.
#[test]
fn publish_with_the_string_of_the_specification() {
    let publish = Publish {
        dup: false,
        retain: false,
        topic: Some(topic("A\u{2A6D4}")),
        delivery: Delivery::AtMostOnce,
        payload: "".into(),
        properties: PublishProperties::default(),
    };
    is(V3_1_1, &Packet::Publish(Box::new(publish)), "30 07 00 05 41 F0 AA 9B 94");
}

/// U+FEFF is a character like others, wherever it stands [MQTT-1.5.4-3].
#[test]
fn a_byte_order_mark_is_kept() {
    let publish = Publish {
        dup: false,
        retain: false,
        topic: Some(topic("\u{FEFF}a\u{FEFF}")),
        delivery: Delivery::AtMostOnce,
        payload: "".into(),
        properties: PublishProperties::default(),
    };
    is(V3_1_1, &Packet::Publish(Box::new(publish)), "30 09 00 07 EF BB BF 'a' EF BB BF");
}

#[test]
fn acknowledgements_of_each_version() {
    type Kind = (fn(Ack) -> Packet, &'static str, ReasonCode, &'static str);
    let kinds: [Kind; 4] = [
        (Packet::PubAck, "40", ReasonCode::NoMatchingSubscribers, "10"),
        (Packet::PubRec, "50", ReasonCode::QuotaExceeded, "97"),
        (Packet::PubRel, "62", ReasonCode::PacketIdentifierNotFound, "92"),
        (Packet::PubComp, "70", ReasonCode::PacketIdentifierNotFound, "92"),
    ];
    for (packet, first, reason, code) in kinds {
        let ack = |reason, properties| packet(Ack { packet_id: id(), reason, properties });
        for version in [V3_1, V3_1_1, V5_0] {
            let bare = ack(ReasonCode::Success, AckProperties::default());
            is(version, &bare, &format!("{first} 02 00 0A"));
        }
        is(V5_0, &ack(reason, AckProperties::default()), &format!("{first} 03 00 0A {code}"));
        let properties = "0C 1F 00 02 'no' 26 00 01 'k' 00 01 'v'";
        is(V5_0, &ack(reason, explained()), &format!("{first} .. 00 0A {code} {properties}"));
        is(V5_0, &ack(ReasonCode::Success, explained()), &format!("{first} .. 00 0A 00 {properties}"));
        // Longer than need be, and allowed.
        for text in ["03 00 0A 00", "04 00 0A 00 00"] {
            let bare = ack(ReasonCode::Success, AckProperties::default());
            assert_eq!(Packet::decode(&bytes(&format!("{first} {text}")), V5_0), Ok(bare));
        }
    }
}

#[test]
fn subscribe_of_each_version() {
    let plain = |text, qos| SubscribeFilter {
        filter: filter(text),
        options: SubscriptionOptions::default().maximum_qos(qos),
    };
    let filters = vec![plain("a/b", QoS::AtLeastOnce), plain("c/d", QoS::ExactlyOnce)];
    let subscribe =
        Packet::Subscribe(Subscribe { packet_id: id(), filters, properties: SubscribeProperties::default() });
    for version in [V3_1, V3_1_1] {
        is(version, &subscribe, "82 0E 00 0A 00 03 'a/b' 01 00 03 'c/d' 02");
    }
    is(V5_0, &subscribe, "82 0F 00 0A 00 00 03 'a/b' 01 00 03 'c/d' 02");
    let options = [
        (SubscriptionOptions::default(), "00"),
        (SubscriptionOptions::default().no_local(true), "04"),
        (SubscriptionOptions::default().retain_as_published(true), "08"),
        (SubscriptionOptions::default().retain_handling(RetainHandling::IfNew), "10"),
        (SubscriptionOptions::default().retain_handling(RetainHandling::Never), "20"),
    ];
    for (options, byte) in options {
        let filters = vec![SubscribeFilter { filter: filter("#"), options }];
        let properties = SubscribeProperties { subscription_identifier: Some(128), user_properties: pair() };
        is(
            V5_0,
            &Packet::Subscribe(Subscribe { packet_id: id(), filters, properties }),
            &format!("82 .. 00 0A 0A 0B 80 01 26 00 01 'k' 00 01 'v' 00 01 '#' {byte}"),
        );
    }
}

#[test]
fn suback_of_each_version() {
    let suback = |reasons, properties| Packet::SubAck(SubAck { packet_id: id(), reasons, properties });
    let granted = vec![ReasonCode::Success, ReasonCode::GrantedQoS1, ReasonCode::GrantedQoS2];
    let refused = vec![ReasonCode::GrantedQoS2, ReasonCode::UnspecifiedError];
    let none = AckProperties::default;
    is(V3_1, &suback(granted.clone(), none()), "90 05 00 0A 00 01 02");
    is(V3_1_1, &suback(granted.clone(), none()), "90 05 00 0A 00 01 02");
    is(V3_1_1, &suback(refused, none()), "90 04 00 0A 02 80");
    is(V5_0, &suback(granted, none()), "90 06 00 0A 00 00 01 02");
    let denied = suback(vec![ReasonCode::NotAuthorized], explained());
    is(V5_0, &denied, "90 .. 00 0A 0C 1F 00 02 'no' 26 00 01 'k' 00 01 'v' 87");
}

/// 3.1 has no failure code; its servers grant QoS 0, and some send the code of 3.1.1 all the same.
#[test]
fn suback_with_a_failure_where_there_is_none() {
    let refused = Packet::SubAck(SubAck {
        packet_id: id(),
        reasons: vec![ReasonCode::UnspecifiedError],
        properties: AckProperties::default(),
    });
    let mut written = Vec::new();
    refused.encode(V3_1, &mut written).unwrap();
    assert_eq!(written, bytes("90 03 00 0A 00"));
    assert_eq!(Packet::decode(&bytes("90 03 00 0A 80"), V3_1), Ok(refused));
}

#[test]
fn unsubscribe_of_each_version() {
    let unsubscribe = |user_properties| {
        let filters = vec![filter("a/b"), filter("c/d")];
        let properties = UnsubscribeProperties { user_properties };
        Packet::Unsubscribe(Unsubscribe { packet_id: id(), filters, properties })
    };
    let none = UserProperties::default;
    is(V3_1, &unsubscribe(none()), "A2 0C 00 0A 00 03 'a/b' 00 03 'c/d'");
    is(V3_1_1, &unsubscribe(none()), "A2 0C 00 0A 00 03 'a/b' 00 03 'c/d'");
    is(V5_0, &unsubscribe(none()), "A2 0D 00 0A 00 00 03 'a/b' 00 03 'c/d'");
    is(V5_0, &unsubscribe(pair()), "A2 .. 00 0A 07 26 00 01 'k' 00 01 'v' 00 03 'a/b' 00 03 'c/d'");
}

#[test]
fn unsuback_of_each_version() {
    let unsuback = |reasons, properties| Packet::UnsubAck(UnsubAck { packet_id: id(), reasons, properties });
    is(V3_1, &unsuback(vec![], AckProperties::default()), "B0 02 00 0A");
    is(V3_1_1, &unsuback(vec![], AckProperties::default()), "B0 02 00 0A");
    let reasons = vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    is(V5_0, &unsuback(reasons.clone(), AckProperties::default()), "B0 05 00 0A 00 00 11");
    is(V5_0, &unsuback(reasons, explained()), "B0 .. 00 0A 0C 1F 00 02 'no' 26 00 01 'k' 00 01 'v' 00 11");
}

#[test]
fn pings_of_each_version() {
    for version in [V3_1, V3_1_1, V5_0] {
        is(version, &Packet::PingReq, "C0 00");
        is(version, &Packet::PingResp, "D0 00");
    }
}

#[test]
fn disconnect_of_each_version() {
    for version in [V3_1, V3_1_1, V5_0] {
        is(version, &Packet::Disconnect(Disconnect::default()), "E0 00");
    }
    let disconnect = |reason, properties| Packet::Disconnect(Disconnect { reason, properties });
    let with_will = ReasonCode::DisconnectWithWillMessage;
    is(V5_0, &disconnect(with_will, DisconnectProperties::default()), "E0 01 04");
    let properties = DisconnectProperties {
        session_expiry_interval: Some(10),
        reason_string: Some("s".into()),
        server_reference: Some("o".into()),
        user_properties: pair(),
    };
    is(
        V5_0,
        &disconnect(ReasonCode::ServerMoved, properties),
        "E0 .. 9D 14 11 00 00 00 0A 1F 00 01 's' 1C 00 01 'o' 26 00 01 'k' 00 01 'v'",
    );
    // Longer than need be, and allowed.
    for text in ["E0 01 00", "E0 02 00 00"] {
        assert_eq!(Packet::decode(&bytes(text), V5_0), Ok(Packet::Disconnect(Disconnect::default())));
    }
}

#[test]
fn auth() {
    let auth = |reason, properties| Packet::Auth(Auth { reason, properties });
    is(V5_0, &auth(ReasonCode::Success, AuthProperties::default()), "F0 00");
    let method = || AuthProperties { authentication_method: Some("m".into()), ..AuthProperties::default() };
    is(V5_0, &auth(ReasonCode::ReAuthenticate, method()), "F0 06 19 04 15 00 01 'm'");
    let properties = AuthProperties {
        authentication_data: Some("d".into()),
        reason_string: Some("s".into()),
        user_properties: pair(),
        ..method()
    };
    is(
        V5_0,
        &auth(ReasonCode::ContinueAuthentication, properties),
        "F0 .. 18 13 15 00 01 'm' 16 00 01 'd' 1F 00 01 's' 26 00 01 'k' 00 01 'v'",
    );
}
