//! Takeover: a client id has one connection, and it is the last that came.

use std::time::Duration;

use gantline_protocol::packet::Packet;
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, ServerOptions};
use tokio::time::Instant;

use crate::peer::{
    answered, clean, client, connected, encoded, lasting, of_version, server, server_with, settle, stranger,
    subscriber,
};

#[tokio::test(start_paused = true)]
async fn the_connection_before_is_told_and_closed() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        for clean_start in [true, false] {
            let mut old = connected(&server, of_version(version, "a", clean_start)).await;
            let (mut new, connack) = answered(&server, of_version(version, "a", clean_start)).await;
            assert_eq!(connack.session_present, !clean_start && version.has_session_present());
            if version.server_may_disconnect() {
                old.is_disconnected(ReasonCode::SessionTakenOver).await;
            } else {
                old.hears_the_end().await;
            }
            new.ping().await;
            new.goes().await;
            connected(&server, of_version(version, "a", true)).await.goes().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn flows_and_queue_go_over_to_the_new_connection() {
    let server = server().await;
    let mut connect = lasting("a", 100);
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut old = subscriber(&server, connect.clone(), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for number in 1..=4 {
        other.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
    }
    old.publish_packet().await;
    old.publish_packet().await;
    let mut new = connected(&server, connect).await;
    old.is_disconnected(ReasonCode::SessionTakenOver).await;
    for number in 1..=4 {
        let message = new.message().await;
        assert_eq!((crate::peer::text(&message), message.dup), (number.to_string(), number <= 2));
    }
    new.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_read_is_taken_over_at_once() {
    let server = server_with(ServerOptions::default().close_timeout(Duration::from_secs(5))).await;
    let old = subscriber(&server, lasting("a", 100), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for _ in 0..100 {
        other.publish("t", &"x".repeat(4_000), QoS::AtMostOnce).await;
    }
    other.ping().await;
    let began = Instant::now();
    let (mut new, connack) = answered(&server, lasting("a", 100)).await;
    assert!(connack.session_present);
    new.ping().await;
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    // The old one is closed within the time that it has for its goodbye.
    assert_eq!(server.metrics().connections, 3);
    crate::peer::seconds_pass(5).await;
    assert_eq!(server.metrics().connections, 2);
    drop(old);
}

#[tokio::test(start_paused = true)]
async fn of_three_that_come_at_once_the_last_stays() {
    let server = server().await;
    for connect in [clean("a"), lasting("a", 100)] {
        let mut holder = connected(&server, connect.clone()).await;
        let bytes = encoded([Packet::Connect(Box::new(connect))], ProtocolVersion::default());
        let mut peers = [stranger(&server), stranger(&server), stranger(&server)];
        // Nothing else runs between the three: nobody waits in here.
        for peer in &mut peers {
            peer.send_bytes(&bytes).await;
        }
        settle().await;
        holder.is_disconnected(ReasonCode::SessionTakenOver).await;
        let mut alive = 0;
        for peer in &mut peers {
            assert_eq!(peer.connack().await.reason, ReasonCode::Success);
            peer.send(Packet::PingReq).await;
            match peer.receive().await {
                Packet::PingResp => alive += 1,
                Packet::Disconnect(packet) => assert_eq!(packet.reason, ReasonCode::SessionTakenOver),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(alive, 1);
        drop((peers, holder));
        settle().await;
        assert_eq!(server.metrics().connections, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_while_it_is_taken_over_does_not_take_the_new_one_with_it() {
    let server = server().await;
    for connect in [clean("a"), lasting("a", 100)] {
        for _ in 0..20 {
            let old = connected(&server, connect.clone()).await;
            let mut new = stranger(&server);
            let bytes = encoded([Packet::Connect(Box::new(connect.clone()))], ProtocolVersion::default());
            new.send_bytes(&bytes).await;
            drop(old);
            assert_eq!(new.connack().await.reason, ReasonCode::Success);
            new.ping().await;
            new.hears_nothing().await;
            new.vanishes().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_takeovers_in_a_row_leave_one_connection() {
    let server = server().await;
    let mut peers = Vec::new();
    for _ in 0..1_000 {
        peers.push(connected(&server, lasting("a", 100)).await);
    }
    let mut last = peers.pop().unwrap();
    last.ping().await;
    for mut peer in peers {
        peer.is_disconnected(ReasonCode::SessionTakenOver).await;
    }
    settle().await;
    assert_eq!((server.metrics().connections, server.metrics().sessions), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_old_connection_sent_before_it_knew_is_handled() {
    let server = server().await;
    let mut watcher = subscriber(&server, clean("watcher"), &["t"], QoS::AtMostOnce).await;
    let mut old = connected(&server, lasting("a", 100)).await;
    let publish = old.made("t", "1", QoS::AtLeastOnce);
    let id = publish.delivery.packet_id().unwrap();
    old.send(Packet::Publish(Box::new(publish))).await;
    let _new = connected(&server, lasting("a", 100)).await;
    assert_eq!(watcher.text().await, "1");
    assert_eq!(old.ack_of(PacketType::PubAck, id).await, ReasonCode::Success);
    old.is_disconnected(ReasonCode::SessionTakenOver).await;
}
