//! What 5.0 demands of a client around CONNECT, CONNACK and PUBLISH and no other file shows; the ids are those of
//! `docs/conformance/mqtt-5.0.md`. Statements that a codec keeps are in the tests of `protocol`.

use std::num::NonZeroU16;
use std::time::Duration;

use gantline_client::{Client, ConnectOptions, DisconnectCause, Event, QoS, ReasonCode};
use gantline_protocol::packet::{ConnAck, Connect, Packet, Publish};
use gantline_protocol::{AckProperties, PacketType, PublishProperties, Rule};
use tokio::time::Instant;

use crate::peer::{ONCE, Peer, connected, message, pair, publish, reconnected, session_present};

fn options() -> ConnectOptions {
    ConnectOptions::default()
}

/// A client whose server answers with this CONNACK.
async fn answered(options: ConnectOptions, connack: ConnAck) -> (Client, Connect, Peer) {
    let (stream, mut peer) = pair();
    let (client, connect) = tokio::join!(Client::connect_with(options, stream), peer.accept(connack));
    (client.unwrap(), connect, peer)
}

// ---- CONNECT and CONNACK ----

/// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
#[tokio::test(start_paused = true)]
async fn the_servers_keep_alive_counts_whatever_we_asked_for() {
    for (asked, granted) in [(60, Some(5)), (0, Some(5)), (2, Some(600)), (7, None)] {
        let mut connack = ConnAck::default();
        connack.properties.server_keep_alive = granted;
        let start = Instant::now();
        let (_client, connect, mut peer) =
            answered(options().keep_alive(Duration::from_secs(asked)), connack).await;
        assert_eq!(u64::from(connect.keep_alive), asked);
        assert_eq!(peer.receive().await, Packet::PingReq);
        assert_eq!(start.elapsed().as_secs(), granted.map_or(asked, u64::from));
    }
    // A server may also switch it off.
    let mut connack = ConnAck::default();
    connack.properties.server_keep_alive = Some(0);
    let (client, _, mut peer) = answered(options().keep_alive(Duration::from_secs(5)), connack).await;
    assert!(tokio::time::timeout(Duration::from_secs(86_400), peer.receive()).await.is_err());
    assert!(client.is_connected());
}

/// [MQTT-3.1.3-2]
#[tokio::test(start_paused = true)]
async fn an_assigned_client_id_names_the_session_from_then_on() {
    let options = options().server_assigned_client_id().session_expiry(Duration::from_secs(100));
    let mut connack = ConnAck::default();
    connack.properties.assigned_client_identifier = Some("number-7".into());
    let (client, connect, peer) = answered(options, connack).await;
    assert_eq!((connect.client_id.as_str(), connect.clean_start), ("", true));
    drop(peer);
    let (connect, peer) = reconnected(&client, session_present()).await;
    assert_eq!((connect.client_id.as_str(), connect.clean_start), ("number-7", false));
    drop(peer);
    // It stays ours when the server has lost the session.
    let (connect, peer) = reconnected(&client, ConnAck::default()).await;
    assert_eq!(connect.client_id, "number-7");
    drop(peer);
    let (connect, _peer) = reconnected(&client, session_present()).await;
    assert_eq!((connect.client_id.as_str(), connect.clean_start), ("number-7", false));
}

/// [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.2-23]
#[tokio::test(start_paused = true)]
async fn a_session_lasts_as_long_as_its_expiry_says() {
    for (asked, granted, kept) in [(None, None, false), (Some(0), None, false), (Some(9), None, true)]
        .into_iter()
        .chain([(Some(9), Some(0), false), (Some(9), Some(3), true)])
    {
        let options = match asked {
            Some(seconds) => options().session_expiry(Duration::from_secs(seconds)),
            None => options(),
        };
        let mut connack = ConnAck::default();
        connack.properties.session_expiry_interval = granted;
        let (client, connect, mut peer) = answered(options, connack).await;
        assert!(connect.clean_start);
        drop(client.publish(message("a", "1", QoS::AtLeastOnce)).queued().await.unwrap());
        peer.expect_publish().await;
        drop(peer);
        let answer = if kept { session_present() } else { ConnAck::default() };
        let (connect, mut peer) = reconnected(&client, answer).await;
        assert_eq!(connect.clean_start, !kept, "{asked:?} {granted:?}");
        if kept {
            assert!(peer.expect_publish().await.dup);
        }
        peer.hears_nothing().await;
    }
}

/// [MQTT-3.2.2-4]: whoever asks for a session has one, be it that it remembers nothing of it.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_asked_for_is_taken_as_the_server_has_it() {
    let options = options().client_id("a").unwrap().clean_start(false).session_expiry(Duration::MAX);
    let (client, connect, mut peer) = answered(options, session_present()).await;
    assert!(!connect.clean_start && client.connection().unwrap().session_present());
    let mut messages = client.messages();
    peer.publish("a", "kept", crate::peer::at_least_once(7)).await;
    assert_eq!(messages.next().await.unwrap().payload_str().unwrap(), "kept");
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 7, ReasonCode::Success));
}

/// [MQTT-3.1.2-29]
#[tokio::test(start_paused = true)]
async fn connect_says_which_information_is_wanted() {
    let (_client, connect, _peer) = answered(options(), ConnAck::default()).await;
    assert_eq!(connect.properties.request_problem_information, None);
    assert_eq!(connect.properties.request_response_information, None);
    let options = options().request_problem_information(false).request_response_information(true);
    let (client, connect, mut peer) = answered(options, ConnAck::default()).await;
    assert_eq!(connect.properties.request_problem_information, Some(false));
    assert_eq!(connect.properties.request_response_information, Some(true));
    // A server that explains all the same does no harm.
    let (result, ()) = tokio::join!(client.publish(message("a", "", QoS::AtLeastOnce)), async {
        let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap();
        let properties = AckProperties { reason_string: Some("so it is".into()), ..AckProperties::default() };
        let ack = gantline_protocol::packet::Ack { packet_id, reason: ReasonCode::Success, properties };
        peer.send(Packet::PubAck(ack)).await;
    });
    assert_eq!(result.unwrap().reason, ReasonCode::Success);
}

/// [MQTT-3.1.2-13] [MQTT-3.1.2-16] [MQTT-3.1.2-18]: 5.0 allows a password without a user name.
#[tokio::test(start_paused = true)]
async fn user_name_and_password_come_as_they_were_given() {
    let both = (Some("ada"), Some("secret"));
    for (user_name, password) in [(None, None), (Some("ada"), None), (None, Some("secret")), both] {
        let mut options = options();
        if let Some(name) = user_name {
            options = options.user_name(name);
        }
        if let Some(password) = password {
            options = options.password(password);
        }
        let (_client, connect, _peer) = answered(options, ConnAck::default()).await;
        assert_eq!(connect.user_name.as_deref(), user_name);
        assert_eq!(connect.password.as_deref(), password.map(str::as_bytes));
        assert_eq!(connect.will, None);
    }
}

// ---- what the server bounds ----

async fn publish_one(client: &Client, payload: &str, qos: QoS) {
    drop(client.publish(message("a", payload, qos)).queued().await.unwrap());
}

/// [MQTT-3.3.4-7]
#[tokio::test(start_paused = true)]
async fn the_receive_maximum_counts_until_pubcomp_and_for_what_is_sent_again() {
    let grant = |maximum, session_present| {
        let mut connack = ConnAck { session_present, ..ConnAck::default() };
        connack.properties.receive_maximum = NonZeroU16::new(maximum);
        connack
    };
    let options = options().session_expiry(Duration::from_secs(100));
    let (client, _, mut peer) = answered(options, grant(2, false)).await;
    let mut ids = Vec::new();
    for (payload, qos) in [("1", QoS::ExactlyOnce), ("2", QoS::AtLeastOnce), ("3", QoS::ExactlyOnce)] {
        publish_one(&client, payload, qos).await;
    }
    for _ in 0..2 {
        ids.push(peer.expect_publish().await.delivery.packet_id().unwrap().get());
    }
    peer.hears_nothing().await;
    peer.ack(Packet::PubRec, ids[0], ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, ids[0], ReasonCode::Success));
    // PUBREC gives no room, PUBCOMP does.
    peer.hears_nothing().await;
    peer.ack(Packet::PubComp, ids[0], ReasonCode::Success).await;
    ids.push(peer.expect_publish().await.delivery.packet_id().unwrap().get());
    drop(peer);
    // Two are sent again and count.
    let (_, mut peer) = reconnected(&client, grant(1, true)).await;
    publish_one(&client, "4", QoS::AtLeastOnce).await;
    assert_eq!(peer.expect_publish().await.delivery.packet_id().unwrap().get(), ids[1]);
    peer.hears_nothing().await;
    peer.ack(Packet::PubAck, ids[1], ReasonCode::Success).await;
    assert_eq!(peer.expect_publish().await.delivery.packet_id().unwrap().get(), ids[2]);
    peer.hears_nothing().await;
    // So does a PUBREC that refuses.
    peer.ack(Packet::PubRec, ids[2], ReasonCode::QuotaExceeded).await;
    assert_eq!(peer.expect_publish().await.payload, "4");
    peer.hears_nothing().await;
}

/// [MQTT-3.3.4-8]
#[tokio::test(start_paused = true)]
async fn what_is_no_publish_does_not_wait_for_the_receive_maximum() {
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = NonZeroU16::new(1);
    let (client, _, mut peer) = answered(options().keep_alive(Duration::from_secs(5)), connack).await;
    let mut messages = client.messages();
    publish_one(&client, "1", QoS::ExactlyOnce).await;
    publish_one(&client, "2", QoS::ExactlyOnce).await;
    let open = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.hears_nothing().await;
    let (subscription, _) =
        tokio::join!(client.subscribe("b", QoS::AtLeastOnce), peer.grant(&[ReasonCode::GrantedQoS1]));
    let subscription = subscription.unwrap();
    peer.publish("c", "", crate::peer::at_least_once(9)).await;
    messages.next().await.unwrap();
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 9, ReasonCode::Success));
    drop(subscription);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["b"]);
    assert_eq!(peer.receive().await, Packet::PingReq);
    peer.send(Packet::PingResp).await;
    peer.ack(Packet::PubRec, open, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRel);
    let (result, goodbye) = tokio::join!(client.disconnect(), async {
        let goodbye = peer.expect_disconnect().await;
        drop(peer);
        goodbye
    });
    result.unwrap();
    assert_eq!(goodbye.reason, ReasonCode::Success);
}

/// [MQTT-3.2.2-17] [MQTT-3.2.2-18] [MQTT-3.3.2-9]
#[tokio::test(start_paused = true)]
async fn no_more_aliases_are_sent_than_the_server_allows() {
    for maximum in [None, Some(0), Some(1), Some(2)] {
        let mut connack = ConnAck::default();
        connack.properties.topic_alias_maximum = maximum;
        let (client, _, mut peer) = answered(options(), connack).await;
        let mut known = vec![None; usize::from(maximum.unwrap_or(0))];
        let mut shortened = 0;
        for number in [0, 1, 2, 0, 0, 1, 1, 2, 2, 0, 0, 0].into_iter().cycle().take(120) {
            let expected = format!("a/long/topic/{number}");
            client.publish(message(&expected, "x", QoS::AtMostOnce)).await.unwrap();
            let publish = peer.expect_publish().await;
            let alias = publish.properties.topic_alias.map(|alias| usize::from(alias.get()));
            let topic = match (publish.topic.map(|topic| topic.to_string()), alias) {
                (Some(topic), None) => topic,
                (Some(topic), Some(alias)) => known[alias - 1].insert(topic).clone(),
                (None, alias) => {
                    shortened += 1;
                    known[alias.unwrap() - 1].clone().unwrap()
                }
            };
            assert_eq!(topic, expected);
        }
        assert_eq!(shortened > 0, maximum.unwrap_or(0) > 0, "{maximum:?}: {shortened}");
    }
}

/// [MQTT-3.2.2-11] [MQTT-3.2.2-14]
#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_offer_any_more_is_not_sent_again() {
    let (client, mut peer) = connected(options().session_expiry(Duration::from_secs(100))).await;
    publish_one(&client, "1", QoS::ExactlyOnce).await;
    drop(client.publish(message("a", "2", QoS::AtLeastOnce).retain(true)).queued().await.unwrap());
    publish_one(&client, "3", QoS::AtLeastOnce).await;
    let twice = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    drop(peer);
    let mut connack = session_present();
    connack.properties.maximum_qos = Some(QoS::AtLeastOnce);
    connack.properties.retain_available = Some(false);
    let (_, mut peer) = reconnected(&client, connack).await;
    assert_eq!(client.connection().unwrap().lost, 2);
    // The id of the first can be used again when the server has let go of it.
    let (mut released, mut payload) = (None, None);
    for _ in 0..2 {
        match peer.receive().await {
            Packet::PubRel(ack) => released = Some(ack.packet_id.get()),
            Packet::Publish(publish) => payload = Some(publish.payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((released, payload.as_deref()), (Some(twice), Some(&b"3"[..])));
    peer.hears_nothing().await;
}

/// [MQTT-3.3.2-9] [MQTT-3.3.4-6]
#[tokio::test(start_paused = true)]
async fn what_belongs_to_a_connection_does_not_travel_with_a_message() {
    let (client, mut peer) = connected(options()).await;
    let mut properties = PublishProperties::default();
    for (name, value) in [("b", "2"), ("a", "1"), ("b", "2")] {
        properties.user_properties.push(name, value);
    }
    let kept = properties.clone();
    properties.topic_alias = NonZeroU16::new(7);
    properties.subscription_identifiers = vec![7, 8];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let message = message("a", "", qos).with_properties(properties.clone());
        drop(client.publish(message).queued().await.unwrap());
        assert_eq!(peer.expect_publish().await.properties, kept);
    }
}

// ---- what we accept ----

fn aliased(topic: &str, alias: u16) -> Packet {
    let Packet::Publish(publish) = publish("a", "", ONCE) else { unreachable!() };
    let topic = (!topic.is_empty()).then(|| topic.parse().unwrap());
    let mut publish = Publish { topic, ..*publish };
    publish.properties.topic_alias = NonZeroU16::new(alias);
    Packet::Publish(Box::new(publish))
}

/// [MQTT-3.3.2-7] [MQTT-3.3.2-10]
#[tokio::test(start_paused = true)]
async fn every_alias_up_to_our_maximum_is_taken_and_forgotten_with_the_connection() {
    let options = options().topic_alias_maximum(3).session_expiry(Duration::from_secs(100));
    let (client, mut peer) = connected(options).await;
    let (mut messages, mut events) = (client.messages(), client.events());
    for topics in [["t/1", "t/2", "t/3"], ["", "", ""]] {
        for (alias, topic) in (1..).zip(topics) {
            peer.send(aliased(topic, alias)).await;
            assert_eq!(messages.next().await.unwrap().topic().as_str(), format!("t/{alias}"));
        }
    }
    drop(peer);
    let (connect, mut peer) = reconnected(&client, session_present()).await;
    assert_eq!(connect.properties.topic_alias_maximum, Some(3));
    peer.send(aliased("", 1)).await;
    assert_eq!(peer.expect_disconnect().await.reason, ReasonCode::ProtocolError);
    loop {
        if let Some(Event::Disconnected { cause: DisconnectCause::ServerViolated(violation) }) =
            events.next().await
        {
            assert_eq!(violation.rule, Rule::TopicAliasUnknown);
            return;
        }
    }
}

/// [MQTT-3.1.2-27] [MQTT-3.3.2-8]: a server that sends them is left. No packet of ours can hold the alias 0, because it
/// is a number that is not 0.
#[tokio::test(start_paused = true)]
async fn the_alias_0_is_refused_and_every_one_if_we_allow_none() {
    for (maximum, alias) in [(32, 0), (0, 0), (0, 1), (0, 0xFF)] {
        let (client, mut peer) = connected(options().topic_alias_maximum(maximum)).await;
        let mut events = client.events();
        peer.send_bytes(&[0x30, 7, 0, 1, b't', 3, 0x23, 0, alias]).await;
        assert_eq!(peer.expect_disconnect().await.reason, ReasonCode::TopicAliasInvalid);
        let Some(Event::Disconnected { cause: DisconnectCause::ServerViolated(violation) }) =
            events.next().await
        else {
            panic!()
        };
        assert_eq!(violation.rule, Rule::TopicAliasOutOfRange);
    }
}
