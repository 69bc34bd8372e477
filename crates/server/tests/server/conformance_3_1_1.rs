//! What 3.1.1 demands and no other file shows for the versions before 5.0; the ids are those of
//! `docs/conformance/mqtt-3.1.1.md`. Statements that a codec keeps are in the tests of `protocol`.

use gantline_protocol::packet::{Connect, Delivery, Packet, Publish};
use gantline_protocol::{PacketType, ProtocolVersion, Will};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    ALL_QOS, answered, client, connected, encoded, id, of_version, options, publish, seconds_pass, server,
    server_with, settle, stranger, subscribe, subscriber, text, will,
};

/// 3.1 and 3.1.1.
fn older() -> impl Iterator<Item = ProtocolVersion> {
    ProtocolVersion::ALL.into_iter().filter(|version| !version.has_properties())
}

fn newest_of_older() -> ProtocolVersion {
    older().last().unwrap()
}

/// [MQTT-4.8.0-1]: no word, because these versions have none.
#[tokio::test(start_paused = true)]
async fn a_violation_closes_the_connection_without_a_word() {
    let server = server().await;
    let frames: [&[u8]; 15] = [
        &[0x00, 0],
        &[0x36, 5, 0, 1, b'a', 0, 1],
        &[0x30, 3, 0, 1, 0xFF],
        &[0x30, 3, 0, 1, 0],
        &[0x30, 3, 0, 1, b'#'],
        &[0x30, 2, 0, 0],
        &[0x32, 5, 0, 1, b'a', 0, 0],
        &[0x60, 2, 0, 1],
        &[0x80, 6, 0, 1, 0, 1, b'a', 0],
        &[0x82, 6, 0, 1, 0, 1, b'a', 3],
        &[0x82, 6, 0, 1, 0, 1, 0xFF, 0],
        &[0x82, 2, 0, 1],
        &[0xA0, 5, 0, 1, 0, 1, b'a'],
        &[0xA2, 2, 0, 1],
        &[0xE1, 0],
    ];
    for version in older() {
        for frame in frames {
            let mut peer = connected(&server, of_version(version, "a", true)).await;
            peer.send_bytes(frame).await;
            peer.hears_the_end().await;
        }
    }
    assert_eq!(server.metrics().violations, 30);
}

/// [MQTT-3.1.2-1]
#[tokio::test(start_paused = true)]
async fn a_connect_of_another_protocol_is_not_taken() {
    let server = server().await;
    for (name, level) in [("MQTX", 4), ("mqtt", 4), ("MQIsdp", 4), ("MQTT", 3), ("", 4)] {
        let mut peer = stranger(&server);
        peer.speaks(newest_of_older());
        let mut bytes = vec![0x10, name.len() as u8 + 9, 0, name.len() as u8];
        bytes.extend(name.bytes());
        bytes.extend([level, 2, 0, 0, 0, 1, b'a']);
        peer.send_bytes(&bytes).await;
        assert_eq!(peer.connack().await.reason, ReasonCode::UnsupportedProtocolVersion, "{name} {level}");
        peer.hears_the_end().await;
    }
    assert_eq!(server.metrics().sessions, 0);
}

/// [MQTT-3.1.3-5]
#[tokio::test(start_paused = true)]
async fn every_id_of_1_to_23_letters_and_digits_is_taken() {
    let server = server().await;
    let characters: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').collect();
    for version in ProtocolVersion::ALL {
        for length in [1, 22, 23] {
            for id in characters.chunks(length).map(String::from_iter) {
                connected(&server, of_version(version, &id, true)).await.goes().await;
            }
        }
    }
}

/// [MQTT-3.1.3-6]
#[tokio::test(start_paused = true)]
async fn clients_without_an_id_are_clients_of_their_own() {
    let server = server().await;
    let connect = of_version(newest_of_older(), "", true);
    let mut one = subscriber(&server, connect.clone(), &["t"], QoS::ExactlyOnce).await;
    let mut two = subscriber(&server, connect, &["t"], QoS::ExactlyOnce).await;
    for qos in ALL_QOS {
        one.publish("t", "x", qos).await;
        assert_eq!((one.text().await, two.text().await), ("x".to_owned(), "x".to_owned()));
    }
    one.goes().await;
    two.vanishes().await;
    assert_eq!(server.metrics().sessions, 0);
}

/// [MQTT-3.1.3-8] [MQTT-3.1.4-5]
#[tokio::test(start_paused = true)]
async fn what_a_refused_client_sends_behind_its_connect_is_not_handled() {
    let server = server().await;
    let mut watcher =
        subscriber(&server, of_version(newest_of_older(), "w", true), &["#"], QoS::AtMostOnce).await;
    for version in older() {
        let mut peer = stranger(&server);
        peer.speaks(version);
        let retained = Publish { retain: true, ..publish("t", "x", Delivery::AtMostOnce) };
        let connect = Packet::Connect(Box::new(of_version(version, "", false)));
        peer.send_bytes(&encoded([connect, Packet::Publish(Box::new(retained))], version)).await;
        let connack = peer.connack().await;
        assert_eq!((connack.reason, connack.session_present), (ReasonCode::ClientIdentifierNotValid, false));
        peer.hears_the_end().await;
    }
    watcher.hears_nothing().await;
    assert_eq!(server.metrics().retained_messages, 0);
}

/// [MQTT-3.2.2-4] [MQTT-3.2.2-5]
#[tokio::test(start_paused = true)]
async fn a_refusal_says_nothing_of_the_session_and_leaves_it() {
    let server = server_with(ServerOptions::default().retain_available(false)).await;
    let connect = of_version(newest_of_older(), "a", false);
    subscriber(&server, connect.clone(), &["t"], QoS::AtLeastOnce).await.vanishes().await;
    let will = will("t", "", 0).map(|will| Will { retain: true, ..will });
    let (mut peer, connack) = answered(&server, Connect { will, ..connect.clone() }).await;
    assert!(connack.reason.is_error() && !connack.session_present);
    peer.hears_the_end().await;
    assert!(answered(&server, connect).await.1.session_present);
}

/// [MQTT-3.1.2-6]
#[tokio::test(start_paused = true)]
async fn a_clean_session_begins_with_nothing_and_leaves_nothing() {
    let server = server().await;
    for version in older() {
        let mut other = client(&server, "b").await;
        let (clean, kept) = (of_version(version, "a", true), of_version(version, "a", false));
        subscriber(&server, kept.clone(), &["t"], QoS::AtLeastOnce).await.vanishes().await;
        other.publish("t", "before", QoS::AtLeastOnce).await;
        let mut peer = connected(&server, clean).await;
        other.publish("t", "nobody", QoS::AtLeastOnce).await;
        peer.hears_nothing().await;
        peer.subscribe("t", QoS::AtLeastOnce).await;
        other.publish("t", "begun", QoS::AtLeastOnce).await;
        assert_eq!(text(&peer.publish_packet().await), "begun");
        peer.vanishes().await;
        other.publish("t", "behind", QoS::AtLeastOnce).await;
        let (mut peer, connack) = answered(&server, kept).await;
        assert!(!connack.session_present);
        other.publish("t", "nobody", QoS::AtLeastOnce).await;
        peer.hears_nothing().await;
        peer.goes().await;
        connected(&server, of_version(version, "a", true)).await.goes().await;
    }
}

/// [MQTT-4.1.0-2]
#[tokio::test(start_paused = true)]
async fn a_session_lasts_as_long_as_its_connection() {
    let server = server().await;
    for version in older() {
        let mut peer = subscriber(&server, of_version(version, "a", true), &["t"], QoS::ExactlyOnce).await;
        let mut other = connected(&server, of_version(version, "b", true)).await;
        other.publish("t", "1", QoS::ExactlyOnce).await;
        let packet_id = peer.publish_packet().await.delivery.packet_id().unwrap();
        seconds_pass(1_000_000).await;
        peer.ack(Packet::PubRec, packet_id.get(), ReasonCode::Success).await;
        peer.ack_of(PacketType::PubRel, packet_id).await;
        other.publish("t", "2", QoS::AtMostOnce).await;
        assert_eq!(peer.text().await, "2");
    }
}

/// [MQTT-4.4.0-1] [MQTT-4.6.0-1]
#[tokio::test(start_paused = true)]
async fn what_is_unacknowledged_comes_again_in_its_order_with_its_id() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let connect = of_version(version, "a", false);
        let mut peer = subscriber(&server, connect.clone(), &["t"], QoS::ExactlyOnce).await;
        let mut other = client(&server, "b").await;
        let mut open = Vec::new();
        for (payload, qos) in [("1", QoS::ExactlyOnce), ("2", QoS::AtLeastOnce), ("3", QoS::ExactlyOnce)] {
            other.publish("t", payload, qos).await;
            let publish = peer.publish_packet().await;
            assert!(!publish.dup);
            open.push(publish.delivery);
        }
        let received = open[0].packet_id().unwrap();
        peer.ack(Packet::PubRec, received.get(), ReasonCode::Success).await;
        peer.ack_of(PacketType::PubRel, received).await;
        peer.vanishes().await;
        let mut peer = connected(&server, connect).await;
        for (delivery, payload) in [(open[1], "2"), (open[2], "3")] {
            let publish = peer.publish_packet().await;
            assert_eq!((publish.dup, publish.delivery, text(&publish).as_str()), (true, delivery, payload));
        }
        peer.ack_of(PacketType::PubRel, received).await;
        connected(&server, of_version(version, "a", true)).await.goes().await;
    }
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-16]
#[tokio::test(start_paused = true)]
async fn a_will_is_published_once_however_the_connection_ends() {
    let server = server().await;
    for version in older() {
        for end in ["lost", "broken", "silent", "taken over"] {
            let mut watcher =
                subscriber(&server, of_version(version, "w", true), &["#"], QoS::AtMostOnce).await;
            let kept = of_version(version, "a", false);
            let connect = Connect { will: will("will", "gone", 0), keep_alive: 2, ..kept.clone() };
            let mut peer = connected(&server, connect).await;
            match end {
                "lost" => peer.vanishes().await,
                "broken" => peer.send_bytes(&[0x00, 0]).await,
                "silent" => peer.hears_the_end().await,
                _ => connected(&server, kept.clone()).await.goes().await,
            }
            let message = watcher.message().await;
            assert_eq!((text(&message).as_str(), message.retain), ("gone", false), "{version} {end}");
            // It went with its connection, and nothing of it is kept for others.
            connected(&server, kept).await.vanishes().await;
            let mut late = subscriber(&server, of_version(version, "l", true), &["#"], QoS::AtMostOnce).await;
            late.hears_nothing().await;
            watcher.hears_nothing().await;
        }
    }
}

/// [MQTT-3.1.2-17]
#[tokio::test(start_paused = true)]
async fn a_retained_will_is_kept_for_those_who_come_later() {
    let server = server().await;
    for version in older() {
        for qos in ALL_QOS {
            let will = will("will", "gone", 0).map(|will| Will { retain: true, qos, ..will });
            connected(&server, Connect { will, ..of_version(version, "a", true) }).await.vanishes().await;
            let mut late =
                subscriber(&server, of_version(version, "l", true), &["will"], QoS::ExactlyOnce).await;
            let message = late.message().await;
            assert_eq!((text(&message).as_str(), message.retain), ("gone", true));
            assert_eq!(message.delivery.qos(), qos);
            client(&server, "b").await.publish_retained("will", "", QoS::AtMostOnce).await;
        }
    }
}

/// [MQTT-3.3.1-3]
#[tokio::test(start_paused = true)]
async fn dup_is_not_passed_on() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let mut peer = subscriber(&server, of_version(version, "a", true), &["t"], QoS::ExactlyOnce).await;
        let mut other = connected(&server, of_version(version, "b", true)).await;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = Publish { dup: true, ..other.made("t", "x", qos) };
            other.complete(publish).await;
            let message = peer.message().await;
            assert_eq!((message.dup, message.delivery.qos()), (false, qos));
        }
    }
}

/// [MQTT-3.3.1-7] [MQTT-3.3.1-8] [MQTT-3.3.1-9]
#[tokio::test(start_paused = true)]
async fn a_retained_message_replaces_another_of_any_qos() {
    let server = server().await;
    let connect = |id| of_version(newest_of_older(), id, true);
    let mut live = subscriber(&server, connect("live"), &["t"], QoS::ExactlyOnce).await;
    let mut other = connected(&server, connect("b")).await;
    for (number, qos) in [(0, 2), (1, 0), (2, 1), (3, 0), (4, 2)] {
        let qos = ALL_QOS[qos];
        other.publish_retained("t", &number.to_string(), qos).await;
        let mut late = subscriber(&server, connect("late"), &["t"], QoS::ExactlyOnce).await;
        for (peer, retain) in [(&mut live, false), (&mut late, true)] {
            let message = peer.message().await;
            assert_eq!((text(&message), message.retain), (number.to_string(), retain));
            assert_eq!(message.delivery.qos(), qos);
        }
        late.goes().await;
    }
}

/// [MQTT-3.3.5-1]
#[tokio::test(start_paused = true)]
async fn overlapping_filters_bring_one_copy_with_the_highest_qos() {
    let server = server().await;
    for version in older() {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        for (filter, qos) in [("t/#", QoS::AtMostOnce), ("t/u", QoS::ExactlyOnce), ("+/u", QoS::AtLeastOnce)]
        {
            peer.subscribe(filter, qos).await;
        }
        for qos in ALL_QOS {
            client(&server, "b").await.publish("t/u", "x", qos).await;
            assert_eq!(peer.message().await.delivery.qos(), qos);
        }
        peer.expect(PacketType::PubRel).await;
        peer.hears_nothing().await;
    }
}

/// [MQTT-3.3.5-2]
#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_taken_is_acknowledged_as_if_it_were() {
    let server = server_with(ServerOptions::default().max_topic_levels(2)).await;
    for version in older() {
        let mut peer = subscriber(&server, of_version(version, "a", true), &["#"], QoS::ExactlyOnce).await;
        for qos in ALL_QOS {
            assert_eq!(peer.publish("a/b/c", "", qos).await, ReasonCode::Success);
        }
        peer.ping().await;
        peer.hears_nothing().await;
    }
}

/// [MQTT-3.8.4-3]
#[tokio::test(start_paused = true)]
async fn the_same_filter_again_replaces_and_brings_retained_messages_again() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    other.publish_retained("t", "kept", QoS::ExactlyOnce).await;
    for version in older() {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtMostOnce] {
            assert_eq!(peer.subscribe("t", qos).await, ReasonCode::granted(qos));
            let message = peer.message().await;
            assert_eq!((message.retain, message.delivery.qos()), (true, qos));
            other.publish("t", "live", QoS::ExactlyOnce).await;
            let message = peer.message().await;
            assert_eq!((text(&message).as_str(), message.delivery.qos()), ("live", qos));
            peer.hears_nothing().await;
        }
        assert_eq!(server.metrics().subscriptions, 1);
        peer.goes().await;
    }
}

/// [MQTT-3.8.4-4]
#[tokio::test(start_paused = true)]
async fn filters_of_one_packet_count_one_after_the_other() {
    let server = server().await;
    for version in older() {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        let filters = [
            ("t", options(QoS::ExactlyOnce)),
            ("u", options(QoS::AtMostOnce)),
            ("t", options(QoS::AtLeastOnce)),
        ];
        peer.send(Packet::Subscribe(subscribe(id(7), &filters, None))).await;
        let Packet::SubAck(suback) = peer.receive().await else { panic!("expected SUBACK") };
        assert_eq!(suback.packet_id, id(7));
        assert_eq!(suback.reasons, [ReasonCode::GrantedQoS2, ReasonCode::Success, ReasonCode::GrantedQoS1]);
        client(&server, "b").await.publish("t", "x", QoS::ExactlyOnce).await;
        assert_eq!(peer.message().await.delivery.qos(), QoS::AtLeastOnce);
        peer.hears_nothing().await;
    }
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-5]
#[tokio::test(start_paused = true)]
async fn unsubscribing_compares_texts_and_is_always_answered() {
    let server = server().await;
    for version in older() {
        let filters = ["a/b", "a/+", "a/#", "\u{E9}"];
        let mut peer = subscriber(&server, of_version(version, "a", true), &filters, QoS::AtLeastOnce).await;
        for other in ["+/b", "A/b", "a", "a/b/", "#", "e\u{301}"] {
            peer.unsubscribe(&[other]).await;
            assert_eq!(server.metrics().subscriptions, 4, "{other}");
        }
        for (number, filter) in (1..).zip(filters) {
            peer.unsubscribe(&[filter]).await;
            assert_eq!(server.metrics().subscriptions, 4 - number, "{filter}");
        }
    }
}

/// [MQTT-3.10.4-3]
#[tokio::test(start_paused = true)]
async fn what_was_begun_is_completed_behind_unsuback() {
    let server = server().await;
    for version in older() {
        let connect = of_version(version, "a", false);
        let mut peer = subscriber(&server, connect.clone(), &["t"], QoS::ExactlyOnce).await;
        let mut other = client(&server, "b").await;
        let mut ids = Vec::new();
        for qos in [QoS::ExactlyOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            other.publish("t", "x", qos).await;
            ids.push(peer.publish_packet().await.delivery.packet_id().unwrap());
        }
        peer.unsubscribe(&["t"]).await;
        peer.ack(Packet::PubRec, ids[0].get(), ReasonCode::Success).await;
        peer.ack_of(PacketType::PubRel, ids[0]).await;
        peer.ack(Packet::PubComp, ids[0].get(), ReasonCode::Success).await;
        peer.vanishes().await;
        let mut peer = connected(&server, connect).await;
        for id in &ids[1..] {
            assert_eq!(peer.publish_packet().await.delivery.packet_id(), Some(*id));
        }
        peer.ack(Packet::PubRec, ids[1].get(), ReasonCode::Success).await;
        peer.ack_of(PacketType::PubRel, ids[1]).await;
        peer.hears_nothing().await;
        connected(&server, of_version(version, "a", true)).await.goes().await;
    }
}

/// [MQTT-4.7.3-4] [MQTT-1.5.3-3]
#[tokio::test(start_paused = true)]
async fn texts_are_compared_as_they_are() {
    let server = server().await;
    let topics =
        ["a", "A", "a ", " a", "\u{FEFF}a", "\u{E9}", "e\u{301}", "\u{FB01}", "fi", "\u{FFFF}", "a\u{1}"];
    let mut other = connected(&server, of_version(newest_of_older(), "b", true)).await;
    for filter in topics {
        let connect = of_version(newest_of_older(), "a", true);
        let mut peer = subscriber(&server, connect, &[filter], QoS::AtMostOnce).await;
        for topic in topics {
            other.publish(topic, topic, QoS::AtMostOnce).await;
        }
        other.ping().await;
        let message = peer.message().await;
        assert_eq!((message.topic.as_ref().unwrap().as_str(), text(&message).as_str()), (filter, filter));
        peer.hears_nothing().await;
        peer.goes().await;
        settle().await;
    }
}
