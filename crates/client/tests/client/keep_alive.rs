//! Keep alive: pings where there is silence, gives a dead server up, lets a living one be.

use std::time::Duration;

use gantline_client::{Client, ConnectOptions, DisconnectCause, Event, QoS};
use gantline_protocol::packet::{ConnAck, Packet};
use tokio::time::Instant;

use crate::peer::{connected, message, pair};

const PERIOD: Duration = Duration::from_secs(20);

fn options() -> ConnectOptions {
    ConnectOptions::default().keep_alive(PERIOD)
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_pings_once_in_every_period() {
    let (client, mut peer) = connected(options()).await;
    let start = Instant::now();
    for period in 1..=3 {
        assert!(matches!(peer.receive().await, Packet::PingReq));
        assert_eq!(start.elapsed(), PERIOD * period);
        peer.send(Packet::PingResp).await;
    }
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn whatever_is_sent_puts_the_ping_off() {
    let (client, mut peer) = connected(options()).await;
    let start = Instant::now();
    tokio::time::advance(PERIOD / 2).await;
    client.publish(message("a", "", QoS::AtMostOnce)).await.unwrap();
    peer.expect_publish().await;
    assert!(matches!(peer.receive().await, Packet::PingReq));
    assert_eq!(start.elapsed(), PERIOD * 3 / 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_after_a_period() {
    let (client, mut peer) = connected(options()).await;
    let mut events = client.events();
    let start = Instant::now();
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!() };
    assert!(matches!(cause, DisconnectCause::ServerSilent), "{cause}");
    assert_eq!(start.elapsed(), PERIOD * 2);
    assert!(matches!(peer.receive().await, Packet::PingReq));
    // No goodbye: the server shall publish the will.
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_something_else_is_alive() {
    let (client, mut peer) = connected(options()).await;
    let mut messages = client.messages();
    let mut pings = 0;
    for _ in 0..6 {
        tokio::time::advance(PERIOD * 3 / 4).await;
        peer.publish("a", "", crate::peer::ONCE).await;
        messages.next().await.unwrap();
        while let Ok(packet) = tokio::time::timeout(Duration::from_millis(1), peer.receive()).await {
            assert!(matches!(packet, Packet::PingReq));
            pings += 1;
        }
    }
    assert!(client.is_connected());
    assert!(pings > 1);
}

#[tokio::test(start_paused = true)]
async fn the_servers_keep_alive_counts() {
    let mut connack = ConnAck::default();
    connack.properties.server_keep_alive = Some(5);
    let (stream, mut peer) = pair();
    let (client, _) = tokio::join!(Client::connect_with(options(), stream), peer.accept(connack));
    let _client = client.unwrap();
    let start = Instant::now();
    assert!(matches!(peer.receive().await, Packet::PingReq));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_nobody_pings() {
    let (client, mut peer) = connected(options().keep_alive(Duration::ZERO)).await;
    let day = Duration::from_secs(86_400);
    assert!(tokio::time::timeout(day, peer.receive()).await.is_err());
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_ping_by_hand_tells_how_long_the_answer_took() {
    let (client, mut peer) = connected(options()).await;
    let server = async {
        assert!(matches!(peer.receive().await, Packet::PingReq));
        tokio::time::advance(Duration::from_millis(250)).await;
        peer.send(Packet::PingResp).await;
    };
    let (took, ()) = tokio::join!(client.ping(), server);
    assert_eq!(took.unwrap(), Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_in_their_order() {
    let (client, mut peer) = connected(options()).await;
    let server = async {
        for _ in 0..2 {
            assert!(matches!(peer.receive().await, Packet::PingReq));
        }
        peer.send(Packet::PingResp).await;
        peer.hears_nothing().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        peer.send(Packet::PingResp).await;
    };
    let (first, second, ()) = tokio::join!(client.ping(), client.ping(), server);
    assert_eq!((first.unwrap(), second.unwrap()), (Duration::ZERO, Duration::from_millis(1001)));
}

#[tokio::test(start_paused = true)]
async fn a_ping_by_hand_that_is_not_answered_ends_the_connection_without_keep_alive_too() {
    let (client, _peer) = connected(options().keep_alive(Duration::ZERO)).await;
    let start = Instant::now();
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.to_string(), "the connection was lost: the server did not answer a ping in time");
    assert_eq!(start.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_neither_reads_nor_sends_is_given_up_too() {
    let (client, _peer) = connected(options()).await;
    let mut events = client.events();
    // More than the stream in memory takes: the ping stays in the output.
    let large = message("a", &"x".repeat(200_000), QoS::AtLeastOnce);
    let delivery = client.publish(large).queued().await.unwrap();
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!() };
    assert!(matches!(cause, DisconnectCause::ServerSilent), "{cause}");
    assert!(delivery.await.is_err());
}

/// The keep alive asks for what we send; a dead server is found by what it does not answer.
#[tokio::test(start_paused = true)]
async fn a_server_that_died_is_noticed_though_we_go_on_sending() {
    let (client, peer) = connected(options()).await;
    let mut events = client.events();
    let start = Instant::now();
    let publisher = tokio::spawn(async move {
        // More often than a ping would be due.
        while client.publish(message("a", "", QoS::AtMostOnce)).await.is_ok() {
            tokio::time::sleep(PERIOD / 4).await;
        }
    });
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!() };
    assert!(matches!(cause, DisconnectCause::ServerSilent), "{cause}");
    assert!(start.elapsed() <= PERIOD * 3, "{:?}", start.elapsed());
    publisher.await.unwrap();
    drop(peer);
}
