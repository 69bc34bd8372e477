//! Publishing: each QoS resolves when its flow is complete, in order, within bounds.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use gantline_client::{ConnectOptions, PublishError, QoS, ReasonCode};
use gantline_protocol::packet::{ConnAck, Packet};
use gantline_protocol::{AckProperties, PacketType};

use crate::peer::{connected, id, message, pair};
use gantline_client::Client;
use gantline_protocol::packet::Ack;

#[tokio::test(start_paused = true)]
async fn qos_0_resolves_when_accepted() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let result = client.publish(message("a", "1", QoS::AtMostOnce)).await.unwrap();
    assert_eq!(result.reason, ReasonCode::Success);
    let publish = peer.expect_publish().await;
    assert_eq!((publish.topic.unwrap().as_str(), &publish.payload[..]), ("a", &b"1"[..]));
}

#[tokio::test(start_paused = true)]
async fn qos_1_resolves_with_its_acknowledgement() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let publish = tokio::spawn(client.publish(message("a", "1", QoS::AtLeastOnce)));
    let sent = peer.expect_publish().await;
    let packet_id = sent.delivery.packet_id().unwrap();
    let properties = AckProperties { reason_string: Some("nobody there".into()), ..AckProperties::default() };
    assert!(!publish.is_finished());
    peer.send(Packet::PubAck(Ack { packet_id, reason: ReasonCode::NoMatchingSubscribers, properties })).await;
    let result = publish.await.unwrap().unwrap();
    assert_eq!(result.reason, ReasonCode::NoMatchingSubscribers);
    assert_eq!(result.properties.reason_string.as_deref(), Some("nobody there"));
}

#[tokio::test(start_paused = true)]
async fn qos_2_resolves_when_the_whole_flow_is_done() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut publish = client.publish(message("a", "1", QoS::ExactlyOnce));
    assert!(poll_immediate(&mut publish).await.is_none());
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubRec, packet_id, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, packet_id, ReasonCode::Success));
    assert!(poll_immediate(&mut publish).await.is_none());
    peer.ack(Packet::PubComp, packet_id, ReasonCode::Success).await;
    assert_eq!(publish.await.unwrap().reason, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_an_error_with_the_reason() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    for (qos, kind) in
        [(QoS::AtLeastOnce, Packet::PubAck as fn(Ack) -> Packet), (QoS::ExactlyOnce, Packet::PubRec)]
    {
        let delivery = client.publish(message("a", "1", qos)).queued().await.unwrap();
        let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
        peer.ack(kind, packet_id, ReasonCode::QuotaExceeded).await;
        let Err(PublishError::Refused(result)) = delivery.await else { panic!() };
        assert_eq!(result.reason, ReasonCode::QuotaExceeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_may_be_dropped() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    drop(client.publish(message("a", "1", QoS::AtLeastOnce)).queued().await.unwrap());
    let first = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    let second = client.publish(message("a", "2", QoS::AtLeastOnce)).queued().await.unwrap();
    let second_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubAck, first, ReasonCode::Success).await;
    peer.ack(Packet::PubAck, second_id, ReasonCode::NoMatchingSubscribers).await;
    assert_eq!(second.await.unwrap().reason, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_acceptance_is_the_order_on_the_wire() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    for number in 0..100 {
        drop(client.publish(message("a", &number.to_string(), QoS::AtLeastOnce)).queued().await.unwrap());
    }
    for number in 0..100 {
        assert_eq!(peer.expect_publish().await.payload, number.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_receive_maximum_is_kept() {
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(2);
    let (stream, mut peer) = pair();
    let (client, _) =
        tokio::join!(Client::connect_with(ConnectOptions::default(), stream), peer.accept(connack));
    let client = client.unwrap();
    let deliveries: Vec<_> =
        (0..3).map(|_| tokio::spawn(client.publish(message("a", "", QoS::AtLeastOnce)))).collect();
    let first = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    let second = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.hears_nothing().await;
    // QoS 0 does not wait for that.
    client.publish(message("b", "", QoS::AtMostOnce)).await.unwrap();
    assert_eq!(peer.expect_publish().await.topic.unwrap().as_str(), "b");
    peer.ack(Packet::PubAck, second, ReasonCode::Success).await;
    let third = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    for packet_id in [first, third] {
        peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
    }
    for result in join_all(deliveries).await {
        result.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_take_is_not_sent() {
    let mut connack = ConnAck::default();
    connack.properties.maximum_packet_size = NonZeroU32::new(100);
    connack.properties.maximum_qos = Some(QoS::AtLeastOnce);
    connack.properties.retain_available = Some(false);
    let (stream, mut peer) = pair();
    let (client, _) =
        tokio::join!(Client::connect_with(ConnectOptions::default(), stream), peer.accept(connack));
    let client = client.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let error = client.publish(message("a", &"x".repeat(100), qos)).await.unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { maximum: 100 }), "{error}");
    }
    let error = client.publish(message("a", "", QoS::ExactlyOnce)).await.unwrap_err();
    assert!(matches!(error, PublishError::NotOffered(ReasonCode::QoSNotSupported)), "{error}");
    let error = client.publish(message("a", "", QoS::AtMostOnce).retain(true)).await.unwrap_err();
    assert!(matches!(error, PublishError::NotOffered(ReasonCode::RetainNotSupported)), "{error}");
    let error =
        client.publish(message("a", "", QoS::AtMostOnce).content_type("x".repeat(70_000))).await.unwrap_err();
    assert!(matches!(error, PublishError::Unwritable(_)), "{error}");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_nothing_is_accepted() {
    let client = Client::new(ConnectOptions::default());
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert!(matches!(client.publish(message("a", "", qos)).await, Err(PublishError::NotConnected)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_output_makes_publishers_wait_in_their_order() {
    let options = ConnectOptions::default().output_bounds(1, 1 << 20);
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(1);
    let (stream, mut peer) = pair();
    let (client, _) = tokio::join!(Client::connect_with(options, stream), peer.accept(connack));
    let client = client.unwrap();
    let publishes: Vec<_> = (0..5)
        .map(|number| tokio::spawn(client.publish(message("a", &number.to_string(), QoS::AtLeastOnce))))
        .collect();
    for number in 0..5 {
        let publish = peer.expect_publish().await;
        assert_eq!(publish.payload, number.to_string());
        peer.hears_nothing().await;
        peer.ack(Packet::PubAck, publish.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    }
    for publish in publishes {
        publish.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_gives_up_waiting_lets_the_next_one_go() {
    let options = ConnectOptions::default().output_bounds(1, 1 << 20);
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(1);
    let (stream, mut peer) = pair();
    let (client, _) = tokio::join!(Client::connect_with(options, stream), peer.accept(connack));
    let client = client.unwrap();
    let _first = client.publish(message("a", "first", QoS::AtLeastOnce)).queued().await.unwrap();
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap();
    let _second = client.publish(message("a", "second", QoS::AtLeastOnce)).queued().await.unwrap();
    let mut gives_up = client.publish(message("a", "never", QoS::AtLeastOnce)).queued();
    let mut fourth = client.publish(message("a", "fourth", QoS::AtLeastOnce)).queued();
    assert!(poll_immediate(&mut gives_up).await.is_none());
    assert!(poll_immediate(&mut fourth).await.is_none());
    drop(gives_up);
    peer.ack(Packet::PubAck, packet_id.get(), ReasonCode::Success).await;
    assert_eq!(peer.expect_publish().await.payload, "second");
    let _fourth = fourth.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_while_it_waits_is_not_sent() {
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(1);
    let (stream, mut peer) = pair();
    let (client, _) =
        tokio::join!(Client::connect_with(ConnectOptions::default(), stream), peer.accept(connack));
    let client = client.unwrap();
    let _first = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
    assert_eq!(peer.expect_publish().await.delivery.packet_id(), Some(id(1)));
    let second = client.publish(message("a", "", QoS::AtLeastOnce).expiry(3)).queued().await.unwrap();
    tokio::time::advance(Duration::from_secs(4)).await;
    peer.ack(Packet::PubAck, 1, ReasonCode::Success).await;
    assert!(matches!(second.await, Err(PublishError::Expired)));
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn flush_waits_until_all_is_written() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    // More than the stream in memory takes at once.
    let large = "x".repeat(200_000);
    client.publish(message("a", &large, QoS::AtMostOnce)).await.unwrap();
    let mut flush = Box::pin(client.flush());
    tokio::task::yield_now().await;
    assert!(poll_immediate(&mut flush).await.is_none());
    let (flushed, publish) = tokio::join!(flush, peer.expect_publish());
    flushed.unwrap();
    assert_eq!(publish.payload.len(), large.len());
}

#[tokio::test(start_paused = true)]
async fn a_line_of_publishers_learns_of_the_end_though_its_first_is_not_polled() {
    let options = ConnectOptions::default().output_bounds(1, 1 << 20);
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(1);
    let (stream, mut peer) = pair();
    let (client, _) = tokio::join!(Client::connect_with(options, stream), peer.accept(connack));
    let client = client.unwrap();
    let _sent = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    let _waiting = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
    let mut first = client.publish(message("a", "", QoS::AtLeastOnce)).queued();
    assert!(poll_immediate(&mut first).await.is_none());
    let second = tokio::spawn(client.publish(message("a", "", QoS::AtLeastOnce)));
    peer.hears_nothing().await;
    drop(peer);
    assert!(matches!(second.await.unwrap(), Err(PublishError::NotConnected)));
    assert!(matches!(first.await, Err(PublishError::NotConnected)));
}

#[tokio::test(start_paused = true)]
async fn a_server_may_say_that_nobody_subscribes() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    for (reason, expected) in [(ReasonCode::NoMatchingSubscribers, true), (ReasonCode::Success, false)] {
        let (result, ()) = tokio::join!(client.publish(message("a", "", QoS::AtLeastOnce)), async {
            let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
            peer.ack(Packet::PubAck, packet_id, reason).await;
        });
        assert_eq!(result.unwrap().has_no_subscribers(), expected);
    }
}
