//! A server that breaks the rules: it is told which one, and the connection ends with that as its cause.

use std::num::NonZeroU16;
use std::time::Duration;

use gantline_client::{Client, ConnectError, ConnectOptions, DisconnectCause, Event, QoS, ReasonCode};
use gantline_protocol::packet::{ConnAck, Connect, Packet, Publish, SubAck, UnsubAck};
use gantline_protocol::{AckProperties, Rule, Violation};

use crate::peer::{
    ONCE, Peer, at_least_once, connected, exactly_once, id, message, pair, publish, reconnected,
};

/// The client ends the connection because of this rule, says so, and is fit for another one.
async fn ends_it(client: &Client, mut peer: Peer, events: &mut gantline_client::Events, rule: Rule) {
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!("{rule:?}") };
    let DisconnectCause::ServerViolated(violation) = &cause else { panic!("{rule:?}: {cause}") };
    assert_eq!(violation.rule, rule);
    assert_eq!(peer.expect_disconnect().await.reason, rule.reason());
    peer.hears_the_end().await;
    reconnected(client, ConnAck::default()).await;
}

async fn breaks(rule: Rule, packets: &[Packet]) {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    for packet in packets {
        peer.send(packet.clone()).await;
    }
    ends_it(&client, peer, &mut events, rule).await;
}

async fn breaks_with_bytes(rule: Rule, bytes: &[u8]) {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    peer.send_bytes(bytes).await;
    ends_it(&client, peer, &mut events, rule).await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_the_wrong_direction() {
    breaks(Rule::UnexpectedPacket, &[Packet::PingReq]).await;
    breaks(Rule::UnexpectedPacket, &[Packet::Connect(Box::<Connect>::default())]).await;
    // SUBSCRIBE and UNSUBSCRIBE of the filter "a".
    breaks_with_bytes(Rule::UnexpectedPacket, &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0]).await;
    breaks_with_bytes(Rule::UnexpectedPacket, &[0xA2, 6, 0, 1, 0, 0, 1, b'a']).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connack() {
    breaks(Rule::UnexpectedPacket, &[Packet::ConnAck(Box::default())]).await;
}

#[tokio::test(start_paused = true)]
async fn authentication_that_nobody_asked_for() {
    breaks_with_bytes(Rule::AuthenticationNotStarted, &[0xF0, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_no_request() {
    let properties = AckProperties::default;
    let reasons = vec![ReasonCode::Success];
    let suback = SubAck { packet_id: id(9), reasons: reasons.clone(), properties: properties() };
    breaks(Rule::AcknowledgementMismatch, &[Packet::SubAck(suback)]).await;
    let unsuback = UnsubAck { packet_id: id(9), reasons, properties: properties() };
    breaks(Rule::AcknowledgementMismatch, &[Packet::UnsubAck(unsuback)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_suback_with_the_wrong_number_of_reasons() {
    for reasons in [vec![ReasonCode::Success], vec![ReasonCode::Success; 3]] {
        let (client, mut peer) = connected(ConnectOptions::default()).await;
        let mut events = client.events();
        let subscribe = client.subscribe("a", QoS::AtMostOnce).and("b", QoS::AtMostOnce);
        let (result, _) = tokio::join!(subscribe, peer.grant(&reasons));
        assert!(result.is_err());
        ends_it(&client, peer, &mut events, Rule::ReasonCountMismatch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_of_the_wrong_flow() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    let delivery = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubComp, packet_id, ReasonCode::Success).await;
    assert!(delivery.await.is_err());
    ends_it(&client, peer, &mut events, Rule::AcknowledgementMismatch).await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_above_our_maximum_is_refused_from_its_header() {
    let (client, mut peer) = connected(ConnectOptions::default().maximum_packet_size(1024)).await;
    let mut events = client.events();
    // PUBLISH with 1,024 bytes behind its header, none of which come.
    peer.send_bytes(&[0x30, 0x80, 0x08]).await;
    ends_it(&client, peer, &mut events, Rule::PacketTooLarge).await;
}

fn aliased(alias: u16) -> Packet {
    let Packet::Publish(publish) = publish("a", "", ONCE) else { unreachable!() };
    let mut publish = Publish { topic: None, ..*publish };
    publish.properties.topic_alias = NonZeroU16::new(alias);
    Packet::Publish(Box::new(publish))
}

#[tokio::test(start_paused = true)]
async fn a_topic_alias_that_is_not_known_or_not_allowed() {
    breaks(Rule::TopicAliasUnknown, &[aliased(1)]).await;
    breaks(Rule::TopicAliasOutOfRange, &[aliased(33)]).await;
}

#[tokio::test(start_paused = true)]
async fn more_open_messages_than_the_receive_maximum() {
    let (client, mut peer) = connected(ConnectOptions::default().receive_maximum(2)).await;
    let (mut events, _messages) = (client.events(), client.messages());
    for delivery in [at_least_once(1), exactly_once(2), at_least_once(3)] {
        peer.publish("a", "", delivery).await;
    }
    ends_it(&client, peer, &mut events, Rule::ReceiveMaximumExceeded).await;
}

#[tokio::test(start_paused = true)]
async fn malformed_packets() {
    for (rule, bytes) in [
        (Rule::ReservedPacketType, &[0x00, 0][..]),
        (Rule::ReservedFlags, &[0xD1, 0]),
        (Rule::VarintTooLong, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF]),
        (Rule::QoSInvalid, &[0x36, 6, 0, 1, b'a', 0, 1, 0]),
        (Rule::TopicNameInvalid, &[0x30, 4, 0, 1, b'#', 0]),
        (Rule::PacketIdZero, &[0x40, 2, 0, 0]),
        (Rule::SessionExpiryFromServer, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 1]),
    ] {
        breaks_with_bytes(rule, bytes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_violation_is_delivered() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (mut events, mut messages) = (client.events(), client.messages());
    let mut bytes = Vec::new();
    publish("a", "good", ONCE).encode(Default::default(), &mut bytes).unwrap();
    bytes.extend([0x00, 0]);
    peer.send_bytes(&bytes).await;
    assert_eq!(messages.next().await.unwrap().payload_str().unwrap(), "good");
    ends_it(&client, peer, &mut events, Rule::ReservedPacketType).await;
}

#[tokio::test(start_paused = true)]
async fn needless_answers_do_no_harm() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    peer.send(Packet::PingResp).await;
    peer.ack(Packet::PubAck, 7, ReasonCode::Success).await;
    peer.ack(Packet::PubComp, 7, ReasonCode::PacketIdentifierNotFound).await;
    peer.hears_nothing().await;
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn an_end_inside_a_packet_is_the_networks_fault() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    peer.send_bytes(&[0x30, 9, 0]).await;
    drop(peer);
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!() };
    assert!(matches!(cause, DisconnectCause::Network(_)), "{cause}");
}

/// What becomes of an attempt to connect that is answered with these bytes.
async fn connect_answered_with(bytes: &[u8]) -> Result<Client, ConnectError> {
    let (stream, mut peer) = pair();
    let options = ConnectOptions::default().maximum_packet_size(1024);
    let (result, ()) = tokio::join!(Client::connect_with(options, stream), peer.send_bytes(bytes));
    result
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_connect_that_is_none() {
    let publish = connect_answered_with(&[0x30, 4, 0, 1, b'a', 0]).await.unwrap_err();
    assert!(
        matches!(publish, ConnectError::NotMqtt(Violation { rule: Rule::UnexpectedPacket, .. })),
        "{publish}"
    );
    let too_large = connect_answered_with(&[0x20, 0x80, 0x08]).await.unwrap_err();
    assert!(matches!(too_large, ConnectError::ServerViolated(Violation { rule: Rule::PacketTooLarge, .. })));
    let session = connect_answered_with(&[0x20, 3, 1, 0, 0]).await.unwrap_err();
    assert!(
        matches!(
            session,
            ConnectError::ServerViolated(Violation { rule: Rule::SessionPresentUnexpected, .. })
        ),
        "{session}"
    );
    let auth = connect_answered_with(&[0xF0, 0]).await.unwrap_err();
    assert!(matches!(auth, ConnectError::ServerViolated(_)), "{auth}");
}

#[tokio::test(start_paused = true)]
async fn a_connack_may_come_in_pieces_and_with_company() {
    let (stream, mut peer) = pair();
    let client = Client::new(ConnectOptions::default());
    let mut messages = client.messages();
    let server = async {
        for byte in [0x20, 3, 0, 0] {
            peer.send_bytes(&[byte]).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        peer.send_bytes(&[0, 0x30, 4, 0, 1, b'a', 0]).await;
    };
    let (result, ()) = tokio::join!(client.reconnect_with(stream), server);
    result.unwrap();
    assert_eq!(messages.next().await.unwrap().topic().as_str(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_that_the_server_does_not_read_ends_in_time() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    client.publish(message("a", &"x".repeat(200_000), QoS::AtMostOnce)).await.unwrap();
    // The driver writes as much as the stream takes.
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    peer.send(Packet::PingReq).await;
    assert!(matches!(events.next().await, Some(Event::Disconnected { .. })));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}
