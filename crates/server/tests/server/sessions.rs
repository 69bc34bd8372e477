//! Sessions: what is kept while a client is away, for how long, and how it goes on.

use gantline_protocol::packet::{Connect, Delivery, Packet};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    answered, clean, client, connected, lasting, of_version, seconds_pass, server, server_with, settle,
    subscriber, text,
};

#[tokio::test(start_paused = true)]
async fn a_session_is_there_until_a_clean_start() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let present = |expected: bool| expected && version.has_session_present();
        for expected in [false, true, true] {
            let (peer, connack) = answered(&server, of_version(version, "a", false)).await;
            assert_eq!(connack.session_present, present(expected), "{version}");
            peer.vanishes().await;
        }
        for _ in 0..2 {
            let (peer, connack) = answered(&server, of_version(version, "a", true)).await;
            assert!(!connack.session_present);
            peer.goes().await;
        }
        let (peer, connack) = answered(&server, of_version(version, "a", false)).await;
        assert!(!connack.session_present);
        peer.goes().await;
        answered(&server, of_version(version, "a", true)).await.0.goes().await;
    }
    assert_eq!((server.metrics().sessions, server.metrics().subscriptions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_clean_start_forgets_subscriptions_and_what_waited() {
    let server = server().await;
    subscriber(&server, lasting("a", 100), &["t"], QoS::AtLeastOnce).await.vanishes().await;
    let mut other = client(&server, "b").await;
    assert_eq!(other.publish("t", "1", QoS::AtLeastOnce).await, ReasonCode::Success);
    let mut peer = connected(&server, Connect { clean_start: true, ..lasting("a", 100) }).await;
    assert_eq!(other.publish("t", "2", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
    peer.hears_nothing().await;
    assert_eq!(server.metrics().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_its_expiry_and_not_before() {
    let server = server().await;
    for (away, present) in [(9, true), (11, false)] {
        connected(&server, lasting("a", 10)).await.vanishes().await;
        seconds_pass(away).await;
        let (peer, connack) = answered(&server, lasting("a", 10)).await;
        assert_eq!(connack.session_present, present, "{away}");
        peer.leave(ReasonCode::Success, Some(0)).await;
    }
    subscriber(&server, lasting("a", 10), &["x", "y/#", "$share/g/z"], QoS::AtLeastOnce)
        .await
        .vanishes()
        .await;
    assert_eq!((server.metrics().sessions, server.metrics().subscriptions), (1, 3));
    seconds_pass(10).await;
    assert_eq!((server.metrics().sessions, server.metrics().subscriptions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_without_end_does_not_end() {
    let server = server().await;
    connected(&server, lasting("a", u32::MAX)).await.vanishes().await;
    seconds_pass(1 << 33).await;
    assert!(answered(&server, lasting("a", 0)).await.1.session_present);
}

#[tokio::test(start_paused = true)]
async fn an_expiry_counts_from_the_last_connection() {
    let server = server().await;
    for _ in 0..5 {
        connected(&server, lasting("a", 10)).await.vanishes().await;
        seconds_pass(8).await;
    }
    assert!(answered(&server, lasting("a", 10)).await.1.session_present);
}

#[tokio::test(start_paused = true)]
async fn disconnect_changes_the_expiry() {
    let server = server_with(ServerOptions::default().session_expiry_max(50)).await;
    for (said, away, present) in [
        (Some(20), 15, true),
        (Some(5), 6, false),
        (Some(0), 0, false),
        (None, 9, true),
        (Some(100), 51, false),
    ] {
        connected(&server, lasting("a", 10)).await.leave(ReasonCode::Success, said).await;
        seconds_pass(away).await;
        let (peer, connack) = answered(&server, lasting("a", 10)).await;
        assert_eq!(connack.session_present, present, "{said:?}");
        peer.leave(ReasonCode::Success, Some(0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_to_end_cannot_be_kept_after_all() {
    let server = server().await;
    for expiry in [None, Some(0)] {
        let mut connect = clean("a");
        connect.properties.session_expiry_interval = expiry;
        let mut peer = connected(&server, connect).await;
        peer.send_bytes(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
        peer.is_disconnected(ReasonCode::ProtocolError).await;
        assert!(!answered(&server, lasting("a", 0)).await.1.session_present);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_wait_in_order_for_a_client_that_is_away() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let connect = of_version(version, "a", false);
        let peer = subscriber(&server, connect.clone(), &["t/#"], QoS::ExactlyOnce).await;
        peer.vanishes().await;
        let mut other = client(&server, "b").await;
        for number in 0..300 {
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
            other.publish("t/u", &number.to_string(), qos).await;
            other.publish("t/u", "lost", QoS::AtMostOnce).await;
        }
        let mut peer = connected(&server, connect).await;
        for number in 0..300 {
            let message = peer.message().await;
            assert_eq!((text(&message), message.dup), (number.to_string(), false));
            assert_eq!(message.delivery.qos(), [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2]);
        }
        peer.leave(ReasonCode::Success, None).await;
        connected(&server, of_version(version, "a", true)).await.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_survives_and_carries_qos_0_again_after_the_return() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let connect = of_version(version, "a", false);
        subscriber(&server, connect.clone(), &["t"], QoS::AtMostOnce).await.vanishes().await;
        let mut other = client(&server, "b").await;
        // The publisher learns who gets it while the client is away.
        other.publish("t", "lost", QoS::AtMostOnce).await;
        other.ping().await;
        let mut peer = connected(&server, connect).await;
        other.publish("t", "1", QoS::AtMostOnce).await;
        assert_eq!(peer.text().await, "1", "{version}");
        connected(&server, of_version(version, "a", true)).await.goes().await;
    }
    assert_eq!(server.metrics().dropped.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_in_another_version() {
    let server = server().await;
    for before in ProtocolVersion::ALL {
        for after in ProtocolVersion::ALL {
            let mut peer =
                subscriber(&server, of_version(before, "a", false), &["t"], QoS::AtLeastOnce).await;
            let mut other = client(&server, "b").await;
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                other.publish("t", "1", qos).await;
                assert_eq!(peer.text().await, "1");
            }
            peer.ping().await;
            peer.vanishes().await;
            other.publish("t", "2", QoS::AtLeastOnce).await;
            other.publish("t", "lost", QoS::AtMostOnce).await;
            let mut peer = connected(&server, of_version(after, "a", false)).await;
            assert_eq!(peer.text().await, "2", "{before} {after}");
            other.publish("t", "3", QoS::AtMostOnce).await;
            assert_eq!(peer.text().await, "3", "{before} {after}");
            connected(&server, of_version(after, "a", true)).await.goes().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_is_sent_again_with_dup_and_the_same_id() {
    let server = server().await;
    let mut peer = subscriber(&server, lasting("a", 100), &["t"], QoS::ExactlyOnce).await;
    let mut other = client(&server, "b").await;
    for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::AtLeastOnce)] {
        other.publish("t", payload, qos).await;
    }
    let mut deliveries = Vec::with_capacity(4);
    for _ in 0..3 {
        let publish = peer.publish_packet().await;
        assert!(!publish.dup);
        deliveries.push(publish.delivery);
    }
    peer.vanishes().await;
    other.publish("t", "4", QoS::AtLeastOnce).await;
    for _ in 0..2 {
        let mut peer = connected(&server, lasting("a", 100)).await;
        for (number, delivery) in (1..).zip(&deliveries) {
            let publish = peer.publish_packet().await;
            assert_eq!(
                (publish.dup, publish.delivery, text(&publish)),
                (true, *delivery, number.to_string())
            );
        }
        if deliveries.len() == 3 {
            let publish = peer.publish_packet().await;
            assert_eq!((text(&publish).as_str(), publish.dup), ("4", false));
            deliveries.push(publish.delivery);
        }
        peer.hears_nothing().await;
        peer.vanishes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_of_qos_2_goes_on_where_it_stood() {
    let server = server().await;
    let mut peer = subscriber(&server, lasting("a", 100), &["t"], QoS::ExactlyOnce).await;
    client(&server, "b").await.publish("t", "1", QoS::ExactlyOnce).await;
    let Delivery::ExactlyOnce(id) = peer.publish_packet().await.delivery else { panic!() };
    peer.ack(Packet::PubRec, id.get(), ReasonCode::Success).await;
    peer.ack_of(PacketType::PubRel, id).await;
    peer.vanishes().await;
    // The message is not sent again, only its release.
    let mut peer = connected(&server, lasting("a", 100)).await;
    assert_eq!(peer.ack_of(PacketType::PubRel, id).await, ReasonCode::Success);
    peer.ack(Packet::PubComp, id.get(), ReasonCode::Success).await;
    peer.hears_nothing().await;
    peer.vanishes().await;
    connected(&server, lasting("a", 100)).await.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_qos_2_is_published_once_however_often_it_comes() {
    let server = server().await;
    let mut watcher = subscriber(&server, clean("watcher"), &["t"], QoS::AtMostOnce).await;
    let mut peer = connected(&server, lasting("a", 100)).await;
    let mut publish = peer.made("t", "1", QoS::ExactlyOnce);
    let id = publish.delivery.packet_id().unwrap();
    for round in 0..3 {
        for _ in 0..2 {
            peer.send(Packet::Publish(Box::new(publish.clone()))).await;
            assert!(!peer.ack_of(PacketType::PubRec, id).await.is_error());
            publish.dup = true;
        }
        if round < 2 {
            peer.vanishes().await;
            peer = connected(&server, lasting("a", 100)).await;
        }
    }
    assert_eq!(watcher.text().await, "1");
    watcher.hears_nothing().await;
    peer.ack(Packet::PubRel, id.get(), ReasonCode::Success).await;
    assert_eq!(peer.ack_of(PacketType::PubComp, id).await, ReasonCode::Success);
    peer.ack(Packet::PubRel, id.get(), ReasonCode::Success).await;
    assert_eq!(peer.ack_of(PacketType::PubComp, id).await, ReasonCode::PacketIdentifierNotFound);
    // The id is free for another message.
    peer.complete(gantline_protocol::Publish { dup: false, payload: "2".into(), ..publish }).await;
    assert_eq!(watcher.text().await, "2");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_client_that_is_away_is_bounded() {
    let server = server_with(ServerOptions::default().max_parked_messages(10)).await;
    let mut peer = subscriber(&server, lasting("a", 100), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    // Behind an exhausted window more may wait than for one that is away.
    other.publish("t", "0", QoS::AtLeastOnce).await;
    peer.publish_packet().await;
    peer.vanishes().await;
    for number in 1..=25 {
        other.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
    }
    assert_eq!(server.metrics().dropped.total(), 15);
    let mut peer = connected(&server, lasting("a", 100)).await;
    assert_eq!(peer.text().await, "0");
    for number in 16..=25 {
        assert_eq!(peer.text().await, number.to_string());
    }
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn many_clients_come_and_go_and_leave_nothing() {
    let server = server().await;
    for round in 0..3 {
        let mut peers = Vec::new();
        for number in 0..50 {
            let id = format!("client-{number}");
            let connect = if round == 1 { lasting(&id, 5) } else { clean(&id) };
            peers.push(subscriber(&server, connect, &["a/#", "$share/g/b", &id], QoS::AtLeastOnce).await);
        }
        assert_eq!((server.metrics().sessions, server.metrics().subscriptions), (50, 150));
        drop(peers);
        settle().await;
        seconds_pass(6).await;
        let metrics = server.metrics();
        assert_eq!(
            (metrics.sessions, metrics.subscriptions, metrics.connections, metrics.queued_bytes),
            (0, 0, 0, 0)
        );
    }
}
