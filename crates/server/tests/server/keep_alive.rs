//! Keep alive: the server gives a silent client up after one and a half times its keep alive.

use std::time::Duration;

use gantline_protocol::packet::{Connect, Packet};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, ServerOptions};
use tokio::time::Instant;

use crate::peer::{
    answered, clean, client, connected, lasting, of_version, seconds_pass, server, server_with, subscriber,
};

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_given_up_after_one_and_a_half_times_its_keep_alive() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let began = Instant::now();
        let connect = Connect { keep_alive: 10, ..of_version(version, "a", true) };
        let mut peer = connected(&server, connect).await;
        if version.server_may_disconnect() {
            peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
        } else {
            peer.hears_the_end().await;
        }
        let elapsed = began.elapsed();
        assert!(
            elapsed >= Duration::from_secs(15) && elapsed <= Duration::from_millis(15_200),
            "{elapsed:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_client_sends_is_a_sign_of_life() {
    let server = server().await;
    let mut peer = connected(&server, Connect { keep_alive: 2, ..clean("a") }).await;
    for round in 0..20 {
        seconds_pass(2).await;
        match round % 3 {
            0 => peer.ping().await,
            1 => drop(peer.publish("t", "", QoS::AtMostOnce).await),
            _ => drop(peer.subscribe("t/u", QoS::AtMostOnce).await),
        }
    }
    peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_takes_long_is_a_sign_of_life() {
    let server = server().await;
    let mut peer = connected(&server, Connect { keep_alive: 2, ..clean("a") }).await;
    // 16 KiB, a kibibyte at a time.
    peer.send_bytes(&[0x30, 0x84, 0x80, 0x01, 0, 1, b't', 0]).await;
    for _ in 0..16 {
        seconds_pass(2).await;
        peer.send_bytes(&[b'x'; 1_024]).await;
    }
    peer.ping().await;
    // A byte now and then is none.
    peer.send_bytes(&[0x30, 20, 0, 1, b't', 0]).await;
    for _ in 0..2 {
        seconds_pass(1).await;
        peer.send_bytes(b"x").await;
    }
    peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_server_sends_is_no_sign_of_life() {
    let server = server().await;
    let connect = Connect { keep_alive: 4, ..clean("a") };
    let mut peer = subscriber(&server, connect, &["t"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    for _ in 0..5 {
        seconds_pass(1).await;
        other.publish("t", "x", QoS::AtMostOnce).await;
        assert_eq!(peer.text().await, "x");
    }
    peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_nobody_is_given_up() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    seconds_pass(1_000_000).await;
    peer.ping().await;
}

#[tokio::test(start_paused = true)]
async fn the_keep_alive_of_the_server_counts() {
    let server = server_with(ServerOptions::default().keep_alive_max(10)).await;
    for (asked, told) in [(0, Some(10)), (100, Some(10)), (4, None)] {
        let began = Instant::now();
        let (mut peer, connack) = answered(&server, Connect { keep_alive: asked, ..clean("a") }).await;
        assert_eq!(connack.properties.server_keep_alive, told);
        peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
        assert_eq!(began.elapsed().as_secs(), u64::from(told.unwrap_or(asked)) * 3 / 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_client_that_was_given_up_stays() {
    let server = server().await;
    let connect = Connect { keep_alive: 2, ..lasting("a", 100) };
    let mut peer = subscriber(&server, connect.clone(), &["t"], QoS::AtLeastOnce).await;
    peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
    client(&server, "b").await.publish("t", "x", QoS::AtLeastOnce).await;
    let (mut peer, connack) = answered(&server, connect).await;
    assert!(connack.session_present);
    assert_eq!(peer.text().await, "x");
    // The silence of the connection before does not count.
    seconds_pass(2).await;
    peer.send(Packet::PingReq).await;
    peer.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_heard_all_the_same() {
    let server = server().await;
    let connect = Connect { keep_alive: 2, ..clean("a") };
    let mut peer = subscriber(&server, connect, &["t"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    for _ in 0..500 {
        other.publish("t", &"x".repeat(4_000), QoS::AtMostOnce).await;
    }
    // What waits is on its way at once as soon as there is room.
    for _ in 0..100 {
        peer.publish_packet().await;
    }
    for _ in 0..10 {
        seconds_pass(1).await;
        peer.send(Packet::PingReq).await;
    }
    for _ in 0..10 {
        peer.expect(PacketType::PingResp).await;
    }
    for _ in 0..400 {
        assert_eq!(peer.publish_packet().await.payload.len(), 4_000);
    }
}
