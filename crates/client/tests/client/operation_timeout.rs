//! Operations that wait for the server no longer than they are told to.

use std::time::Duration;

use gantline_client::{
    ConnectOptions, ConnectionError, PublishError, QoS, ReasonCode, SubscribeError, UnsubscribeError,
};
use gantline_protocol::packet::{ConnAck, Packet};
use tokio::time::Instant;

use crate::peer::{connected, message, pair};

const LIMIT: Duration = Duration::from_secs(3);

fn options() -> ConnectOptions {
    ConnectOptions::default().operation_timeout(LIMIT)
}

#[tokio::test(start_paused = true)]
async fn each_operation_says_what_did_not_come() {
    let (client, mut peer) = connected(options()).await;
    let began = Instant::now();
    for (number, qos) in [QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
        let error = client.publish(message("a", "", qos)).await.unwrap_err();
        assert!(matches!(error, PublishError::TimedOut { limit: LIMIT }), "{error}");
        assert_eq!(began.elapsed(), LIMIT * (number as u32 + 1));
        peer.expect_publish().await;
    }
    let error = client.subscribe("a", QoS::AtMostOnce).await.unwrap_err();
    assert!(matches!(error, SubscribeError::TimedOut { limit: LIMIT }), "{error}");
    let error = client.unsubscribe("b").await.unwrap_err();
    assert!(matches!(error, UnsubscribeError::TimedOut { limit: LIMIT }), "{error}");
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ConnectionError::TimedOut { limit: LIMIT }), "{error}");
    assert_eq!(began.elapsed(), LIMIT * 5);
    assert!(client.is_connected());
    // QoS 0 and what is written only wait for nobody.
    client.publish(message("a", "", QoS::AtMostOnce)).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_none_and_does_no_harm() {
    let (client, mut peer) = connected(options()).await;
    client.publish(message("a", "", QoS::AtLeastOnce)).await.unwrap_err();
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    client.subscribe("a", QoS::AtMostOnce).await.unwrap_err();
    client.ping().await.unwrap_err();
    peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
    peer.grant(&[ReasonCode::Success]).await;
    // It was given up.
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
    assert!(matches!(peer.receive().await, Packet::PingReq));
    peer.send(Packet::PingResp).await;
    let (pong, packet) = tokio::join!(client.ping(), async {
        let packet = peer.receive().await;
        peer.send(Packet::PingResp).await;
        packet
    });
    pong.unwrap();
    assert!(matches!(packet, Packet::PingReq));
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_the_servers_quota_has_its_time_too() {
    let (stream, mut peer) = pair();
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let connect = gantline_client::Client::connect_with(options(), stream);
    let (client, _) = tokio::join!(connect, peer.accept(connack));
    let client = client.unwrap();
    // The second is pushed when no deadline is left and nothing can be sent.
    for _ in 0..2 {
        let began = Instant::now();
        client.publish(message("a", "", QoS::AtLeastOnce)).await.unwrap_err();
        assert_eq!(began.elapsed(), LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_in_time_is_not_timed() {
    let (client, mut peer) = connected(options()).await;
    for _ in 0..3 {
        tokio::time::advance(LIMIT / 2).await;
        let (result, ()) = tokio::join!(client.publish(message("a", "", QoS::AtLeastOnce)), async {
            let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
            tokio::time::sleep(LIMIT / 2).await;
            peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
        });
        result.unwrap();
    }
}
