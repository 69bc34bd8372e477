//! Receive Maximum, both ways.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use gantline_protocol::packet::{Delivery, Packet};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    clean, client, connected, encoded, lasting, of_version, server, server_with, subscriber, text,
};

#[tokio::test(start_paused = true)]
async fn a_client_that_exceeds_the_receive_maximum_is_disconnected() {
    let server = server_with(ServerOptions::default().receive_maximum(5)).await;
    // Without PUBREL a message of QoS 2 stays open.
    let mut peer = client(&server, "a").await;
    for _ in 0..5 {
        let publish = peer.made("t", "", QoS::ExactlyOnce);
        peer.send(Packet::Publish(Box::new(publish))).await;
        peer.expect(PacketType::PubRec).await;
    }
    let publish = peer.made("t", "", QoS::ExactlyOnce);
    peer.send(Packet::Publish(Box::new(publish))).await;
    peer.is_disconnected(ReasonCode::ReceiveMaximumExceeded).await;
    // QoS 0 does not count.
    let mut peer = client(&server, "a").await;
    let packets =
        (0..100).map(|_| Packet::Publish(Box::new(crate::peer::publish("t", "", Delivery::AtMostOnce))));
    peer.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
    peer.ping().await;
    // Nor is anything counted on versions that cannot be told.
    let mut peer = connected(&server, of_version(ProtocolVersion::ALL[1], "a", true)).await;
    for _ in 0..20 {
        let publish = peer.made("t", "", QoS::ExactlyOnce);
        peer.send(Packet::Publish(Box::new(publish))).await;
        peer.expect(PacketType::PubRec).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_in_flight_than_the_client_takes() {
    let server = server().await;
    for window in [1, 2, 10] {
        let mut connect = clean("a");
        connect.properties.receive_maximum = NonZeroU16::new(window);
        let mut peer = subscriber(&server, connect, &["t"], QoS::ExactlyOnce).await;
        let mut other = client(&server, "b").await;
        for number in 0..50 {
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
            other.publish("t", &number.to_string(), qos).await;
        }
        let (mut open, mut next, mut releasing) = (VecDeque::new(), 0, None);
        while next < 50 || !open.is_empty() || releasing.is_some() {
            while open.len() < usize::from(window) - usize::from(releasing.is_some()) && next < 50 {
                let publish = peer.publish_packet().await;
                assert_eq!(text(&publish), next.to_string());
                open.push_back(publish.delivery);
                next += 1;
            }
            peer.hears_nothing().await;
            if let Some(id) = releasing.take() {
                // PUBREC gave no room, PUBCOMP does.
                peer.ack(Packet::PubComp, id, ReasonCode::Success).await;
                continue;
            }
            match open.pop_front().unwrap() {
                Delivery::AtLeastOnce(id) => peer.ack(Packet::PubAck, id.get(), ReasonCode::Success).await,
                Delivery::ExactlyOnce(id) => {
                    peer.ack(Packet::PubRec, id.get(), ReasonCode::Success).await;
                    assert_eq!(peer.ack_of(PacketType::PubRel, id).await, ReasonCode::Success);
                    releasing = Some(id.get());
                }
                Delivery::AtMostOnce => panic!(),
            }
        }
        peer.hears_nothing().await;
        peer.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_bounds_what_is_in_flight_by_itself() {
    let server = server_with(ServerOptions::default().max_inflight(3)).await;
    for version in ProtocolVersion::ALL {
        let mut peer = subscriber(&server, of_version(version, "a", true), &["t"], QoS::AtLeastOnce).await;
        let mut other = client(&server, "b").await;
        for _ in 0..10 {
            other.publish("t", "", QoS::AtLeastOnce).await;
        }
        for _ in 0..3 {
            peer.publish_packet().await;
        }
        peer.hears_nothing().await;
        peer.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn qos_0_flows_past_an_exhausted_window() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for _ in 0..10 {
        other.publish("t", "kept", QoS::AtLeastOnce).await;
    }
    let first = peer.publish_packet().await;
    for number in 0..10 {
        other.publish("t", &number.to_string(), QoS::AtMostOnce).await;
        assert_eq!(text(&peer.publish_packet().await), number.to_string());
    }
    peer.ack(Packet::PubAck, first.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    assert_eq!(peer.text().await, "kept");
}

#[tokio::test(start_paused = true)]
async fn a_smaller_window_of_the_next_connection_holds_for_what_is_sent_again() {
    let server = server().await;
    let mut peer = subscriber(&server, lasting("a", 100), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for number in 0..20 {
        other.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
        peer.publish_packet().await;
    }
    peer.vanishes().await;
    other.publish("t", "20", QoS::AtLeastOnce).await;
    let mut connect = lasting("a", 100);
    connect.properties.receive_maximum = NonZeroU16::new(3);
    let mut peer = connected(&server, connect).await;
    let mut open = VecDeque::new();
    for number in 0..21 {
        let publish = peer.publish_packet().await;
        assert_eq!((text(&publish), publish.dup), (number.to_string(), number < 20));
        open.push_back(publish.delivery.packet_id().unwrap().get());
        if open.len() == 3 {
            peer.hears_nothing().await;
            peer.ack(Packet::PubAck, open.pop_front().unwrap(), ReasonCode::Success).await;
        }
    }
}
