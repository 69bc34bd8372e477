//! What sections 3.4 to 4.13 of MQTT 5.0 demand and no other file shows for this version; the ids are those of
//! `docs/conformance/mqtt-5.0.md`. Statements that a codec or the flows keep are in the tests of `protocol`.

use std::time::Duration;

use gantline_protocol::PacketType;
use gantline_protocol::packet::{Packet, Publish};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    clean, client, connected, lasting, options, seconds_pass, server, server_with, stranger, subscriber, text,
};

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1]
#[tokio::test(start_paused = true)]
async fn a_violation_is_told_before_the_connection_is_closed() {
    use ReasonCode::{
        MalformedPacket, ProtocolError, TopicAliasInvalid, TopicFilterInvalid, TopicNameInvalid,
    };
    let server = server().await;
    let frames: [(&[u8], ReasonCode); 36] = [
        (&[0x00, 0], MalformedPacket),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], MalformedPacket),
        (&[0x36, 6, 0, 1, b'a', 0, 1, 0], MalformedPacket),
        (&[0x38, 4, 0, 1, b'a', 0], MalformedPacket),
        (&[0x30, 4, 0, 1, 0xFF, 0], MalformedPacket),
        (&[0x30, 4, 0, 1, 0, 0], MalformedPacket),
        (&[0x30, 4, 0, 1, b'#', 0], TopicNameInvalid),
        (&[0x30, 3, 0, 0, 0], ProtocolError),
        (&[0x32, 6, 0, 1, b'a', 0, 0, 0], ProtocolError),
        (&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 0], TopicAliasInvalid),
        (&[0x30, 6, 0, 0, 3, 0x23, 0, 1], ProtocolError),
        (&[0x30, 6, 0, 1, b'a', 2, 0x0B, 1], ProtocolError),
        (&[0x42, 2, 0, 1], MalformedPacket),
        (&[0x40, 2, 0, 0], ProtocolError),
        (&[0x40, 3, 0, 1, 0x92], ProtocolError),
        (&[0x50, 3, 0, 1, 0x92], ProtocolError),
        (&[0x60, 2, 0, 1], MalformedPacket),
        (&[0x62, 3, 0, 1, 0x80], ProtocolError),
        (&[0x70, 3, 0, 1, 0x10], ProtocolError),
        (&[0x80, 7, 0, 1, 0, 0, 1, b'a', 0], MalformedPacket),
        (&[0x82, 3, 0, 1, 0], ProtocolError),
        (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 0x40], MalformedPacket),
        (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 3], ProtocolError),
        (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 0x30], ProtocolError),
        (&[0x82, 7, 0, 1, 0, 0, 1, 0xFF, 0], MalformedPacket),
        (&[0x82, 8, 0, 1, 0, 0, 2, b'a', b'#', 0], TopicFilterInvalid),
        (&[0x82, 9, 0, 1, 2, 0x0B, 0, 0, 1, b'a', 0], ProtocolError),
        (&[0xA0, 6, 0, 1, 0, 0, 1, b'a'], MalformedPacket),
        (&[0xA2, 3, 0, 1, 0], ProtocolError),
        (&[0xA2, 6, 0, 1, 0, 0, 1, 0xFF], MalformedPacket),
        (&[0xC1, 0], MalformedPacket),
        (&[0xC0, 1, 0], MalformedPacket),
        (&[0xE1, 0], MalformedPacket),
        (&[0xE0, 1, 0x92], ProtocolError),
        (&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9], ProtocolError),
        (&[0xF1, 0], MalformedPacket),
    ];
    for (frame, reason) in frames {
        let mut peer = client(&server, "a").await;
        peer.send_bytes(frame).await;
        peer.is_disconnected(reason).await;
    }
    assert_eq!(server.metrics().violations, 36);
}

/// [MQTT-3.14.0-1]
#[tokio::test(start_paused = true)]
async fn nobody_is_told_goodbye_who_was_not_let_in() {
    let server = server().await;
    let frames: [&[u8]; 4] =
        [&[0xE0, 0], &[0x00, 0], &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0], &[0x10, 0xFF, 0xFF, 0xFF, 0xFF]];
    for frame in frames {
        let mut peer = stranger(&server);
        peer.send_bytes(frame).await;
        peer.hears_the_end().await;
    }
    let mut peer = stranger(&server);
    tokio::join!(peer.hears_the_end(), server.shutdown(Duration::from_secs(5)));
}

/// [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.10.4-6] [MQTT-3.11.3-1]
#[tokio::test(start_paused = true)]
async fn filters_of_one_packet_count_one_after_the_other() {
    let server = server_with(ServerOptions::default().max_topic_levels(3)).await;
    let mut peer = client(&server, "a").await;
    let filters = [
        ("t", options(QoS::ExactlyOnce)),
        ("a/b/c/d", options(QoS::AtMostOnce)),
        ("t", options(QoS::AtLeastOnce)),
        ("$share/g/t", options(QoS::AtMostOnce)),
    ];
    let granted = [
        ReasonCode::GrantedQoS2,
        ReasonCode::TopicFilterInvalid,
        ReasonCode::GrantedQoS1,
        ReasonCode::Success,
    ];
    assert_eq!(peer.subscribe_with(&filters, Some(7)).await, granted);
    client(&server, "b").await.publish("t", "x", QoS::ExactlyOnce).await;
    let mut qos = [peer.message().await.delivery.qos(), peer.message().await.delivery.qos()];
    qos.sort_unstable();
    assert_eq!(qos, [QoS::AtMostOnce, QoS::AtLeastOnce]);
    let (done, none) = (ReasonCode::Success, ReasonCode::NoSubscriptionExisted);
    let reasons = peer.unsubscribe(&["t", "$share/h/t", "t", "$share/g/t", "a/b/c/d"]).await;
    assert_eq!(reasons, [done, none, none, done, none]);
    peer.hears_nothing().await;
    assert_eq!(server.metrics().subscriptions, 0);
}

/// [MQTT-4.1.0-1] [MQTT-4.1.0-2]
#[tokio::test(start_paused = true)]
async fn the_expiry_of_a_session_counts_from_the_end_of_its_connection() {
    let server = server().await;
    for connect in [clean("a"), lasting("a", 1)] {
        let mut peer = subscriber(&server, connect, &["t"], QoS::ExactlyOnce).await;
        let mut other = client(&server, "b").await;
        other.publish("t", "1", QoS::ExactlyOnce).await;
        let packet_id = peer.publish_packet().await.delivery.packet_id().unwrap();
        seconds_pass(1_000_000).await;
        peer.ack(Packet::PubRec, packet_id.get(), ReasonCode::Success).await;
        peer.ack_of(PacketType::PubRel, packet_id).await;
        other.publish("t", "2", QoS::AtMostOnce).await;
        assert_eq!(peer.text().await, "2");
        peer.vanishes().await;
        seconds_pass(1).await;
        assert_eq!((server.metrics().sessions, server.metrics().subscriptions), (1, 0));
    }
}

/// [MQTT-4.3.3-7] [MQTT-4.3.3-13]
#[tokio::test(start_paused = true)]
async fn the_flow_of_a_message_that_has_expired_is_completed() {
    let server = server().await;
    let mut peer = subscriber(&server, lasting("a", 100), &["t"], QoS::ExactlyOnce).await;
    subscriber(&server, lasting("away", 100), &["t"], QoS::ExactlyOnce).await.vanishes().await;
    let mut other = client(&server, "b").await;
    let mut publish = other.made("t", "x", QoS::ExactlyOnce);
    publish.properties.message_expiry_interval = Some(2);
    let from_other = publish.delivery.packet_id().unwrap();
    other.send(Packet::Publish(Box::new(publish.clone()))).await;
    assert_eq!(other.ack_of(PacketType::PubRec, from_other).await, ReasonCode::Success);
    let sent = peer.publish_packet().await;
    peer.vanishes().await;
    seconds_pass(5).await;
    // The flow to the server goes on, and what comes again is still a duplicate.
    other.send(Packet::Publish(Box::new(Publish { dup: true, ..publish }))).await;
    assert_eq!(other.ack_of(PacketType::PubRec, from_other).await, ReasonCode::Success);
    other.ack(Packet::PubRel, from_other.get(), ReasonCode::Success).await;
    assert_eq!(other.ack_of(PacketType::PubComp, from_other).await, ReasonCode::Success);
    // So does the one from it, once it has begun.
    let mut peer = connected(&server, lasting("a", 100)).await;
    let again = peer.publish_packet().await;
    assert_eq!((again.dup, again.delivery, text(&again)), (true, sent.delivery, text(&sent)));
    let to_peer = again.delivery.packet_id().unwrap();
    peer.ack(Packet::PubRec, to_peer.get(), ReasonCode::Success).await;
    assert_eq!(peer.ack_of(PacketType::PubRel, to_peer).await, ReasonCode::Success);
    peer.ack(Packet::PubComp, to_peer.get(), ReasonCode::Success).await;
    peer.hears_nothing().await;
    connected(&server, lasting("away", 100)).await.hears_nothing().await;
    assert_eq!(server.metrics().messages_expired, 1);
}

/// Section 4.3, and [MQTT-4.3.2-3] [MQTT-4.3.3-3]: such an acknowledgement is none.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_of_the_wrong_kind_is_a_violation_and_the_message_comes_again() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for (qos, wrong) in [
        (QoS::AtLeastOnce, Packet::PubRec as fn(_) -> _),
        (QoS::AtLeastOnce, Packet::PubComp),
        (QoS::ExactlyOnce, Packet::PubAck),
        (QoS::ExactlyOnce, Packet::PubComp),
    ] {
        let mut peer = subscriber(&server, lasting("a", 100), &["t"], QoS::ExactlyOnce).await;
        other.publish("t", "x", qos).await;
        let sent = peer.publish_packet().await;
        peer.ack(wrong, sent.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
        peer.is_disconnected(ReasonCode::ProtocolError).await;
        let mut peer = connected(&server, lasting("a", 100)).await;
        let again = peer.publish_packet().await;
        assert_eq!((again.dup, again.delivery), (true, sent.delivery));
        peer.leave(ReasonCode::Success, Some(0)).await;
    }
}

/// Section 4.3: nobody is at fault while sessions recover.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_of_an_unknown_id_is_answered_if_the_client_waits_for_that() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    for kind in [Packet::PubAck, Packet::PubComp] {
        peer.ack(kind, 7, ReasonCode::Success).await;
    }
    peer.ack(Packet::PubRec, 8, ReasonCode::QuotaExceeded).await;
    peer.ack(Packet::PubRec, 9, ReasonCode::Success).await;
    let unknown = ReasonCode::PacketIdentifierNotFound;
    assert_eq!(peer.ack_of(PacketType::PubRel, crate::peer::id(9)).await, unknown);
    peer.ack(Packet::PubComp, 9, unknown).await;
    peer.ping().await;
    peer.hears_nothing().await;
}
