//! What sections 3.4 to 4.13 of MQTT 5.0 demand of a client and no other file shows; the ids are those of
//! `docs/conformance/mqtt-5.0.md`. Statements that a codec or the flows keep are in the tests of `protocol`.

use std::time::Duration;

use futures_util::future::poll_immediate;
use gantline_client::{ConnectOptions, DisconnectCause, Event, QoS, ReasonCode, SubscribeError};
use gantline_protocol::{PacketType, Rule};

use crate::peer::{at_least_once, connected, message, reconnected, session_present, text};

/// [MQTT-3.8.3-4]
#[tokio::test(start_paused = true)]
async fn no_local_is_not_asked_for_in_a_share_group() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let error = client.subscribe("$share/g/t", QoS::AtMostOnce).no_local(true).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Request(_)), "{error}");
    peer.hears_nothing().await;
    assert!(client.is_connected());
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[tokio::test(start_paused = true)]
async fn a_filter_of_a_share_group_has_a_name_and_a_filter() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    for filter in
        ["$share/", "$share/g", "$share/g/", "$share//t", "$share/+/t", "$share/g#/t", "$share/g/t#"]
    {
        let error = client.subscribe(filter, QoS::AtMostOnce).await.unwrap_err();
        assert!(matches!(error, SubscribeError::InvalidFilter(_)), "{filter}: {error}");
    }
    peer.hears_nothing().await;
}

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1]: the server hears why, the cause is there, and the session is as it was.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_by_a_server_that_breaks_a_rule() {
    for (rule, bytes) in [
        (Rule::ReservedPacketType, &[0x00, 0][..]),
        (Rule::ReservedFlags, &[0x60, 2, 0, 1]),
        (Rule::ReservedFlags, &[0xE1, 0]),
        (Rule::UnexpectedPacket, &[0xC0, 0]),
        (Rule::UnexpectedPacket, &[0x20, 3, 0, 0, 0]),
        (Rule::AcknowledgementMismatch, &[0x90, 4, 0, 9, 0, 0]),
        (Rule::AcknowledgementMismatch, &[0xB0, 4, 0, 1, 0, 0]),
        (Rule::AcknowledgementMismatch, &[0x40, 2, 0, 2]),
        (Rule::ReasonCodeInvalid, &[0x40, 3, 0, 1, 0x92]),
        (Rule::TopicAliasUnknown, &[0x30, 6, 0, 0, 3, 0x23, 0, 1]),
        (Rule::PacketTooLarge, &[0x30, 0x80, 0x10]),
        (Rule::ReceiveMaximumExceeded, &[0x32, 6, 0, 1, b'b', 0, 8, 0, 0x32, 6, 0, 1, b'b', 0, 9, 0]),
    ] {
        let options = ConnectOptions::default()
            .session_expiry(Duration::from_secs(3_600))
            .receive_maximum(2)
            .maximum_packet_size(1_024);
        let (client, mut peer) = connected(options).await;
        let (mut events, mut messages) = (client.events(), client.messages());
        let mut sent = Vec::new();
        for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
            drop(client.publish(message("a", payload, qos)).queued().await.unwrap());
            sent.push(peer.expect_publish().await);
        }
        peer.publish("a", "in", at_least_once(7)).await;
        peer.hears_nothing().await;
        peer.send_bytes(bytes).await;
        assert_eq!(peer.expect_disconnect().await.reason, rule.reason(), "{rule:?}");
        peer.hears_the_end().await;
        drop(peer);
        let Some(Event::Disconnected { cause }) = events.next().await else { panic!("{rule:?}") };
        assert!(
            matches!(&cause, DisconnectCause::ServerViolated(violation) if violation.rule == rule),
            "{cause}"
        );
        let (_, mut peer) = reconnected(&client, session_present()).await;
        for before in sent {
            let again = peer.expect_publish().await;
            assert!(again.dup);
            assert_eq!((again.delivery, again.payload), (before.delivery, before.payload));
        }
        peer.publish("a", "in", at_least_once(7)).await;
        assert_eq!(text(&messages.next().await.unwrap()), "in");
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 7, ReasonCode::Success));
        assert!(poll_immediate(messages.next()).await.is_none());
    }
}
