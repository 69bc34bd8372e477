//! Publishing across connections: order, the fate of what was in flight, poison.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use gantline_managed::{
    Doubt, InDoubt, ManagedOptions, Outcome, ProtocolVersion, QoS, ReasonCode, Rejection,
};
use gantline_protocol::packet::{ConnAck, Disconnect, Packet};
use gantline_protocol::{DisconnectProperties, PacketType};

use crate::peer::{Peer, session_present};
use crate::support::{
    Script, connect, delivered, lasting, message, now, options, queue, server, shut_down, started,
};

fn text(publish: &gantline_protocol::Publish) -> &str {
    std::str::from_utf8(&publish.payload).unwrap()
}

fn id(publish: &gantline_protocol::Publish) -> u16 {
    publish.delivery.packet_id().unwrap().get()
}

async fn acknowledge(peer: &mut Peer, publish: &gantline_protocol::Publish) {
    peer.ack(Packet::PubAck, id(publish), ReasonCode::Success).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_published_offline_goes_out_in_order_when_there_is_a_server() {
    let client = started(options("offline")).await;
    let mut deliveries = Vec::new();
    for number in 0..100 {
        let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        deliveries.push(queue(&client, message("t", number).qos(qos)).await);
    }
    assert_eq!(client.counters().pending_messages, 100);
    let server = server("offline").await;
    let mut received = server.subscribe("t", QoS::ExactlyOnce).unwrap();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        delivered(delivery).await;
        assert_eq!(received.next().await.unwrap().payload_str().unwrap(), number.to_string());
    }
    let counters = client.counters();
    assert_eq!((counters.pending_messages, counters.pending_bytes, counters.delivered), (0, 0, 100));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_and_goes_gets_everything_in_order() {
    let client =
        started(options("flapping").backoff(Duration::from_millis(1), Duration::from_millis(5))).await;
    let mut deliveries = Vec::new();
    let (mut heard, mut next) = (Vec::new(), 0);
    for _ in 0..5 {
        let server = server("flapping").await;
        let mut received = server.subscribe("t", QoS::AtLeastOnce).unwrap();
        client.connected().await.unwrap();
        for _ in 0..50 {
            deliveries.push(queue(&client, message("t", next)).await);
            next += 1;
        }
        // It goes while some are on their way.
        for _ in 0..20 {
            heard.push(received.next().await.unwrap().payload_str().unwrap().parse::<u32>().unwrap());
        }
        shut_down(server).await;
        while let Some(message) = received.next().await {
            heard.push(message.payload_str().unwrap().parse().unwrap());
        }
    }
    let server = server("flapping").await;
    let mut received = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    queue(&client, message("t", next)).await.await.into_result().unwrap();
    for delivery in deliveries {
        delivered(delivery).await;
    }
    while heard.last() != Some(&next) {
        heard.push(received.next().await.unwrap().payload_str().unwrap().parse().unwrap());
    }
    // At least once: what came twice came in its order, too.
    let mut first_time = Vec::new();
    for number in heard {
        if !first_time.contains(&number) {
            first_time.push(number);
        }
    }
    assert_eq!(first_time, (0..=next).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn as_many_are_in_flight_as_the_server_takes() {
    let mut script = Script::new("window").await;
    let client = started(options("window").max_in_flight(3)).await;
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(2);
    let mut peer = script.accept(connack).await;
    for number in 0..4 {
        drop(queue(&client, message("t", number)).await);
    }
    let first = peer.expect_publish().await;
    peer.expect_publish().await;
    peer.hears_nothing().await;
    assert_eq!(client.counters().in_flight, 2);
    acknowledge(&mut peer, &first).await;
    assert_eq!(text(&peer.expect_publish().await), "2");
    drop(peer);
    let mut peer = script.accept(ConnAck::default()).await;
    for number in 1..4 {
        assert_eq!(text(&peer.expect_publish().await), number.to_string());
    }
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_session_holds_is_sent_again_by_it_and_before_what_is_new() {
    let mut script = Script::new("held").await;
    let client = started(ManagedOptions::new(lasting("held"))).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let once = queue(&client, message("t", "once").qos(QoS::ExactlyOnce)).await;
    let least = queue(&client, message("t", "least")).await;
    let sent = [peer.expect_publish().await, peer.expect_publish().await];
    drop(peer);
    let new = queue(&client, message("t", "new")).await;
    let mut peer = script.accept(session_present()).await;
    for before in &sent {
        let again = peer.expect_publish().await;
        assert!(again.dup);
        assert_eq!((text(&again), again.delivery), (text(before), before.delivery));
    }
    let last = peer.expect_publish().await;
    assert_eq!((text(&last), last.dup), ("new", false));
    peer.ack(Packet::PubRec, id(&sent[0]), ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRel);
    peer.ack(Packet::PubComp, id(&sent[0]), ReasonCode::Success).await;
    acknowledge(&mut peer, &sent[1]).await;
    acknowledge(&mut peer, &last).await;
    for delivery in [once, least, new] {
        delivered(delivery).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_session_has_lost_is_sent_anew_at_qos_1_and_in_doubt_at_qos_2() {
    let mut script = Script::new("lost").await;
    let client = started(ManagedOptions::new(lasting("lost"))).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let received = queue(&client, message("t", "received").qos(QoS::ExactlyOnce)).await;
    let once = queue(&client, message("t", "once").qos(QoS::ExactlyOnce)).await;
    let least = queue(&client, message("t", "least")).await;
    let sent = [peer.expect_publish().await, peer.expect_publish().await, peer.expect_publish().await];
    peer.ack(Packet::PubRec, id(&sent[0]), ReasonCode::Success).await;
    peer.expect_ack().await;
    drop(peer);
    let mut new = queue(&client, message("t", "new")).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let again = peer.expect_publish().await;
    assert_eq!((text(&again), again.dup), ("least", false));
    let last = peer.expect_publish().await;
    assert_eq!(text(&last), "new");
    delivered(received).await;
    assert!(matches!(once.await, Outcome::Indeterminate(Doubt::SessionLost(_))));
    assert!(now(&mut new).await.is_none());
    acknowledge(&mut peer, &again).await;
    acknowledge(&mut peer, &last).await;
    delivered(least).await;
    delivered(new).await;
}

#[tokio::test(start_paused = true)]
async fn qos_2_in_doubt_is_sent_again_if_that_is_wanted() {
    let mut script = Script::new("resend").await;
    let client = started(options("resend").in_doubt(InDoubt::Resend)).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let delivery = queue(&client, message("t", "once").qos(QoS::ExactlyOnce)).await;
    peer.expect_publish().await;
    drop(peer);
    let mut peer = script.accept(ConnAck::default()).await;
    let again = peer.expect_publish().await;
    peer.ack(Packet::PubRec, id(&again), ReasonCode::Success).await;
    peer.expect_ack().await;
    peer.ack(Packet::PubComp, id(&again), ReasonCode::Success).await;
    delivered(delivery).await;
}

#[tokio::test(start_paused = true)]
async fn qos_2_that_was_not_sent_is_not_in_doubt() {
    let mut script = Script::new("unsent").await;
    let client = started(options("unsent")).await;
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = script.accept(connack).await;
    let sent = queue(&client, message("t", "sent").qos(QoS::ExactlyOnce)).await;
    let unsent = queue(&client, message("t", "unsent").qos(QoS::ExactlyOnce)).await;
    peer.expect_publish().await;
    drop(peer);
    let mut peer = script.accept(ConnAck::default()).await;
    let publish = peer.expect_publish().await;
    assert_eq!(text(&publish), "unsent");
    assert!(matches!(sent.await, Outcome::Indeterminate(_)));
    peer.ack(Packet::PubRec, id(&publish), ReasonCode::PacketIdentifierInUse).await;
    assert!(matches!(unsent.await, Outcome::Rejected(Rejection::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn poison_is_rejected_and_the_next_message_goes_out() {
    let mut script = Script::new("poison").await;
    let client = started(options("poison")).await;
    let mut connack = ConnAck::default();
    connack.properties.maximum_packet_size = NonZeroU32::new(100);
    connack.properties.retain_available = Some(false);
    let mut peer = script.accept(connack).await;
    let large = queue(&client, message("t", "x".repeat(200))).await;
    let retained = queue(&client, message("t", "").retain(true)).await;
    let unwritable = queue(&client, message("t", "").content_type("\0")).await;
    let refused = queue(&client, message("t", "refused")).await;
    let good = queue(&client, message("t", "good")).await;
    let publish = peer.expect_publish().await;
    peer.ack(Packet::PubAck, id(&publish), ReasonCode::NotAuthorized).await;
    let publish = peer.expect_publish().await;
    assert_eq!(text(&publish), "good");
    acknowledge(&mut peer, &publish).await;
    assert!(matches!(large.await, Outcome::Rejected(Rejection::TooLarge { maximum: 100 })));
    assert!(matches!(retained.await, Outcome::Rejected(Rejection::NotOffered(_))));
    assert!(matches!(unwritable.await, Outcome::Rejected(Rejection::Unwritable(_))));
    let Outcome::Rejected(Rejection::Refused(result)) = refused.await else { panic!() };
    assert_eq!(result.reason, ReasonCode::NotAuthorized);
    delivered(good).await;
    assert_eq!(client.counters().rejected, 4);
}

#[tokio::test(start_paused = true)]
async fn what_the_version_does_not_have_is_rejected_and_the_next_message_goes_out() {
    let _server = server("older").await;
    let client = started(ManagedOptions::new(connect("older").version(ProtocolVersion::V3_1_1))).await;
    let marked = queue(&client, message("t", "").user_property("k", "v")).await;
    let expiring = queue(&client, message("t", "").expiry(60)).await;
    let plain = queue(&client, message("t", "")).await;
    for (delivery, expected) in [(marked, "user_property"), (expiring, "expiry")] {
        let Outcome::Rejected(Rejection::NotInVersion { property, version }) = delivery.await else {
            panic!()
        };
        assert_eq!((property, version), (expected, ProtocolVersion::V3_1_1));
    }
    delivered(plain).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_ends_every_connection_is_found_and_rejected() {
    let mut script = Script::new("killer").await;
    let client = started(options("killer")).await;
    let good = queue(&client, message("t", "good")).await;
    let bad = queue(&client, message("t", "bad")).await;
    let last = queue(&client, message("t", "last")).await;
    let server = async {
        let mut connections = 0;
        loop {
            let mut peer = script.accept(ConnAck::default()).await;
            connections += 1;
            loop {
                let publish = peer.expect_publish().await;
                match text(&publish) {
                    "bad" => {
                        let reason = ReasonCode::PayloadFormatInvalid;
                        let properties = DisconnectProperties::default();
                        peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
                        break;
                    }
                    "last" => {
                        acknowledge(&mut peer, &publish).await;
                        return (connections, peer);
                    }
                    // It is slow to acknowledge, unless it gets nothing else.
                    _ => {
                        if let Ok(next) = tokio::time::timeout(Duration::from_millis(1), peer.receive()).await
                        {
                            assert_eq!(next.packet_type(), PacketType::Publish);
                            let reason = ReasonCode::PayloadFormatInvalid;
                            let properties = DisconnectProperties::default();
                            peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
                            break;
                        }
                        acknowledge(&mut peer, &publish).await;
                    }
                }
            }
        }
    };
    let (connections, _peer) = server.await;
    delivered(good).await;
    assert!(matches!(bad.await, Outcome::Rejected(Rejection::EndsConnections { times: 3, .. })));
    delivered(last).await;
    // Once with all in flight, then with it alone.
    assert!(connections <= 6, "{connections}");
}

#[tokio::test(start_paused = true)]
async fn qos_0_is_delivered_when_a_connection_has_taken_it() {
    let client = started(ManagedOptions::new(connect("zero"))).await;
    let mut offline = queue(&client, message("t", "0").qos(QoS::AtMostOnce)).await;
    assert!(now(&mut offline).await.is_none());
    let server = server("zero").await;
    let mut received = server.subscribe("t", QoS::AtMostOnce).unwrap();
    delivered(offline).await;
    assert_eq!(received.next().await.unwrap().payload_str().unwrap(), "0");
}
