//! Hooks about what clients are sent, and the inspector of packets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantline_protocol::packet::Packet;
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{
    Decision, DeliveryAttempt, Message, Outcome, PacketDirection, PacketView, QoS, ReasonCode,
};

use super::build;
use crate::peer::{ALL_QOS, clean, client, connected, encoded, lasting, settle, subscriber, text};

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_sees_every_message_of_each_receiver() {
    let server = build()
        .intercept_deliveries(|delivery: &DeliveryAttempt<'_>| {
            let receiver = delivery.receiver().client_id().as_str().to_owned();
            let message = delivery.to_message();
            async move {
                if receiver == "slow" {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                match message.payload_str().unwrap() {
                    "secret" if receiver != "boss" => Outcome::Drop,
                    "name" => {
                        let qos = message.qos_level();
                        Outcome::Replace(Message::new("t", format!("for {receiver}")).unwrap().qos(qos))
                    }
                    _ => Outcome::Forward,
                }
            }
        })
        .start()
        .await
        .unwrap();
    server.publish(Message::new("kept", "secret").unwrap().retain(true)).await.unwrap();
    let mut publisher = client(&server, "publisher").await;
    for qos in ALL_QOS {
        let mut boss = subscriber(&server, clean("boss"), &["kept"], qos).await;
        assert_eq!(boss.text().await, "secret");
        let mut slow = subscriber(&server, clean("slow"), &["t", "kept"], qos).await;
        let mut quick = subscriber(&server, clean("quick"), &["t", "kept"], qos).await;
        for payload in ["open", "secret", "name", "last"] {
            publisher.publish("t", payload, qos).await;
        }
        assert_eq!(quick.texts(3).await, ["open", "for quick", "last"]);
        assert_eq!(slow.texts(3).await, ["open", "for slow", "last"]);
        slow.ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_delivery_hook_when_the_connection_is_lost_comes_with_the_next_one() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let server = build()
        .intercept_deliveries(move |_: &DeliveryAttempt<'_>| match gate.load(Ordering::Relaxed) {
            true => Decision::Now(Outcome::Forward),
            false => Decision::later(std::future::pending()),
        })
        .start()
        .await
        .unwrap();
    let receiver = subscriber(&server, lasting("receiver", 60), &["t"], QoS::AtLeastOnce).await;
    let mut publisher = client(&server, "publisher").await;
    for number in 0..5 {
        publisher.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
    }
    settle().await;
    receiver.vanishes().await;
    settle().await;
    publisher.publish("t", "5", QoS::AtLeastOnce).await;
    open.store(true, Ordering::Relaxed);
    let mut receiver = connected(&server, lasting("receiver", 60)).await;
    assert_eq!(receiver.texts(6).await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_respects_the_window_of_the_client() {
    let server =
        build().intercept_deliveries(|_: &DeliveryAttempt<'_>| Outcome::Forward).start().await.unwrap();
    let mut connect = clean("receiver");
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut receiver = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    for number in 0..10 {
        server.publish(Message::new("t", number.to_string()).unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    }
    let first = receiver.publish_packet().await;
    receiver.publish_packet().await;
    receiver.hears_nothing().await;
    let id = first.delivery.packet_id().unwrap();
    receiver.ack(Packet::PubAck, id.get(), ReasonCode::Success).await;
    assert_eq!(text(&receiver.publish_packet().await), "2");
    receiver.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_inspector_sees_every_packet_both_ways() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let server = build()
        .inspect_packets(move |packet: &PacketView<'_>| {
            let way = match packet.direction() {
                PacketDirection::In => "in",
                PacketDirection::Out => "out",
            };
            let kind = Packet::decode(packet.bytes(), packet.client().version()).unwrap().packet_type();
            notes.lock().unwrap().push(format!("{} {way} {kind:?}", packet.client()));
        })
        .start()
        .await
        .unwrap();
    let mut client = subscriber(&server, clean("c"), &["t"], QoS::AtLeastOnce).await;
    let large = "x".repeat(20_000);
    assert_eq!(client.publish("t", &large, QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(client.text().await, large);
    client.ping().await;
    // In one go, so that the answer to the first is there when the connection ends.
    let last = [Packet::PingReq, Packet::Connect(Box::new(clean("c")))];
    client.send_bytes(&encoded(last, ProtocolVersion::default())).await;
    client.is_disconnected(ReasonCode::ProtocolError).await;
    let expected = [
        "c in Connect",
        "c out ConnAck",
        "c in Subscribe",
        "c out SubAck",
        "c in Publish",
        "c out PubAck",
        "c out Publish",
        "c in PubAck",
        "c in PingReq",
        "c out PingResp",
        "c in PingReq",
        "c in Connect",
        "c out PingResp",
        "c out Disconnect",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_inspector_that_panics_ends_the_connection_from_the_first_packet_on() {
    for bad in [PacketType::Connect, PacketType::ConnAck, PacketType::PingReq, PacketType::PingResp] {
        let server = build()
            .inspect_packets(move |packet: &PacketView<'_>| {
                let kind = Packet::decode(packet.bytes(), packet.client().version()).unwrap().packet_type();
                assert_ne!(kind, bad, "as the test wants it");
            })
            .start()
            .await
            .unwrap();
        let mut client = client(&server, "c").await;
        client.send(Packet::PingReq).await;
        client.is_disconnected(ReasonCode::UnspecifiedError).await;
        assert_eq!(server.metrics().hook_panics, 1, "{bad:?}");
    }
}
