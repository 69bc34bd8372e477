//! Publishing: every QoS and version to every other, order, properties, aliases, and what is refused.

use std::num::{NonZeroU16, NonZeroU32};

use gantline_protocol::packet::{Packet, Publish};
use gantline_protocol::{PacketType, PayloadFormat, ProtocolVersion, TopicName};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    ALL_QOS, clean, client, connected, encoded, lasting, of_version, options, publish, seconds_pass, server,
    server_with, subscriber, text,
};

#[tokio::test(start_paused = true)]
async fn every_qos_and_version_reaches_every_other() {
    let server = server().await;
    for of_receiver in ProtocolVersion::ALL {
        for granted in ALL_QOS {
            let mut receiver =
                subscriber(&server, of_version(of_receiver, "a", true), &["t/+"], granted).await;
            for of_sender in ProtocolVersion::ALL {
                let mut sender = connected(&server, of_version(of_sender, "b", true)).await;
                for qos in ALL_QOS {
                    for size in [0, 1, 4_096, 4_097, 200_000] {
                        let payload = "x".repeat(size);
                        assert_eq!(sender.publish("t/u", &payload, qos).await, ReasonCode::Success);
                        let message = receiver.message().await;
                        assert_eq!(text(&message), payload);
                        assert_eq!(message.topic.unwrap().as_str(), "t/u");
                        assert_eq!(message.delivery.qos(), qos.min(granted), "{of_sender} {of_receiver}");
                        assert!(!message.retain && !message.dup);
                    }
                }
            }
            receiver.goes().await;
        }
    }
    let metrics = server.metrics();
    assert_eq!(
        (metrics.received.messages(), metrics.messages_routed, metrics.dropped.total()),
        (405, 405, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_topic_and_qos_keep_their_order() {
    // As many of each QoS.
    const MESSAGES: usize = 66 * 9;
    let server = server().await;
    let mut receivers = Vec::new();
    for (number, version) in ProtocolVersion::ALL.into_iter().enumerate() {
        let connect = of_version(version, &number.to_string(), true);
        receivers.push(subscriber(&server, connect, &["t/#"], QoS::ExactlyOnce).await);
    }
    let mut sender = client(&server, "sender").await;
    let mut packets = Vec::new();
    for number in 0..MESSAGES {
        let topic = ["t/a", "t/b", "t/c"][number % 3];
        // Large ones and those with an expiry take another way.
        let mut publish = sender.made(topic, &number.to_string(), ALL_QOS[number / 3 % 3]);
        if number % 7 == 0 {
            publish.properties.message_expiry_interval = Some(1_000);
        }
        if number % 11 == 0 {
            publish.payload = format!("{number:05000}").into();
        }
        packets.push(Packet::Publish(Box::new(publish)));
    }
    sender.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
    for mut receiver in receivers {
        let mut last = std::collections::BTreeMap::new();
        for _ in 0..MESSAGES {
            let message = receiver.message().await;
            let number: usize = text(&message).parse().unwrap();
            let flow = (message.topic.unwrap().to_string(), message.delivery.qos());
            assert!(last.insert(flow, number).is_none_or(|before| before < number));
        }
        receiver.ping().await;
    }
    for _ in 0..MESSAGES / 3 {
        sender.expect(PacketType::PubAck).await;
        sender.expect(PacketType::PubRec).await;
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_come_in_the_order_of_the_messages() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    for (qos, kind) in [(QoS::AtLeastOnce, PacketType::PubAck), (QoS::ExactlyOnce, PacketType::PubRec)] {
        let packets: Vec<_> = (0..500).map(|_| peer.made("t", "", qos)).collect();
        let ids: Vec<_> = packets.iter().map(|packet| packet.delivery.packet_id().unwrap()).collect();
        let packets = packets.into_iter().map(|packet| Packet::Publish(Box::new(packet)));
        peer.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
        for id in ids {
            peer.ack_of(kind, id).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_learns_if_nobody_has_subscribed() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        let nobody =
            if version.has_reason_codes() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            assert_eq!(peer.publish("t", "", qos).await, nobody);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn properties_are_forwarded() {
    let server = server().await;
    let mut old =
        subscriber(&server, of_version(ProtocolVersion::ALL[1], "old", true), &["t"], QoS::AtLeastOnce).await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut publish = other.made("t", "x", qos);
        publish.properties.payload_format_indicator = PayloadFormat::Utf8;
        publish.properties.content_type = Some("text".to_owned());
        publish.properties.response_topic = Some(TopicName::new("answers").unwrap());
        publish.properties.correlation_data = Some("id".into());
        publish.properties.user_properties.push("b", "2");
        publish.properties.user_properties.push("a", "1");
        publish.properties.user_properties.push("b", "2");
        let sent = publish.properties.clone();
        publish.properties.topic_alias = NonZeroU16::new(3);
        other.complete(publish).await;
        assert_eq!(peer.message().await.properties, sent);
        assert_eq!(old.text().await, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_counted_down_and_ends_messages_that_wait() {
    let server = server().await;
    subscriber(&server, lasting("a", 1_000), &["t"], QoS::AtLeastOnce).await.vanishes().await;
    let mut other = client(&server, "b").await;
    for (payload, expiry) in [("5", Some(5)), ("20", Some(20)), ("ever", None)] {
        let mut publish = other.made("t", payload, QoS::AtLeastOnce);
        publish.properties.message_expiry_interval = expiry;
        other.complete(publish).await;
    }
    seconds_pass(8).await;
    let mut peer = connected(&server, lasting("a", 1_000)).await;
    let message = peer.message().await;
    let left = message.properties.message_expiry_interval.unwrap();
    assert!(text(&message) == "20" && (11..=12).contains(&left), "{left}");
    let message = peer.message().await;
    assert_eq!((text(&message).as_str(), message.properties.message_expiry_interval), ("ever", None));
    peer.hears_nothing().await;
    assert_eq!(server.metrics().messages_expired, 1);
}

#[tokio::test(start_paused = true)]
async fn an_alias_of_the_client_stands_for_its_topic() {
    let server = server().await;
    let mut peer = subscriber(&server, clean("a"), &["t/#"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    let aliased = |topic: &str, payload: &str, alias| {
        let mut publish = publish(topic, payload, Default::default());
        publish.properties.topic_alias = NonZeroU16::new(alias);
        Packet::Publish(Box::new(publish))
    };
    for (topic, alias, expected) in [
        ("t/a", 1, "t/a"),
        ("t/b", 32, "t/b"),
        ("", 1, "t/a"),
        ("", 32, "t/b"),
        ("t/c", 1, "t/c"),
        ("", 1, "t/c"),
    ] {
        other.send(aliased(topic, "x", alias)).await;
        assert_eq!(peer.message().await.topic.unwrap().as_str(), expected);
    }
    // Above the maximum, never set, and 0, which the codec cannot write.
    for (topic, alias, reason) in
        [("t/a", 33, ReasonCode::TopicAliasInvalid), ("", 5, ReasonCode::ProtocolError)]
    {
        let mut bad = client(&server, "bad").await;
        bad.send(aliased(topic, "x", alias)).await;
        bad.is_disconnected(reason).await;
    }
    let mut bad = client(&server, "bad").await;
    bad.send_bytes(&[0x30, 7, 0, 1, b't', 3, 0x23, 0, 0]).await;
    bad.is_disconnected(ReasonCode::TopicAliasInvalid).await;
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_uses_as_many_aliases_as_the_client_allows() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.topic_alias_maximum = Some(2);
    let mut peer = subscriber(&server, connect, &["t/#"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    let mut known: [Option<String>; 2] = [None, None];
    let mut shortened = 0;
    for round in 0..60 {
        let expected = format!("t/a-long-topic/{}", [0, 0, 0, 1, 2][round % 5]);
        other.publish(&expected, "x", ALL_QOS[round % 2]).await;
        let message = peer.message().await;
        let topic = message.topic.map(|topic| topic.to_string());
        let topic = match (topic, message.properties.topic_alias.map(|alias| usize::from(alias.get()))) {
            (Some(topic), None) => topic,
            (Some(topic), Some(alias)) => known[alias - 1].insert(topic).clone(),
            (None, Some(alias)) => {
                shortened += 1;
                known[alias - 1].clone().unwrap()
            }
            (None, None) => panic!("neither topic nor alias"),
        };
        assert_eq!(topic, expected);
    }
    assert!(shortened > 20, "{shortened}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_a_wildcard_or_none_is_refused() {
    let server = server().await;
    for (bytes, reason) in [
        (&[0x30_u8, 6, 0, 3, b'a', b'/', b'+', 0][..], ReasonCode::TopicNameInvalid),
        (&[0x30, 4, 0, 1, b'#', 0], ReasonCode::TopicNameInvalid),
        (&[0x30, 3, 0, 0, 0], ReasonCode::ProtocolError),
    ] {
        let mut peer = client(&server, "a").await;
        peer.send_bytes(bytes).await;
        peer.is_disconnected(reason).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_too_many_levels_is_refused_and_the_connection_goes_on() {
    let server = server_with(ServerOptions::default().max_topic_levels(3)).await;
    let mut peer = subscriber(&server, clean("a"), &["#"], QoS::AtLeastOnce).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(peer.publish("a/b/c/d", "", qos).await, ReasonCode::TopicNameInvalid);
    }
    peer.publish("a/b/c/d", "", QoS::AtMostOnce).await;
    assert_eq!(peer.publish("a/b/c", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(peer.text().await, "x");
    assert_eq!(server.metrics().dropped.total(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_qos_above_the_maximum_is_a_violation() {
    let server = server_with(ServerOptions::default().maximum_qos(QoS::AtLeastOnce)).await;
    let mut peer = client(&server, "a").await;
    let publish = peer.made("t", "", QoS::ExactlyOnce);
    peer.send(Packet::Publish(Box::new(publish))).await;
    peer.is_disconnected(ReasonCode::QoSNotSupported).await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_above_the_maximum_ends_the_connection() {
    let server = server_with(ServerOptions::default().max_packet_size(1_000)).await;
    for version in ProtocolVersion::ALL {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        peer.publish("t", &"x".repeat(900), QoS::AtLeastOnce).await;
        let large = publish("t", &"x".repeat(1_000), Default::default());
        peer.send(Packet::Publish(Box::new(large))).await;
        if version.server_may_disconnect() {
            peer.is_disconnected(ReasonCode::PacketTooLarge).await;
        } else {
            peer.hears_the_end().await;
        }
    }
    assert_eq!(server.metrics().violations, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_a_receiver_is_dropped_for_it_alone() {
    let server = server().await;
    let mut connect = clean("small");
    connect.properties.maximum_packet_size = NonZeroU32::new(100);
    let mut small = subscriber(&server, connect, &["t"], QoS::ExactlyOnce).await;
    let mut large = subscriber(&server, clean("large"), &["t"], QoS::ExactlyOnce).await;
    let mut aliased = clean("aliased");
    aliased.properties.topic_alias_maximum = Some(10);
    aliased.properties.maximum_packet_size = NonZeroU32::new(100);
    let mut aliased = subscriber(&server, aliased, &["t"], QoS::ExactlyOnce).await;
    let mut other = client(&server, "b").await;
    for qos in ALL_QOS {
        for size in [50, 200, 5_000, 60] {
            other.publish("t", &"x".repeat(size), qos).await;
        }
    }
    for _ in ALL_QOS {
        for size in [50, 200, 5_000, 60] {
            assert_eq!(large.text().await.len(), size);
            if size < 100 {
                assert_eq!(small.text().await.len(), size);
                assert_eq!(aliased.text().await.len(), size);
            }
        }
    }
    assert_eq!(server.metrics().dropped.total(), 12);
}

#[tokio::test(start_paused = true)]
async fn subscribers_of_one_topic_get_what_each_of_them_asked_for() {
    let server = server().await;
    let mut plain = subscriber(&server, clean("plain"), &["t"], QoS::AtMostOnce).await;
    let mut old =
        subscriber(&server, of_version(ProtocolVersion::ALL[0], "old", true), &["t"], QoS::AtLeastOnce).await;
    let mut named = client(&server, "named").await;
    named.subscribe_with(&[("t", options(QoS::ExactlyOnce))], Some(9)).await;
    let mut other = client(&server, "b").await;
    for qos in ALL_QOS {
        assert_eq!(other.publish("t", "x", qos).await, ReasonCode::Success);
        assert_eq!(plain.message().await.delivery.qos(), QoS::AtMostOnce);
        assert_eq!(old.message().await.delivery.qos(), qos.min(QoS::AtLeastOnce));
        let message = named.message().await;
        assert_eq!((message.delivery.qos(), message.properties.subscription_identifiers), (qos, vec![9]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pubrel_for_a_message_that_nobody_knows_is_answered() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    peer.ack(Packet::PubRel, 9, ReasonCode::Success).await;
    assert_eq!(
        peer.ack_of(PacketType::PubComp, crate::peer::id(9)).await,
        ReasonCode::PacketIdentifierNotFound
    );
    // Nor does an acknowledgement for nothing hurt.
    peer.ack(Packet::PubAck, 9, ReasonCode::Success).await;
    peer.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_its_receiver_refuses_is_complete() {
    let server = server().await;
    let mut connect = lasting("a", 100);
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(&server, connect.clone(), &["t"], QoS::ExactlyOnce).await;
    let mut other = client(&server, "b").await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
        other.publish("t", "x", qos).await;
        let Publish { delivery, .. } = peer.publish_packet().await;
        let kind = if qos == QoS::AtLeastOnce { Packet::PubAck } else { Packet::PubRec };
        peer.ack(kind, delivery.packet_id().unwrap().get(), ReasonCode::NotAuthorized).await;
    }
    peer.ping().await;
    peer.vanishes().await;
    connected(&server, connect).await.hears_nothing().await;
}
