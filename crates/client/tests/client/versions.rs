//! The older versions: the same client, without what they do not have.

use std::time::Duration;

use gantline_client::{
    Client, ConnectError, ConnectOptions, DisconnectCause, Event, OptionsError, ProtocolVersion,
    PublishError, QoS, ReasonCode, SubscribeError,
};
use gantline_protocol::packet::{ConnAck, Packet};
use gantline_protocol::{DisconnectProperties, PacketType, PayloadFormat, Rule, TopicName};

use crate::peer::{Peer, at_least_once, connected, message, pair, reconnected, session_present, text};

fn older() -> [ProtocolVersion; 2] {
    ["3.1", "3.1.1"].map(|version| version.parse().unwrap())
}

fn options(version: ProtocolVersion) -> ConnectOptions {
    ConnectOptions::default().version(version)
}

#[tokio::test(start_paused = true)]
async fn the_whole_life_of_a_connection() {
    for version in older() {
        let (stream, mut peer) = pair();
        let (client, connect) =
            tokio::join!(Client::connect_with(options(version), stream), peer.accept(ConnAck::default()));
        let client = client.unwrap();
        assert_eq!((connect.version, connect.properties), (version, Default::default()));
        let subscribe = client.subscribe("a/+", QoS::AtLeastOnce);
        let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::GrantedQoS1]));
        let mut subscription = subscription.unwrap();
        peer.publish("a/b", "1", at_least_once(3)).await;
        assert_eq!(text(&subscription.next().await.unwrap()), "1");
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 3, ReasonCode::Success));
        let (result, ()) = tokio::join!(client.publish(message("a", "", QoS::ExactlyOnce)), async {
            let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
            peer.ack(Packet::PubRec, packet_id, ReasonCode::Success).await;
            peer.expect_ack().await;
            peer.ack(Packet::PubComp, packet_id, ReasonCode::Success).await;
        });
        assert_eq!(result.unwrap().reason, ReasonCode::Success);
        let unsubscribe = client.unsubscribe("a/+").and("b");
        let (result, _) = tokio::join!(unsubscribe, peer.expect_unsubscribe(ReasonCode::Success));
        assert_eq!(result.unwrap().reasons, [ReasonCode::Success; 2]);
        assert!(subscription.next().await.is_none());
        let (result, goodbye) = tokio::join!(client.disconnect(), async {
            let goodbye = peer.expect_disconnect().await;
            drop(peer);
            goodbye
        });
        result.unwrap();
        assert_eq!(goodbye, Default::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_return_code_is_the_reason_code_of_the_same_meaning() {
    for version in older() {
        let (stream, mut peer) = pair();
        let (result, ()) = tokio::join!(Client::connect_with(options(version), stream), async {
            peer.receive().await;
            peer.send_bytes(&[0x20, 2, 0, 5]).await;
        });
        let Err(ConnectError::Refused(refusal)) = result else { panic!() };
        assert_eq!(refusal.reason, ReasonCode::NotAuthorized);
    }
}

#[tokio::test(start_paused = true)]
async fn an_option_that_the_version_does_not_have_is_named() {
    let [_, version] = older();
    let expiring = options(version).session_expiry(Duration::from_secs(1));
    let (stream, mut peer) = pair();
    let error = Client::connect_with(expiring, stream).await.unwrap_err();
    let ConnectError::Options(OptionsError::NotInVersion { option, .. }) = error else { panic!("{error}") };
    assert_eq!(option, "session_expiry");
    peer.hears_the_end().await;
    let (client, mut peer) = connected(options(version)).await;
    let error = client.subscribe("a", QoS::AtMostOnce).no_local(true).await.unwrap_err();
    assert_eq!(error.to_string(), "no_local does not exist in MQTT 3.1.1");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_packet_of_the_version_cannot_carry_is_named_and_not_sent() {
    let [_, version] = older();
    let (client, mut peer) = connected(options(version)).await;
    let plain = message("a", "", QoS::AtLeastOnce);
    for (message, property) in [
        (plain.clone().expiry(5), "expiry"),
        (plain.clone().payload_format(PayloadFormat::Utf8), "payload_format"),
        (plain.clone().content_type("text"), "content_type"),
        (plain.clone().response_topic(TopicName::new("b").unwrap()), "response_topic"),
        (plain.clone().correlation_data("1"), "correlation_data"),
        (plain.clone().user_property("k", "v"), "user_property"),
    ] {
        let error = client.publish(message).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{property} does not exist in MQTT 3.1.1"));
    }
    let error = client.unsubscribe("a").user_property("k", "v").await.unwrap_err();
    assert_eq!(error.to_string(), "user_property does not exist in MQTT 3.1.1");
    let properties = DisconnectProperties { session_expiry_interval: Some(1), ..Default::default() };
    let error = client.disconnect().properties(properties).await.unwrap_err();
    assert_eq!(error.to_string(), "properties does not exist in MQTT 3.1.1");
    peer.hears_nothing().await;
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn who_can_do_without_has_it_left_out() {
    let [_, version] = older();
    let lenient = options(version).validate_features(false).session_expiry(Duration::from_secs(1));
    let will = message("will", "", QoS::AtMostOnce).user_property("k", "v");
    let (client, mut peer) = connected(lenient.will(will)).await;
    let expiring = message("a", "x", QoS::AtMostOnce).expiry(5).user_property("k", "v");
    client.publish(expiring).await.unwrap();
    assert!(peer.expect_publish().await.properties.is_empty());
    let subscribe = client.subscribe("a", QoS::AtMostOnce).no_local(true).identifier(1);
    let (subscription, subscribe) = tokio::join!(subscribe, peer.grant(&[ReasonCode::Success]));
    assert!(!subscribe.filters[0].options.no_local);
    drop(subscription.unwrap());
    peer.expect_unsubscribe(ReasonCode::Success).await;
    let properties = DisconnectProperties { session_expiry_interval: Some(1), ..Default::default() };
    let (result, _) = tokio::join!(client.disconnect().properties(properties), async {
        peer.expect_disconnect().await;
        drop(peer);
    });
    result.unwrap();
}

/// [MQTT-3.1.2-22] [MQTT-3.1.3-7] of 3.1.1, and the 23 characters of 3.1.
#[test]
fn what_the_server_would_have_to_refuse_is_not_sent() {
    let [first, second] = older();
    let long = "x".repeat(24);
    let refused = |options: ConnectOptions| options.check().unwrap_err();
    for version in older() {
        assert!(matches!(
            refused(options(version).password("secret")),
            OptionsError::PasswordWithoutUserName { .. }
        ));
        let assigned = options(version).server_assigned_client_id();
        assert!(assigned.clone().check().is_ok() == (version == second));
        assert!(assigned.clean_start(false).check().is_err());
    }
    let kept = options(second).server_assigned_client_id().clean_start(false);
    assert!(matches!(refused(kept), OptionsError::SessionWithoutClientId { .. }));
    let long = |version| options(version).client_id(&long).unwrap();
    assert!(matches!(refused(long(first)), OptionsError::ClientIdTooLong { .. }));
    assert!(long(second).check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_filter_has_one_reason() {
    let [_, version] = older();
    let (client, mut peer) = connected(options(version)).await;
    let subscribe = client.subscribe("a", QoS::AtMostOnce);
    let (result, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::UnspecifiedError]));
    let Err(SubscribeError::Refused(refused)) = result else { panic!() };
    assert_eq!(refused.filters[0].1, ReasonCode::UnspecifiedError);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_kept_without_clean_start() {
    let [first, second] = older();
    for version in [first, second] {
        let kept = options(version).clean_start(false);
        let (client, mut peer) = connected(kept).await;
        let delivery = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
        let sent = peer.expect_publish().await;
        drop(peer);
        let Err(PublishError::ConnectionLost(lost)) = delivery.await else { panic!() };
        assert!(lost.resent_on_resume);
        // 3.1 cannot say whether the session is present, so the client goes by what it asked for.
        let connack = if version == second { session_present() } else { ConnAck::default() };
        let (connect, mut peer) = reconnected(&client, connack).await;
        assert!(!connect.clean_start);
        let again = peer.expect_publish().await;
        assert!(again.dup);
        assert_eq!(again.delivery, sent.delivery);
    }
}

/// [MQTT-3.1.2-6] of 3.1.1. The server of 3.1 cannot say that it knows nothing.
#[tokio::test(start_paused = true)]
async fn what_a_clean_session_had_in_flight_is_not_sent_in_the_next() {
    for version in older() {
        let (client, mut peer) = connected(options(version)).await;
        let delivery = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
        peer.expect_publish().await;
        let mut messages = client.messages();
        peer.publish("a", "", crate::peer::exactly_once(7)).await;
        messages.next().await.unwrap();
        peer.expect_ack().await;
        drop(peer);
        let Err(PublishError::ConnectionLost(lost)) = delivery.await else { panic!() };
        assert!(!lost.resent_on_resume);
        client.set_options(options(version).clean_start(false));
        let (connect, mut peer) = reconnected(&client, ConnAck::default()).await;
        assert!(!connect.clean_start);
        peer.hears_nothing().await;
        // Nor is the id that was received known any more.
        peer.publish("a", "new", crate::peer::exactly_once(7)).await;
        assert_eq!(text(&messages.next().await.unwrap()), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_with_a_reason_is_none_so_that_the_will_is_published() {
    let [_, version] = older();
    let (client, mut peer) = connected(options(version)).await;
    let disconnect = client.disconnect().reason(ReasonCode::DisconnectWithWillMessage);
    let (result, ()) = tokio::join!(disconnect, async {
        peer.hears_the_end().await;
        drop(peer);
    });
    result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_a_rule_is_left_without_a_word() {
    let [_, version] = older();
    // These servers cannot say goodbye, either.
    for bytes in [
        &[0xE0, 0][..],
        &[0xC0, 0],
        &[0xF0, 0],
        &[0x30, 4, 0, 1, b'#', 0],
        &[0x30, 3, 0, 1, 0xFF],
        &[0x30, 3, 0, 1, 0],
        &[0x36, 5, 0, 1, b'a', 0, 1],
        &[0x60, 2, 0, 1],
    ] {
        let (client, mut peer): (Client, Peer) = connected(options(version)).await;
        let mut events = client.events();
        peer.send_bytes(bytes).await;
        let Some(Event::Disconnected { cause: DisconnectCause::ServerViolated(violation) }) =
            events.next().await
        else {
            panic!("{bytes:?}")
        };
        assert!(
            matches!(
                violation.rule,
                Rule::UnexpectedPacket
                    | Rule::ReservedPacketType
                    | Rule::TopicNameInvalid
                    | Rule::StringNotUtf8
                    | Rule::StringContainsNull
                    | Rule::QoSInvalid
                    | Rule::ReservedFlags
            ),
            "{violation}"
        );
        peer.hears_the_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_packet_above_our_maximum_ends_the_connection() {
    let [_, version] = older();
    let (client, mut peer) = connected(options(version).maximum_packet_size(1024)).await;
    let mut events = client.events();
    peer.publish("a", &"x".repeat(2000), crate::peer::ONCE).await;
    let Some(Event::Disconnected { cause: DisconnectCause::ServerViolated(violation) }) = events.next().await
    else {
        panic!()
    };
    assert_eq!(violation.rule, Rule::PacketTooLarge);
}
