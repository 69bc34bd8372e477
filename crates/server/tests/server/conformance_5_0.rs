//! What 5.0 demands of CONNECT, CONNACK and PUBLISH and no other file shows; the ids are those of
//! `docs/conformance/mqtt-5.0.md`. Statements that a codec keeps are in the tests of `protocol`.

use std::num::{NonZeroU16, NonZeroU32};

use gantline_protocol::packet::{Connect, Delivery, Packet, Publish, RetainHandling};
use gantline_protocol::{
    AckProperties, PacketType, PayloadFormat, ProtocolVersion, PublishProperties, TopicName, Will,
};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    ALL_QOS, Peer, answered, clean, client, connected, encoded, id, lasting, options, publish, seconds_pass,
    server, server_with, stranger, subscribe, subscriber, text, will,
};

// ---- CONNECT and CONNACK ----

/// [MQTT-3.1.2-1]
#[tokio::test(start_paused = true)]
async fn a_connect_with_another_protocol_name_is_not_taken() {
    let server = server().await;
    for name in ["MQTX", "mqtt", "MQIsdp", ""] {
        let mut peer = stranger(&server);
        peer.speaks(ProtocolVersion::ALL[1]);
        let mut bytes = vec![0x10, name.len() as u8 + 10, 0, name.len() as u8];
        bytes.extend(name.bytes());
        bytes.extend([5, 2, 0, 0, 0, 0, 1, b'a']);
        peer.send_bytes(&bytes).await;
        assert_eq!(peer.connack().await.reason, ReasonCode::UnsupportedProtocolVersion, "{name}");
        peer.hears_the_end().await;
    }
    assert_eq!(server.metrics().sessions, 0);
}

/// [MQTT-3.1.4-2] [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT-3.2.2-7]
#[tokio::test(start_paused = true)]
async fn a_refused_client_hears_of_no_session_and_what_it_sends_is_not_handled() {
    let options = ServerOptions::default().maximum_qos(QoS::AtLeastOnce).retain_available(false);
    let server = server_with(options).await;
    let mut watcher = subscriber(&server, clean("w"), &["#"], QoS::AtMostOnce).await;
    let kept = lasting("a", 100);
    subscriber(&server, kept.clone(), &["t"], QoS::AtLeastOnce).await.vanishes().await;
    let with_will = |change: fn(Will) -> Will| Connect { will: will("t", "", 0).map(change), ..kept.clone() };
    let mut unknown_method = kept.clone();
    unknown_method.properties.authentication_method = Some("NONE".into());
    for (connect, reason) in [
        (with_will(|will| Will { retain: true, ..will }), ReasonCode::RetainNotSupported),
        (with_will(|will| Will { qos: QoS::ExactlyOnce, ..will }), ReasonCode::QoSNotSupported),
        (unknown_method, ReasonCode::BadAuthenticationMethod),
    ] {
        let mut peer = stranger(&server);
        let behind = Packet::Publish(Box::new(publish("t", "x", Delivery::AtMostOnce)));
        let packets = [Packet::Connect(Box::new(connect)), behind];
        peer.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
        let connack = peer.connack().await;
        assert_eq!((connack.reason, connack.session_present), (reason, false));
        peer.hears_the_end().await;
    }
    watcher.hears_nothing().await;
    let (mut peer, connack) = answered(&server, kept).await;
    assert!(connack.session_present);
    peer.hears_nothing().await;
}

/// [MQTT-3.1.2-28]
#[tokio::test(start_paused = true)]
async fn no_response_information_is_returned() {
    let server = server().await;
    for wanted in [None, Some(false), Some(true)] {
        let mut connect = clean("a");
        connect.properties.request_response_information = wanted;
        assert_eq!(answered(&server, connect).await.1.properties.response_information, None);
    }
}

/// [MQTT-3.1.2-29]
#[tokio::test(start_paused = true)]
async fn nothing_is_explained_to_a_client_that_does_not_want_it() {
    let server = server_with(ServerOptions::default().max_topic_levels(2)).await;
    let mut connect = clean("a");
    connect.properties.request_problem_information = Some(false);
    let mut peer = connected(&server, connect).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for topic in ["nobody", "a/b/c"] {
            let packet = peer.made(topic, "", qos);
            peer.send(Packet::Publish(Box::new(packet))).await;
        }
    }
    peer.ack(Packet::PubRel, 99, ReasonCode::Success).await;
    peer.send(Packet::Subscribe(subscribe(id(7), &[("a/b/c", options(QoS::AtMostOnce))], None))).await;
    for _ in 0..6 {
        let properties = match peer.receive().await {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => ack.properties,
            Packet::SubAck(suback) => suback.properties,
            other => panic!("{other:?}"),
        };
        assert_eq!(properties, AckProperties::default());
    }
    // What other clients say in PUBLISH is not left out.
    peer.subscribe("t", QoS::AtMostOnce).await;
    let mut publish = publish("t", "", Delivery::AtMostOnce);
    publish.properties.user_properties.push("a", "1");
    let mut other = client(&server, "b").await;
    other.send(Packet::Publish(Box::new(publish.clone()))).await;
    assert_eq!(peer.message().await.properties, publish.properties);
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12]
#[tokio::test(start_paused = true)]
async fn a_server_of_qos_0_says_so_and_still_takes_every_subscription() {
    let server = server_with(ServerOptions::default().maximum_qos(QoS::AtMostOnce)).await;
    let (mut peer, connack) = answered(&server, clean("a")).await;
    assert_eq!(connack.properties.maximum_qos, Some(QoS::AtMostOnce));
    for qos in ALL_QOS {
        assert_eq!(peer.subscribe("t", qos).await, ReasonCode::Success);
    }
    peer.publish("t", "x", QoS::AtMostOnce).await;
    assert_eq!(peer.text().await, "x");
    let will = will("t", "", 0).map(|will| Will { qos: QoS::AtLeastOnce, ..will });
    let (mut peer, connack) = answered(&server, Connect { will, ..clean("b") }).await;
    assert_eq!(connack.reason, ReasonCode::QoSNotSupported);
    peer.hears_the_end().await;
}

// ---- wills ----

/// [MQTT-3.1.2-8]: the session may end before the delay because the client says so, or because it got no longer one.
#[tokio::test(start_paused = true)]
async fn a_delayed_will_goes_with_the_session_however_its_expiry_was_agreed() {
    let server = server_with(ServerOptions::default().session_expiry_max(50)).await;
    let mut watcher = subscriber(&server, clean("w"), &["will"], QoS::AtMostOnce).await;
    for (asked, said, delay, due) in [
        (20, Some(5), 10, 5),
        (20, Some(0), 10, 0),
        (5, Some(20), 10, 10),
        (5, None, 10, 5),
        (1_000, None, 100, 50),
        (1_000, Some(1_000), 100, 50),
    ] {
        let connect = Connect { will: will("will", "gone", delay), ..lasting("a", asked) };
        let peer = connected(&server, connect).await;
        match said {
            Some(_) => peer.leave(ReasonCode::DisconnectWithWillMessage, said).await,
            None => peer.vanishes().await,
        }
        if due > 0 {
            seconds_pass(due - 1).await;
            watcher.hears_nothing().await;
            seconds_pass(1).await;
        }
        assert_eq!(watcher.text().await, "gone", "{asked} {said:?} {delay}");
        connected(&server, clean("a")).await.goes().await;
        seconds_pass(200).await;
        watcher.hears_nothing().await;
    }
}

/// [MQTT-3.1.2-14] [MQTT-3.1.3-10]
#[tokio::test(start_paused = true)]
async fn a_will_has_the_properties_of_its_client_in_their_order() {
    let server = server().await;
    let mut watcher = subscriber(&server, clean("w"), &["will"], QoS::ExactlyOnce).await;
    for (qos, delay) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 5), (QoS::ExactlyOnce, 0)] {
        let sent = telling();
        let mut will = will("will", "gone", delay).unwrap();
        will.qos = qos;
        will.properties.payload_format_indicator = sent.payload_format_indicator;
        will.properties.content_type.clone_from(&sent.content_type);
        will.properties.response_topic.clone_from(&sent.response_topic);
        will.properties.correlation_data.clone_from(&sent.correlation_data);
        will.properties.user_properties = sent.user_properties.clone();
        connected(&server, Connect { will: Some(will), ..lasting("a", 10) }).await.vanishes().await;
        seconds_pass(delay.into()).await;
        let message = watcher.message().await;
        assert_eq!((message.delivery.qos(), message.retain), (qos, false));
        assert_eq!(message.properties, sent);
    }
    assert_eq!(server.metrics().retained_messages, 0);
}

// ---- properties of messages ----

/// All that a message can tell its receivers, with user properties that repeat and are not sorted.
fn telling() -> PublishProperties {
    let mut properties = PublishProperties {
        payload_format_indicator: PayloadFormat::Utf8,
        content_type: Some("text/plain".into()),
        response_topic: Some(TopicName::new("answers/\u{FEFF}here").unwrap()),
        correlation_data: Some(vec![0, 0xFF, 0].into()),
        ..PublishProperties::default()
    };
    for (name, value) in [("b", "2"), ("a", "1"), ("b", "2"), ("", ""), ("a", "0")] {
        properties.user_properties.push(name, value);
    }
    properties
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[tokio::test(start_paused = true)]
async fn properties_come_unaltered_on_every_way() {
    let server = server().await;
    let kept = lasting("away", 100);
    subscriber(&server, kept.clone(), &["t"], QoS::ExactlyOnce).await.vanishes().await;
    let mut live = subscriber(&server, clean("live"), &["t"], QoS::AtMostOnce).await;
    let mut member = subscriber(&server, clean("member"), &["$share/g/t"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    let publish = other.made("t", "x", QoS::AtLeastOnce);
    other.complete(Publish { retain: true, properties: telling(), ..publish }).await;
    let mut late = subscriber(&server, clean("late"), &["t"], QoS::AtLeastOnce).await;
    let mut away = connected(&server, kept.clone()).await;
    for peer in [&mut live, &mut member, &mut late] {
        assert_eq!(peer.message().await.properties, telling());
    }
    let first = away.publish_packet().await;
    away.vanishes().await;
    let again = connected(&server, kept).await.publish_packet().await;
    assert!(again.dup && again.delivery == first.delivery);
    assert_eq!((first.properties, again.properties), (telling(), telling()));
}

/// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
#[tokio::test(start_paused = true)]
async fn a_message_expires_behind_an_exhausted_window() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for (payload, expiry) in [("open", 5), ("late", 5), ("kept", 20)] {
        let mut publish = other.made("t", payload, QoS::AtLeastOnce);
        publish.properties.message_expiry_interval = Some(expiry);
        other.complete(publish).await;
    }
    let open = peer.publish_packet().await;
    assert_eq!((text(&open).as_str(), open.properties.message_expiry_interval), ("open", Some(5)));
    seconds_pass(8).await;
    peer.ack(Packet::PubAck, open.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    let kept = peer.message().await;
    assert_eq!((text(&kept).as_str(), kept.properties.message_expiry_interval), ("kept", Some(12)));
    peer.hears_nothing().await;
    assert_eq!(server.metrics().messages_expired, 1);
}

// ---- retained messages and subscriptions ----

async fn resubscribe(peer: &mut Peer, filters: &[&str], handling: RetainHandling) {
    let wanted = options(QoS::AtMostOnce).retain_handling(handling);
    let filters: Vec<_> = filters.iter().map(|filter| (*filter, wanted)).collect();
    peer.subscribe_with(&filters, None).await;
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
#[tokio::test(start_paused = true)]
async fn a_subscription_that_existed_brings_no_retained_messages_again() {
    let server = server().await;
    client(&server, "b").await.publish_retained("t", "kept", QoS::AtMostOnce).await;
    let mut peer = connected(&server, lasting("a", 100)).await;
    // In one packet the second is there already; another filter is another subscription.
    resubscribe(&mut peer, &["t", "t", "+"], RetainHandling::IfNew).await;
    assert_eq!(peer.texts(2).await, ["kept", "kept"]);
    peer.hears_nothing().await;
    // It is still there on the next connection, and gone with its end.
    peer.vanishes().await;
    let mut peer = connected(&server, lasting("a", 100)).await;
    resubscribe(&mut peer, &["t", "+"], RetainHandling::IfNew).await;
    resubscribe(&mut peer, &["t", "+", "#"], RetainHandling::Never).await;
    peer.hears_nothing().await;
    peer.unsubscribe(&["t"]).await;
    resubscribe(&mut peer, &["t", "+"], RetainHandling::IfNew).await;
    assert_eq!(peer.text().await, "kept");
    peer.hears_nothing().await;
    resubscribe(&mut peer, &["t", "+"], RetainHandling::Always).await;
    assert_eq!(peer.texts(2).await, ["kept", "kept"]);
    peer.hears_nothing().await;
    peer.goes().await;
    let mut peer = connected(&server, clean("a")).await;
    resubscribe(&mut peer, &["t"], RetainHandling::IfNew).await;
    assert_eq!(peer.text().await, "kept");
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3]: a subscription that is replaced brings the rest of its retained messages as it is
/// now.
#[tokio::test(start_paused = true)]
async fn what_is_still_to_come_of_a_replay_follows_the_subscription() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..5 {
        other.publish_retained(&format!("t/{number}"), &number.to_string(), QoS::AtLeastOnce).await;
    }
    let mut connect = clean("a");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = connected(&server, connect).await;
    peer.subscribe_with(&[("t/#", options(QoS::AtLeastOnce))], Some(1)).await;
    let first = peer.publish_packet().await;
    assert_eq!(first.properties.subscription_identifiers, [1]);
    let wanted = options(QoS::AtMostOnce).retain_handling(RetainHandling::IfNew);
    peer.subscribe_with(&[("t/#", wanted)], Some(2)).await;
    peer.ack(Packet::PubAck, first.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    for number in 1..5 {
        let message = peer.message().await;
        assert_eq!((text(&message), message.retain), (number.to_string(), true));
        assert_eq!(message.delivery.qos(), QoS::AtMostOnce);
        assert_eq!(message.properties.subscription_identifiers, [2]);
    }
    peer.hears_nothing().await;
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]
#[tokio::test(start_paused = true)]
async fn identifiers_come_on_every_way() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    other.publish_retained("t/u", "kept", QoS::AtLeastOnce).await;
    let mut peer = connected(&server, lasting("a", 100)).await;
    // A retained message comes for each subscription, with the identifier of that one.
    peer.subscribe_with(&[("t/u", options(QoS::AtLeastOnce))], Some(1)).await;
    peer.subscribe_with(&[("t/#", options(QoS::AtLeastOnce))], Some(268_435_455)).await;
    peer.subscribe_with(&[("#", options(QoS::AtLeastOnce))], None).await;
    for ids in [vec![1], vec![268_435_455], vec![]] {
        let message = peer.message().await;
        assert!(message.retain);
        assert_eq!(message.properties.subscription_identifiers, ids);
    }
    peer.ping().await;
    peer.vanishes().await;
    // Another message comes once, with all of them, also if it has waited and when it is sent again.
    other.publish("t/u", "x", QoS::AtLeastOnce).await;
    for dup in [false, true] {
        let mut peer = connected(&server, lasting("a", 100)).await;
        let message = peer.publish_packet().await;
        let mut ids = message.properties.subscription_identifiers;
        ids.sort_unstable();
        assert_eq!((message.dup, ids), (dup, vec![1, 268_435_455]));
        peer.hears_nothing().await;
        peer.vanishes().await;
    }
}

// ---- what the client bounds ----

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_counted_and_takes_no_room_in_the_window() {
    let server = server().await;
    let mut connect = lasting("a", 100);
    connect.properties.receive_maximum = NonZeroU16::new(1);
    connect.properties.maximum_packet_size = NonZeroU32::new(100);
    let mut peer = subscriber(&server, connect.clone(), &["t"], QoS::ExactlyOnce).await;
    let mut other = client(&server, "b").await;
    for qos in ALL_QOS {
        for size in [200, 10, 300] {
            assert_eq!(other.publish("t", &"x".repeat(size), qos).await, ReasonCode::Success);
        }
    }
    for _ in ALL_QOS {
        assert_eq!(peer.text().await.len(), 10);
    }
    let Packet::PubRel(release) = peer.receive().await else { panic!("expected PUBREL") };
    peer.ack(Packet::PubComp, release.packet_id.get(), ReasonCode::Success).await;
    peer.ping().await;
    assert_eq!(server.metrics().dropped.total(), 6);
    peer.vanishes().await;
    // So it is with what waits and with what was in flight if the next connection takes less.
    for size in [50, 80, 20] {
        other.publish("t", &"x".repeat(size), QoS::AtLeastOnce).await;
    }
    let mut peer = connected(&server, connect.clone()).await;
    assert_eq!(text(&peer.publish_packet().await).len(), 50);
    peer.vanishes().await;
    connect.properties.maximum_packet_size = NonZeroU32::new(40);
    let mut peer = connected(&server, connect).await;
    assert_eq!(peer.text().await.len(), 20);
    peer.hears_nothing().await;
    assert_eq!(server.metrics().dropped.total(), 8);
}

/// [MQTT-3.1.2-27]
#[tokio::test(start_paused = true)]
async fn without_an_alias_maximum_no_alias_is_sent() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for maximum in [None, Some(0)] {
        let mut connect = clean("a");
        connect.properties.topic_alias_maximum = maximum;
        let mut peer = subscriber(&server, connect, &["a/long/topic"], QoS::ExactlyOnce).await;
        for qos in ALL_QOS.into_iter().cycle().take(30) {
            other.publish("a/long/topic", "x", qos).await;
            let message = peer.message().await;
            assert_eq!(message.topic.unwrap().as_str(), "a/long/topic");
            assert_eq!(message.properties.topic_alias, None);
        }
        peer.goes().await;
    }
}

/// [MQTT-3.3.2-12]
#[tokio::test(start_paused = true)]
async fn every_alias_up_to_the_maximum_is_taken() {
    let server = server_with(ServerOptions::default().topic_alias_maximum(5)).await;
    let mut watcher = subscriber(&server, clean("w"), &["#"], QoS::AtMostOnce).await;
    let mut peer = client(&server, "a").await;
    for named in [true, false] {
        for alias in (1..=5).rev() {
            let topic = format!("t/{alias}");
            let mut publish = publish(if named { &topic } else { "" }, "x", Delivery::AtMostOnce);
            publish.properties.topic_alias = NonZeroU16::new(alias);
            peer.send(Packet::Publish(Box::new(publish))).await;
            let message = watcher.message().await;
            assert_eq!((message.topic.unwrap().as_str(), message.properties.topic_alias), (&*topic, None));
        }
    }
}

/// [MQTT-3.3.4-9] [MQTT-3.3.4-10]
#[tokio::test(start_paused = true)]
async fn the_window_holds_for_qos_2_on_the_next_connection_too() {
    let server = server().await;
    let mut connect = lasting("a", 100);
    connect.properties.receive_maximum = NonZeroU16::new(3);
    let mut peer = subscriber(&server, connect.clone(), &["t"], QoS::ExactlyOnce).await;
    let mut other = client(&server, "b").await;
    for number in 0..6 {
        other.publish("t", &number.to_string(), QoS::ExactlyOnce).await;
    }
    let first = peer.publish_packet().await.delivery.packet_id().unwrap();
    for _ in 0..2 {
        peer.publish_packet().await;
    }
    peer.ack(Packet::PubRec, first.get(), ReasonCode::Success).await;
    peer.ack_of(PacketType::PubRel, first).await;
    peer.hears_nothing().await;
    peer.vanishes().await;
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = connected(&server, connect).await;
    // What is no PUBLISH does not wait for room, and makes none that it did not take.
    assert!(matches!(peer.receive().await, Packet::PubRel(release) if release.packet_id == first));
    for number in 1..6 {
        let publish = peer.publish_packet().await;
        assert_eq!((text(&publish), publish.dup), (number.to_string(), number < 3));
        let id = publish.delivery.packet_id().unwrap();
        peer.hears_nothing().await;
        if number == 1 {
            peer.ack(Packet::PubComp, first.get(), ReasonCode::Success).await;
            peer.hears_nothing().await;
        }
        peer.ack(Packet::PubRec, id.get(), ReasonCode::Success).await;
        peer.ack_of(PacketType::PubRel, id).await;
        peer.hears_nothing().await;
        peer.ack(Packet::PubComp, id.get(), ReasonCode::Success).await;
    }
    peer.hears_nothing().await;
}

/// [MQTT-3.3.4-10]
#[tokio::test(start_paused = true)]
async fn what_is_no_publish_does_not_wait_for_the_window() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(&server, connect, &["t"], QoS::ExactlyOnce).await;
    let mut other = client(&server, "b").await;
    for number in 0..3 {
        other.publish("t", &number.to_string(), QoS::ExactlyOnce).await;
    }
    let open = peer.publish_packet().await.delivery.packet_id().unwrap();
    peer.hears_nothing().await;
    peer.ping().await;
    assert_eq!(peer.subscribe("u", QoS::ExactlyOnce).await, ReasonCode::GrantedQoS2);
    assert_eq!(peer.unsubscribe(&["u"]).await, [ReasonCode::Success]);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(peer.publish("v", "", qos).await, ReasonCode::NoMatchingSubscribers);
    }
    peer.ack(Packet::PubRec, open.get(), ReasonCode::Success).await;
    assert_eq!(peer.ack_of(PacketType::PubRel, open).await, ReasonCode::Success);
    peer.hears_nothing().await;
    connected(&server, clean("a")).await;
    peer.is_disconnected(ReasonCode::SessionTakenOver).await;
}
