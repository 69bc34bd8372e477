//! What outlives connections and sessions: publishes that wait for the end of their flow, streams without a request.
//!
//! Programs that reconnect are built on these. Relates to: `resume.rs`, what a session does by itself.

use std::time::Duration;

use futures_util::future::poll_immediate;
use gantline_client::{ConnectOptions, ConnectionLost, Progress, PublishError, QoS, ReasonCode};
use gantline_protocol::packet::{ConnAck, Packet};

use crate::peer::{at_least_once, connected, ended, message, pair, reconnected, session_present, text};

fn kept() -> ConnectOptions {
    ConnectOptions::default().session_expiry(Duration::from_secs(3600))
}

fn lost(outcome: Result<gantline_client::PublishResult, PublishError>) -> ConnectionLost {
    match outcome {
        Err(PublishError::ConnectionLost(lost)) => lost,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_across_connections_ends_with_the_acknowledgement_after_the_resume() {
    let (client, mut peer) = connected(kept()).await;
    let publish = client.publish(message("a", "1", QoS::AtLeastOnce)).across_connections();
    let mut delivery = publish.queued().await.unwrap();
    let id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    drop(peer);
    ended(&client).await;
    assert!(poll_immediate(&mut delivery).await.is_none());
    let (_, mut peer) = reconnected(&client, session_present()).await;
    peer.expect_publish().await;
    peer.ack(Packet::PubAck, id, ReasonCode::NoMatchingSubscribers).await;
    assert_eq!(delivery.await.unwrap().reason, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn a_publish_across_connections_says_how_far_it_had_come_when_the_session_is_gone() {
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let (stream, mut peer) = pair();
    let (client, _) =
        tokio::join!(gantline_client::Client::connect_with(kept(), stream), peer.accept(connack));
    let client = client.unwrap();
    let mut deliveries = Vec::new();
    for payload in ["received", "sent", "unsent"] {
        let publish = client.publish(message("a", payload, QoS::ExactlyOnce)).across_connections();
        deliveries.push(publish.queued().await.unwrap());
    }
    let id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.expect_publish().await;
    peer.ack(Packet::PubRec, id, ReasonCode::Success).await;
    peer.expect_ack().await;
    drop(peer);
    ended(&client).await;
    assert!(poll_immediate(&mut deliveries[0]).await.is_none());
    assert!(poll_immediate(&mut deliveries[1]).await.is_none());
    assert_eq!(lost(poll_immediate(&mut deliveries[2]).await.unwrap()).progress, Progress::Unsent);
    let (_, mut peer) = reconnected(&client, ConnAck::default()).await;
    let [received, sent, _] = deliveries.try_into().unwrap();
    assert_eq!(lost(received.await).progress, Progress::Received);
    let lost = lost(sent.await);
    assert_eq!((lost.progress, lost.resent_on_resume), (Progress::Sent, false));
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_publish_across_connections_ends_with_the_next_one_if_no_session_was_to_be_kept() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let publish = client.publish(message("a", "1", QoS::AtLeastOnce)).across_connections();
    let delivery = publish.queued().await.unwrap();
    peer.expect_publish().await;
    drop(peer);
    ended(&client).await;
    let (_, _peer) = reconnected(&client, ConnAck::default()).await;
    assert_eq!(lost(delivery.await).progress, Progress::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_request_outlives_sessions_and_sends_nothing() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut stream = client.subscribe("a/+", QoS::AtLeastOnce).without_request().unwrap();
    peer.hears_nothing().await;
    peer.publish("a/1", "first", at_least_once(1)).await;
    assert_eq!(text(&stream.next().await.unwrap()), "first");
    peer.expect_ack().await;
    drop(peer);
    ended(&client).await;
    let (_, mut peer) = reconnected(&client, ConnAck::default()).await;
    peer.publish("b", "other", at_least_once(1)).await;
    peer.publish("a/2", "second", at_least_once(2)).await;
    assert_eq!(text(&stream.next().await.unwrap()), "second");
    peer.expect_ack().await;
    peer.expect_ack().await;
    drop(stream);
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_stream_gives_every_answer() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let request = client.subscribe("a", QoS::AtLeastOnce).and("b", QoS::ExactlyOnce).no_local(true);
    let reasons = [ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1];
    let (answer, asked) = tokio::join!(request.without_stream(), peer.grant(&reasons));
    assert_eq!(answer.unwrap().reasons, reasons);
    assert!(!asked.filters[0].options.no_local && asked.filters[1].options.no_local);
    peer.hears_nothing().await;
}
