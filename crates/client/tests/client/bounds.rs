//! Bounds: what happens to messages that the application does not take.

use std::time::Duration;

use gantline_client::{Client, ConnectOptions, DisconnectCause, Event, OnFull, QoS, ReasonCode};
use gantline_protocol::PacketType;
use gantline_protocol::packet::{ConnAck, Packet};
use tokio::time::Instant;

use crate::peer::{ONCE, Peer, at_least_once, connected, exactly_once, message, pair, publish, text};

/// A connection on which no Receive Maximum holds the server back.
fn unbound() -> ConnectOptions {
    ConnectOptions::default().version("3.1.1".parse().unwrap())
}

/// Whether the client reads what the peer sends: more than the stream in memory holds. Otherwise the rest is sent
/// later.
async fn is_read(client: &Client, peer: &mut Peer) -> bool {
    assert!(client.is_connected());
    let pings = [0xD0, 0].repeat(100_000);
    tokio::time::timeout(Duration::from_millis(1), peer.send_bytes(&pings)).await.is_ok()
}

/// Lets the time pass for which a stream is waited for that is not taken from.
async fn patience_ends() {
    tokio::time::sleep(Duration::from_millis(1001)).await;
}

#[tokio::test(start_paused = true)]
async fn the_receive_maximum_is_not_above_the_bound_of_a_stream() {
    for (options, expected) in [
        (ConnectOptions::default(), 1024),
        (ConnectOptions::default().stream_bounds(20, 1 << 20), 20),
        (ConnectOptions::default().stream_bounds(0, 0), 1),
        (ConnectOptions::default().stream_bounds(1 << 20, 1 << 20).receive_maximum(3), 3),
    ] {
        let (stream, mut peer) = pair();
        let (client, connect) =
            tokio::join!(Client::connect_with(options, stream), peer.accept(ConnAck::default()));
        let _client = client.unwrap();
        assert_eq!(connect.properties.receive_maximum.unwrap().get(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn of_qos_0_the_oldest_message_is_dropped_counted_and_told() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(2, 1 << 20)).await;
    let (mut messages, mut events) = (client.messages(), client.events());
    for payload in ["1", "2", "3", "4"] {
        peer.publish("a", payload, ONCE).await;
    }
    patience_ends().await;
    peer.hears_nothing().await;
    assert_eq!(messages.dropped(), 2);
    let Some(Event::MessagesDropped { filters, count: 2 }) = events.next().await else { panic!() };
    assert!(filters.is_empty());
    assert_eq!(text(&messages.next().await.unwrap()), "3");
    assert_eq!(text(&messages.next().await.unwrap()), "4");
}

#[tokio::test(start_paused = true)]
async fn qos_0_gives_way_to_what_must_not_be_lost() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(2, 1 << 20)).await;
    let mut messages = client.messages();
    for (payload, delivery) in [("1", ONCE), ("2", at_least_once(1)), ("3", at_least_once(2)), ("4", ONCE)] {
        peer.publish("a", payload, delivery).await;
    }
    patience_ends().await;
    peer.hears_nothing().await;
    assert_eq!(messages.dropped(), 2);
    assert_eq!(text(&messages.next().await.unwrap()), "2");
    assert_eq!(text(&messages.next().await.unwrap()), "3");
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_acknowledges_and_drops_whatever_is_oldest() {
    let options = ConnectOptions::default().stream_bounds(2, 1 << 20).on_full(OnFull::DropOldest);
    // More than the streams take may come, because it is acknowledged.
    let (client, mut peer) = connected(options).await;
    let (mut messages, mut events) = (client.messages(), client.events());
    peer.publish("a", "1", at_least_once(1)).await;
    peer.publish("a", "2", exactly_once(2)).await;
    peer.hears_nothing().await;
    peer.publish("a", "3", ONCE).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    peer.publish("a", "4", ONCE).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 2, ReasonCode::Success));
    assert_eq!(messages.dropped(), 2);
    assert!(matches!(events.next().await, Some(Event::MessagesDropped { count: 2, .. })));
    assert_eq!(text(&messages.next().await.unwrap()), "3");
    assert_eq!(text(&messages.next().await.unwrap()), "4");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_can_have_bounds_of_its_own() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    let subscribe = client.subscribe("a/+", QoS::AtLeastOnce).bounds(1, 1 << 20).on_full(OnFull::DropOldest);
    let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::GrantedQoS1]));
    let mut subscription = subscription.unwrap();
    let mut messages = client.messages();
    for payload in ["1", "2", "3"] {
        peer.publish("a/b", payload, ONCE).await;
    }
    patience_ends().await;
    peer.hears_nothing().await;
    assert_eq!((subscription.dropped(), messages.dropped()), (2, 0));
    let Some(Event::MessagesDropped { filters, count: 2 }) = events.next().await else { panic!() };
    assert_eq!(&filters[..], ["a/+"]);
    assert_eq!(text(&subscription.next().await.unwrap()), "3");
    assert_eq!(text(&messages.next().await.unwrap()), "1");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(100, 10)).await;
    let mut messages = client.messages();
    for payload in ["much too long for it", "1", "2"] {
        peer.publish("a", payload, ONCE).await;
    }
    patience_ends().await;
    peer.hears_nothing().await;
    assert_eq!(messages.dropped(), 1);
    assert_eq!(text(&messages.next().await.unwrap()), "1");
}

#[tokio::test(start_paused = true)]
async fn properties_are_bytes_too() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(100, 1000)).await;
    let messages = client.messages();
    for _ in 0..2 {
        let Packet::Publish(mut publish) = publish("a", "", ONCE) else { unreachable!() };
        publish.properties.user_properties.push("x".repeat(600), "");
        peer.send(Packet::Publish(publish)).await;
    }
    patience_ends().await;
    peer.hears_nothing().await;
    assert_eq!(messages.dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_above_its_bound_stops_the_reading_until_there_is_room() {
    let (client, mut peer) = connected(unbound().stream_bounds(2, 1 << 20)).await;
    let mut messages = client.messages();
    for packet_id in 1..=2 {
        peer.publish("a", "", at_least_once(packet_id)).await;
    }
    assert!(is_read(&client, &mut peer).await);
    peer.publish("a", "", at_least_once(3)).await;
    assert!(!is_read(&client, &mut peer).await);
    messages.next().await.unwrap();
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    assert!(is_read(&client, &mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_that_is_dropped_lets_the_reading_go_on() {
    let (client, mut peer) = connected(unbound().stream_bounds(1, 1 << 20)).await;
    let messages = client.messages();
    for packet_id in 1..=2 {
        peer.publish("a", "", at_least_once(packet_id)).await;
    }
    assert!(!is_read(&client, &mut peer).await);
    drop(messages);
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    assert!(is_read(&client, &mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_we_wait_for_is_read_past_a_full_stream() {
    let (client, mut peer) = connected(unbound().stream_bounds(1, 1 << 20)).await;
    let mut messages = client.messages();
    for packet_id in 1..=3 {
        peer.publish("a", "", at_least_once(packet_id)).await;
    }
    assert!(!is_read(&client, &mut peer).await);
    // The acknowledgement stands behind what the stream has no room for.
    let server = async {
        let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
        peer.publish("a", "", at_least_once(4)).await;
        peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
    };
    let (result, ()) = tokio::join!(client.publish(message("b", "", QoS::AtLeastOnce)), server);
    result.unwrap();
    for packet_id in 1..=4 {
        messages.next().await.unwrap();
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, packet_id, ReasonCode::Success));
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_lets_16_mib_wait_loses_its_connection() {
    let (client, mut peer) = connected(unbound()).await;
    let (_messages, mut events) = (client.messages(), client.events());
    // It keeps us from not reading.
    let delivery = client.publish(message("b", "", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    let payload = "x".repeat(1 << 20);
    for packet_id in 1..=17 {
        peer.publish("a", &payload, at_least_once(packet_id)).await;
    }
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!() };
    let DisconnectCause::ReceiverTooSlow { held } = cause else { panic!("{cause}") };
    assert!((16 << 20..18 << 20).contains(&held));
    assert!(delivery.await.is_err());
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_more_than_half_full_stops_the_reading_until_a_quarter_is_left() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(8, 1 << 20)).await;
    let mut messages = client.messages();
    for _ in 0..5 {
        peer.publish("a", "", ONCE).await;
    }
    assert!(!is_read(&client, &mut peer).await);
    for _ in 0..2 {
        messages.next().await.unwrap();
    }
    assert!(!is_read(&client, &mut peer).await);
    messages.next().await.unwrap();
    assert!(is_read(&client, &mut peer).await);
    assert_eq!(messages.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_takes_from_stops_the_reading_for_a_second_and_only_once() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(4, 1 << 20)).await;
    let (messages, began) = (client.messages(), Instant::now());
    for _ in 0..4 {
        peer.publish("a", "", ONCE).await;
    }
    assert!(!is_read(&client, &mut peer).await);
    let mut fast = client.messages();
    for _ in 0..3 {
        peer.publish("a", "", ONCE).await;
        fast.next().await.unwrap();
        // Only the first one had to wait.
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }
    assert_eq!((messages.dropped(), fast.dropped()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_server_is_held_up_by_a_full_stream_for_50_ms_at_most() {
    let (client, mut peer) = connected(ConnectOptions::default().stream_bounds(2, 1 << 20)).await;
    let messages = client.messages();
    for _ in 0..3 {
        peer.publish("a", "", ONCE).await;
    }
    let began = Instant::now();
    let server = async {
        let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
        peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
    };
    let (result, ()) = tokio::join!(client.publish(message("b", "", QoS::AtLeastOnce)), server);
    result.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(50));
    assert_eq!(messages.dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_does_not_keep_a_connection_from_living() {
    let options = ConnectOptions::default().stream_bounds(2, 1 << 20).keep_alive(Duration::from_secs(1));
    let (client, mut peer) = connected(options).await;
    let _messages = client.messages();
    for _ in 0..20 {
        peer.publish("a", "", ONCE).await;
        assert!(matches!(peer.receive().await, Packet::PingReq));
        peer.send(Packet::PingResp).await;
    }
    assert!(client.is_connected());
}
