//! The end of a server: everybody is told, what is under way goes out, and nothing stays.

use std::num::NonZeroU16;
use std::time::Duration;

use gantline_protocol::packet::Connect;
use gantline_protocol::{ProtocolVersion, Will};
use gantline_server::{QoS, ReasonCode, RunningServer, Server, ServerOptions};
use gantline_transport::{Address, DialOptions, connect};
use tokio::time::Instant;

use crate::peer::{
    Peer, clean, client, connected, of_version, server, server_with, settle, stranger, subscriber, will,
};

const DEADLINE: Duration = Duration::from_secs(5);

/// Publishes more than goes to a client that does not read.
async fn flood(server: &RunningServer) {
    let mut other = client(server, "flood").await;
    for _ in 0..200 {
        other.publish("t", &"x".repeat(4_000), QoS::AtMostOnce).await;
    }
    other.goes().await;
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_and_all_tasks_end() {
    let server = server().await;
    let mut peers = Vec::new();
    for version in ProtocolVersion::ALL {
        peers.push((version, connected(&server, of_version(version, &version.to_string(), false)).await));
    }
    let mut silent = stranger(&server);
    settle().await;
    let began = Instant::now();
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(DEADLINE).await }
    });
    for (version, peer) in &mut peers {
        if version.server_may_disconnect() {
            peer.is_disconnected(ReasonCode::ServerShuttingDown).await;
        } else {
            peer.hears_the_end().await;
        }
    }
    silent.hears_the_end().await;
    drop(peers);
    stopping.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(server.metrics().connections, 0);
    // Again, and there is nothing to wait for.
    server.shutdown(DEADLINE).await;
    stranger(&server).hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_goes_out_first() {
    let server = server().await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for number in 0..500 {
        other.publish("t", &format!("{number:01000}"), [QoS::AtMostOnce, QoS::AtLeastOnce][number % 2]).await;
    }
    other.ping().await;
    let server = server.clone();
    let stopping = tokio::spawn(async move { server.shutdown(DEADLINE).await });
    for _ in 0..500 {
        peer.publish_packet().await;
    }
    peer.is_disconnected(ReasonCode::ServerShuttingDown).await;
    drop((peer, other));
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off_at_the_deadline() {
    let server = server_with(ServerOptions::default().close_timeout(Duration::from_secs(1))).await;
    let peer = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await;
    flood(&server).await;
    let began = Instant::now();
    server.shutdown(DEADLINE).await;
    let elapsed = began.elapsed();
    assert!(elapsed >= DEADLINE && elapsed <= DEADLINE + Duration::from_millis(1_100), "{elapsed:?}");
    assert_eq!(server.metrics().connections, 0);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_an_exhausted_window_does_not_hold_the_server_up() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for _ in 0..10 {
        other.publish("t", "x", QoS::AtLeastOnce).await;
    }
    let stopping = tokio::spawn(async move { server.shutdown(DEADLINE).await });
    peer.publish_packet().await;
    peer.is_disconnected(ReasonCode::ServerShuttingDown).await;
    drop((peer, other));
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_that_are_kept_go_out_first() {
    let server = server_with(ServerOptions::default().max_queued_messages(10)).await;
    let slow = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    let mut other = subscriber(&server, clean("b"), &["own"], QoS::AtLeastOnce).await;
    // Something is in flight to it, so that it is read while it is held back.
    other.publish("own", "", QoS::AtLeastOnce).await;
    other.publish_packet().await;
    // More than half.
    for _ in 0..6 {
        other.publish("t", "", QoS::AtLeastOnce).await;
    }
    let held = other.made("t", "", QoS::AtLeastOnce);
    let id = held.delivery.packet_id().unwrap();
    other.send(gantline_protocol::Packet::Publish(Box::new(held))).await;
    other.hears_nothing().await;
    let began = Instant::now();
    let stopping = tokio::spawn(async move { server.shutdown(DEADLINE).await });
    assert_eq!(other.ack_of(gantline_protocol::PacketType::PubAck, id).await, ReasonCode::Success);
    other.is_disconnected(ReasonCode::ServerShuttingDown).await;
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    drop((slow, other));
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wills_are_not_published() {
    let server = server().await;
    let mut watcher = subscriber(&server, clean("watcher"), &["w"], QoS::AtLeastOnce).await;
    let mut mortal = connected(&server, Connect { will: will("w", "gone", 0), ..clean("a") }).await;
    let stopping = tokio::spawn(async move { server.shutdown(DEADLINE).await });
    mortal.is_disconnected(ReasonCode::ServerShuttingDown).await;
    watcher.is_disconnected(ReasonCode::ServerShuttingDown).await;
    drop((mortal, watcher));
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nor_are_those_of_clients_that_are_cut_off() {
    let server = server_with(ServerOptions::default().close_timeout(Duration::from_secs(1))).await;
    let kept = will("w", "gone", 0).map(|will| Will { retain: true, ..will });
    let connect = Connect { will: kept, ..clean("a") };
    let peer = subscriber(&server, connect, &["t"], QoS::AtMostOnce).await;
    flood(&server).await;
    server.shutdown(DEADLINE).await;
    let metrics = server.metrics();
    assert_eq!((metrics.connections, metrics.retained_messages), (0, 0));
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_does_not_outlive_the_last_handle() {
    let server = server_with(ServerOptions::default().close_timeout(Duration::from_secs(1))).await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await;
    flood(&server).await;
    drop(server);
    tokio::time::sleep(DEADLINE).await;
    let mut came = 0;
    while tokio::time::timeout(DEADLINE, peer.packet()).await.expect("the end").is_some() {
        came += 1;
    }
    assert!(came < 200, "it was written on and on");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_stops_the_server() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    let mut silent = stranger(&server);
    let other_handle = server.clone();
    drop(server);
    peer.ping().await;
    drop(other_handle);
    peer.is_disconnected(ReasonCode::ServerShuttingDown).await;
    silent.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_begins_as_the_handle_is_dropped_ends_too() {
    for turns in 0..6 {
        let server = server().await;
        let mut peer = stranger(&server);
        peer.send(gantline_protocol::Packet::Connect(Box::new(clean("a")))).await;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        drop(server);
        // With or without an answer.
        while tokio::time::timeout(DEADLINE, peer.packet()).await.expect("the end").is_some() {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_can_be_listened_on_again_after_a_shutdown() {
    let address = Address::new("memory://shutdown-again").unwrap();
    for _ in 0..3 {
        let server = Server::new(ServerOptions::default()).listen(address.clone()).start().await.unwrap();
        let mut peer = Peer::over(connect(&address, &DialOptions::default()).await.unwrap());
        peer.introduce(clean("a")).await;
        let stopping = tokio::spawn(async move { server.shutdown(DEADLINE).await });
        peer.is_disconnected(ReasonCode::ServerShuttingDown).await;
        drop(peer);
        stopping.await.unwrap();
        assert!(connect(&address, &DialOptions::default()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn run_until_stops_with_its_future() {
    let address = Address::new("memory://shutdown-run-until").unwrap();
    let server = Server::new(ServerOptions::default()).listen(address.clone());
    let result = server.run_until(async {
        let mut peer = Peer::over(connect(&address, &DialOptions::default()).await.unwrap());
        peer.introduce(clean("a")).await;
        peer.ping().await;
        42
    });
    assert_eq!(result.await.unwrap(), 42);
    assert!(connect(&address, &DialOptions::default()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_in_use_leaves_nothing_running() {
    let address = Address::new("memory://shutdown-in-use").unwrap();
    let first = Server::new(ServerOptions::default()).listen(address.clone()).start().await.unwrap();
    let other = Address::new("memory://shutdown-other").unwrap();
    let second = Server::new(ServerOptions::default()).listen(other.clone()).listen(address.clone());
    assert!(second.start().await.is_err());
    assert!(connect(&other, &DialOptions::default()).await.is_err());
    assert!(Server::new(ServerOptions::default()).listen("nonsense://x").start().await.is_err());
    drop(first);
}
