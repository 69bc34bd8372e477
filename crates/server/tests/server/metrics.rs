//! Metrics: what the server counts in all, and for each client.

use std::time::Duration;

use gantline_protocol::ReasonCode;
use gantline_protocol::packet::{Connect, Packet};
use gantline_server::{ConnectionRequest, DropCause, Message, Server, ServerOptions, Verdict};

use crate::peer::{
    ALL_QOS, answered, clean, client, connected, encoded, lasting, seconds_pass, server, server_with, settle,
    stranger, subscriber,
};
use gantline_server::QoS;

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_by_qos_packets_and_bytes() {
    let server = server().await;
    let mut receiver = subscriber(&server, clean("receiver"), &["t"], QoS::ExactlyOnce).await;
    let mut sender = client(&server, "sender").await;
    for (qos, count) in ALL_QOS.into_iter().zip([3, 2, 1]) {
        for _ in 0..count {
            sender.publish("t", "payload", qos).await;
            receiver.message().await;
        }
    }
    receiver.complete_last().await;
    sender.ping().await;
    receiver.ping().await;
    let metrics = server.metrics();
    assert_eq!(metrics.received.messages_by_qos, [3, 2, 1]);
    assert_eq!(metrics.sent.messages_by_qos, [3, 2, 1]);
    assert_eq!((metrics.received.messages(), metrics.messages_routed), (6, 6));
    // From the receiver: CONNECT, SUBSCRIBE, 2 PUBACK, PUBREC, PUBCOMP, PINGREQ. From the sender: CONNECT, 6 PUBLISH,
    // PUBREL, PINGREQ.
    assert_eq!(metrics.received.packets, 7 + 9);
    // To the receiver: CONNACK, SUBACK, 6 PUBLISH, PUBREL, PINGRESP. To the sender: CONNACK, 2 PUBACK, PUBREC, PUBCOMP,
    // PINGRESP.
    assert_eq!(metrics.sent.packets, 10 + 6);
    // A PUBLISH in 5.0 has 13 bytes here, and two more with an id.
    assert_eq!((metrics.received.publish_bytes, metrics.sent.publish_bytes), (6 * 13 + 6, 6 * 13 + 6));
    assert!(metrics.received.bytes > metrics.received.publish_bytes);
    assert!(metrics.sent.bytes > metrics.sent.publish_bytes);

    let (one, other) = (server.session("sender").unwrap(), server.session("receiver").unwrap());
    assert_eq!((one.received.messages, one.sent.messages), (6, 0));
    assert_eq!((other.received.messages, other.sent.messages), (0, 6));
    assert_eq!(one.received.packets + other.received.packets, metrics.received.packets);
    assert_eq!(one.sent.packets + other.sent.packets, metrics.sent.packets);
    assert_eq!(one.received.bytes + other.received.bytes, metrics.received.bytes);
    assert_eq!(one.sent.bytes + other.sent.bytes, metrics.sent.bytes);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_a_client_are_those_of_its_packets() {
    let server = server().await;
    let connect = clean("a");
    let bytes = encoded([Packet::Connect(Box::new(connect.clone())), Packet::PingReq], connect.version);
    let mut peer = connected(&server, connect).await;
    peer.ping().await;
    assert_eq!(server.session("a").unwrap().received.bytes, bytes.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_session_says_since_when_and_for_how_long() {
    let server = server().await;
    let mut peer = connected(&server, Connect { keep_alive: 0, ..lasting("a", 600) }).await;
    seconds_pass(10).await;
    peer.publish("t", "", QoS::AtLeastOnce).await;
    seconds_pass(10).await;
    peer.ping().await;
    seconds_pass(10).await;
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let status = server.session("a").unwrap();
    assert_eq!((seconds(status.connected_for), seconds(status.away_for)), (Some(30), None));
    assert_eq!((seconds(status.silent_for), seconds(status.inactive_for)), (Some(10), Some(20)));
    assert_eq!(status.version.unwrap(), Connect::default().version);
    assert!(status.peer.is_some() && seconds(status.unaddressed_for) == Some(10));

    peer.vanishes().await;
    seconds_pass(5).await;
    let status = server.session("a").unwrap();
    assert_eq!((seconds(status.connected_for), seconds(status.away_for)), (None, Some(5)));
    assert_eq!((status.age.as_secs(), status.inactive_for), (35, None));
    let _back = connected(&server, lasting("a", 600)).await;
    assert_eq!(server.session("a").unwrap().age.as_secs(), 35);
    let _new = connected(&server, clean("a")).await;
    let status = server.session("a").unwrap();
    assert_eq!((status.age.as_secs(), status.received.packets), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_statistics_of_a_client_begin_anew_and_those_of_the_server_go_on() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    peer.publish("t", "", QoS::AtLeastOnce).await;
    assert!(server.reset_statistics("a") && !server.reset_statistics("nobody"));
    let status = server.session("a").unwrap();
    assert_eq!((status.received, status.sent), Default::default());
    peer.ping().await;
    assert_eq!(server.session("a").unwrap().received.packets, 1);
    assert_eq!(server.metrics().received.packets, 3);
}

#[tokio::test(start_paused = true)]
async fn the_window_of_a_client_is_seen() {
    let server = server().await;
    let mut peer = subscriber(&server, lasting("a", 60), &["t"], QoS::AtLeastOnce).await;
    for _ in 0..3 {
        server.publish(Message::new("t", "").unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    }
    let first = peer.publish_packet().await;
    settle().await;
    let inflight = || server.session("a").unwrap().inflight;
    assert_eq!(inflight(), 3);
    let id = first.delivery.packet_id().unwrap();
    peer.ack(Packet::PubAck, id.get(), ReasonCode::Success).await;
    settle().await;
    assert_eq!(inflight(), 2);
    peer.vanishes().await;
    assert_eq!(inflight(), 2);
}

#[tokio::test(start_paused = true)]
async fn connections_and_clients_are_counted_with_their_heights() {
    let refuse_b = |request: ConnectionRequest| async move {
        if request.client_id().as_str() == "b" {
            Verdict::refuse(ReasonCode::Banned)
        } else {
            Verdict::accept()
        }
    };
    let server = Server::new(ServerOptions::default().max_connections(3))
        .validate_connections(refuse_b)
        .start()
        .await
        .unwrap();
    answered(&server, clean("b")).await.0.hears_the_end().await;
    let peers = [client(&server, "a").await, connected(&server, lasting("c", 60)).await];
    let silent = stranger(&server);
    answered(&server, clean("d")).await.0.hears_the_end().await;
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.connected, metrics.clients, metrics.sessions), (5, 2, 2, 2));
    assert_eq!((metrics.refused, metrics.rejected, metrics.timed_out), (1, 1, 0));
    seconds_pass(6).await;
    drop((peers, silent));
    settle().await;
    let metrics = server.metrics();
    assert_eq!((metrics.connections, metrics.connections_highest), (0, 4));
    assert_eq!((metrics.clients, metrics.clients_highest, metrics.sessions), (0, 2, 1));
    assert_eq!((metrics.timed_out, metrics.uptime.as_secs()), (1, 6));
    seconds_pass(61).await;
    assert_eq!((server.metrics().sessions, server.metrics().sessions_expired), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn losses_are_counted_by_cause() {
    let server = server_with(ServerOptions::default().max_parked_messages(2).max_topic_levels(2)).await;
    subscriber(&server, lasting("away", 60), &["t"], QoS::AtLeastOnce).await.vanishes().await;
    let mut connect = clean("small");
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(50);
    let _small = subscriber(&server, connect, &["t"], QoS::AtMostOnce).await;
    let mut sender = client(&server, "sender").await;
    for _ in 0..5 {
        sender.publish("t", &"x".repeat(100), QoS::AtLeastOnce).await;
    }
    sender.publish("a/b/c", "", QoS::AtMostOnce).await;
    sender.ping().await;
    server.clear_queue("away");
    let dropped = server.metrics().dropped;
    let by = [DropCause::QueueFull, DropCause::TooLarge, DropCause::QueueCleared, DropCause::TopicRefused];
    assert_eq!(by.map(|cause| dropped.by(cause)), [3, 5, 2, 1]);
    assert_eq!(dropped.total(), 11);
    assert_eq!(server.session("sender").unwrap().messages_dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_nobody_wants_is_counted() {
    let server = server().await;
    subscriber(&server, lasting("away", 60), &["t", "$share/g/s"], QoS::AtLeastOnce).await.vanishes().await;
    let mut sender = client(&server, "sender").await;
    for topic in ["t", "t", "other"] {
        sender.publish(topic, "", QoS::AtLeastOnce).await;
    }
    server.publish(Message::new("other", "").unwrap()).await.unwrap();
    let metrics = server.metrics();
    assert_eq!((metrics.queued_messages, metrics.messages_unconsumed), (2, 2));
    assert_eq!((metrics.subscriptions, metrics.shared_subscriptions), (2, 1));
    server.delete_session("away").await;
    let metrics = server.metrics();
    assert_eq!((metrics.queued_messages, metrics.subscriptions, metrics.shared_subscriptions), (0, 0, 0));
}
