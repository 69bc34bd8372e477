//! Limits: what one client, one address and all of them together may fill, and what those are told who want more.

use std::time::Duration;

use gantline_protocol::packet::{Delivery, Packet, Unsubscribe};
use gantline_protocol::{ProtocolVersion, TopicName, UnsubscribeProperties};
use gantline_server::{
    Acceptance, ConnectionRequest, Message, PublishError, QoS, ReasonCode, RunningServer, Server,
    ServerOptions, TopicFilter, Verdict,
};
use gantline_transport::{PeerInfo, Scheme, Stream};

use crate::peer::{
    Peer, answered, clean, client, connected, encoded, id, lasting, of_version, options, publish,
    seconds_pass, server_with, settle, subscribe, subscriber,
};

/// A stream from an address.
fn from(server: &RunningServer, address: &str) -> Peer {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let peer: std::net::SocketAddr = address.parse().unwrap();
    server.serve(Stream::from_io(theirs, PeerInfo::new(Scheme::Mqtt, peer, "server")));
    Peer::over(Stream::from_io(ours, PeerInfo::new(Scheme::Mqtt, "server", "client")))
}

#[tokio::test(start_paused = true)]
async fn one_address_has_so_many_connections_and_no_more() {
    let server = server_with(ServerOptions::default().max_connections_per_address(2)).await;
    let mut peers = Vec::new();
    for (number, address) in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].into_iter().enumerate() {
        let mut peer = from(&server, address);
        assert_eq!(peer.introduce(clean(&number.to_string())).await.reason, ReasonCode::Success);
        peers.push(peer);
    }
    let mut refused = from(&server, "192.0.2.1:3");
    assert_eq!(refused.introduce(clean("x")).await.reason, ReasonCode::QuotaExceeded);
    refused.hears_the_end().await;
    let metrics = server.metrics();
    assert_eq!((metrics.refused_addresses, metrics.refused, metrics.clients), (1, 0, 3));
    // One that goes makes room.
    peers.remove(0).goes().await;
    settle().await;
    assert_eq!(from(&server, "192.0.2.1:4").introduce(clean("x")).await.reason, ReasonCode::Success);
    // A connection without an address is nobody's.
    let mut others = Vec::new();
    for number in 10..15 {
        others.push(client(&server, &number.to_string()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_sessions_and_those_that_exist_go_on() {
    let server = server_with(ServerOptions::default().max_sessions(2)).await;
    connected(&server, lasting("away", 60)).await.vanishes().await;
    let there = client(&server, "there").await;
    assert_eq!(answered(&server, clean("new")).await.1.reason, ReasonCode::QuotaExceeded);
    let old = of_version(ProtocolVersion::V3_1_1, "old", true);
    assert_eq!(answered(&server, old).await.1.reason, ReasonCode::ServerUnavailable);
    assert!(answered(&server, lasting("away", 60)).await.1.session_present);
    there.goes().await;
    settle().await;
    assert_eq!(answered(&server, clean("new")).await.1.reason, ReasonCode::Success);
    assert_eq!(server.metrics().refused_sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_subscriptions_and_may_change_them() {
    let server = server_with(ServerOptions::default().max_subscriptions_per_client(2)).await;
    for (version, refusal) in [
        (ProtocolVersion::V5_0, ReasonCode::QuotaExceeded),
        (ProtocolVersion::V3_1_1, ReasonCode::UnspecifiedError),
    ] {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        let filters = ["a", "b", "c", "a"].map(|filter| (filter, options(QoS::AtLeastOnce)));
        let granted = ReasonCode::granted(QoS::AtLeastOnce);
        assert_eq!(peer.subscribe_with(&filters, None).await, [granted, granted, refusal, granted]);
        assert_eq!(server.metrics().subscriptions, 2);
        peer.unsubscribe(&["a"]).await;
        assert_eq!(peer.subscribe("c", QoS::AtLeastOnce).await, granted);
        peer.goes().await;
    }
    assert_eq!(server.metrics().subscriptions_refused, 2);
    // The application is not bound.
    let _peer = subscriber(&server, clean("b"), &["a", "b"], QoS::AtMostOnce).await;
    assert!(server.subscribe_client("b", &TopicFilter::new("c").unwrap(), options(QoS::AtMostOnce)));
    assert_eq!(server.metrics().subscriptions, 3);
}

#[tokio::test(start_paused = true)]
async fn one_packet_has_so_many_filters_and_one_with_more_has_no_effect() {
    let server = server_with(ServerOptions::default().max_filters_per_packet(3)).await;
    let filters = ["a", "b", "c", "d"];
    let with_options: Vec<_> = filters.iter().map(|filter| (*filter, options(QoS::AtMostOnce))).collect();
    let mut peer = client(&server, "a").await;
    peer.subscribe_with(&with_options[..3], None).await;
    peer.send(Packet::Subscribe(subscribe(id(7), &with_options, None))).await;
    peer.is_disconnected(ReasonCode::QuotaExceeded).await;

    let mut peer = client(&server, "b").await;
    let filters = filters.iter().map(|filter| TopicFilter::new(*filter).unwrap()).collect();
    let properties = UnsubscribeProperties::default();
    peer.send(Packet::Unsubscribe(Unsubscribe { packet_id: id(7), filters, properties })).await;
    peer.is_disconnected(ReasonCode::QuotaExceeded).await;
    assert_eq!((server.metrics().violations, server.metrics().subscriptions), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_retained_messages_and_one_more_goes_to_nobody() {
    let server = server_with(ServerOptions::default().max_retained_messages(2)).await;
    let mut watcher = subscriber(&server, clean("watcher"), &["#"], QoS::AtMostOnce).await;
    let mut peer = client(&server, "a").await;
    for topic in ["a", "b"] {
        peer.publish_retained(topic, topic, QoS::AtLeastOnce).await;
    }
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(peer.publish_retained("c", "no", qos).await, ReasonCode::QuotaExceeded);
    }
    peer.publish_retained("c", "no", QoS::AtMostOnce).await;
    assert_eq!(peer.publish_retained("a", "new", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(watcher.texts(3).await, ["a", "b", "new"]);
    let message = || Message::new("c", "no").unwrap().retain(true);
    assert_eq!(server.publish(message()).await, Err(PublishError::RetainedFull));
    assert_eq!(server.set_retained(&message()), Err(PublishError::RetainedFull));
    let metrics = server.metrics();
    assert_eq!(
        (metrics.dropped.by(gantline_server::DropCause::RetainedFull), metrics.retained_messages),
        (3, 2)
    );
    // One that is cleared makes room.
    peer.publish_retained("b", "", QoS::AtLeastOnce).await;
    assert_eq!(peer.publish_retained("c", "yes", QoS::AtLeastOnce).await, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn retained_messages_hold_so_many_bytes() {
    let server = server_with(ServerOptions::default().max_retained_bytes(10_000)).await;
    let keep =
        |topic: &str, bytes: usize| server.set_retained(&Message::new(topic, "x".repeat(bytes)).unwrap());
    keep("a", 4_000).unwrap();
    keep("b", 4_000).unwrap();
    assert_eq!(keep("c", 4_000), Err(PublishError::RetainedFull));
    assert_eq!(keep("a", 8_000), Err(PublishError::RetainedFull));
    assert_eq!(server.retained(&TopicName::new("a").unwrap()).unwrap().payload().len(), 4_000);
    keep("a", 1_000).unwrap();
    keep("c", 4_000).unwrap();
    assert!(server.metrics().retained_bytes <= 10_000);
}

#[tokio::test(start_paused = true)]
async fn topics_and_filters_have_so_many_bytes() {
    let server = server_with(ServerOptions::default().max_topic_length(4)).await;
    let mut peer = client(&server, "a").await;
    assert!(!peer.subscribe("1234", QoS::AtLeastOnce).await.is_error());
    assert_eq!(peer.subscribe("12345", QoS::AtLeastOnce).await, ReasonCode::TopicFilterInvalid);
    assert_eq!(peer.publish("1234", "", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(peer.publish("12345", "", QoS::AtLeastOnce).await, ReasonCode::TopicNameInvalid);
}

/// How many messages the subscriber gets within these seconds.
async fn messages_within(watcher: &mut Peer, seconds: u64) -> usize {
    let mut count = 0;
    let end = tokio::time::sleep(Duration::from_secs(seconds));
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return count,
            _ = watcher.packet() => count += 1,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_above_its_message_rate_waits_and_loses_nothing() {
    let server = server_with(ServerOptions::default().max_message_rate(10)).await;
    let mut watcher = subscriber(&server, clean("watcher"), &["t"], QoS::AtMostOnce).await;
    let connect = gantline_protocol::Connect { keep_alive: 2, ..clean("fast") };
    let mut fast = connected(&server, connect).await;
    let packets = (0..100)
        .map(|number| Packet::Publish(Box::new(publish("t", &number.to_string(), Delivery::AtMostOnce))));
    let bytes = encoded(packets.chain([Packet::PingReq]), ProtocolVersion::V5_0);
    fast.send_bytes(&bytes).await;
    assert_eq!(
        messages_within(&mut watcher, 1).await,
        20,
        "a second's worth at once, and as many in the second"
    );
    assert_eq!(messages_within(&mut watcher, 5).await, 50);
    // Its PINGREQ is behind its messages, and it is not given up for that.
    assert_eq!(messages_within(&mut watcher, 5).await, 30);
    fast.expect(gantline_protocol::PacketType::PingResp).await;
    let metrics = server.metrics();
    assert_eq!((metrics.received.messages(), metrics.dropped.total(), metrics.clients), (100, 0, 2));
    assert!(metrics.throttled > 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_the_rates_of_its_acceptance() {
    let server = Server::new(ServerOptions::default().max_message_rate(10))
        .validate_connections(|request: ConnectionRequest| async move {
            match request.client_id().as_str() {
                "unbounded" => Acceptance::default().max_message_rate(0).into(),
                "slow" => Acceptance::default().max_byte_rate(1_000).into(),
                _ => Verdict::accept(),
            }
        })
        .start()
        .await
        .unwrap();
    // Of so many messages in a row, all but a second's worth wait for the rate.
    for (id, seconds) in [("usual", 2), ("unbounded", 0), ("slow", 30)] {
        let mut client = client(&server, id).await;
        let began = tokio::time::Instant::now();
        for _ in 0..32 {
            client.publish("t", &"x".repeat(1_000), QoS::AtLeastOnce).await;
        }
        assert_eq!(began.elapsed().as_secs(), seconds, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_above_its_byte_rate_waits_too() {
    let server = server_with(ServerOptions::default().max_byte_rate(10_000)).await;
    let mut fast = client(&server, "fast").await;
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        fast.publish("t", &"x".repeat(5_000), QoS::AtLeastOnce).await;
    }
    let took = began.elapsed();
    assert!((Duration::from_millis(3_500)..Duration::from_millis(4_500)).contains(&took), "{took:?}");
    // Others have a rate of their own.
    let mut other = client(&server, "other").await;
    let began = tokio::time::Instant::now();
    other.publish("t", &"x".repeat(5_000), QoS::AtLeastOnce).await;
    assert!(began.elapsed() < Duration::from_millis(10));
    // One that says nothing is not counted against.
    seconds_pass(10).await;
    assert_eq!(
        fast.publish("t", &"x".repeat(5_000), QoS::AtLeastOnce).await,
        ReasonCode::NoMatchingSubscribers
    );
}
