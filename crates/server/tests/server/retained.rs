//! Retained messages: what is kept, and how it comes to those who subscribe later.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use gantline_protocol::ProtocolVersion;
use gantline_protocol::packet::{Packet, Publish};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    ALL_QOS, clean, client, connected, lasting, of_version, options, seconds_pass, server, server_with,
    settle, subscriber, text,
};

#[tokio::test(start_paused = true)]
async fn a_retained_message_comes_to_every_later_subscriber_with_retain_set() {
    let server = server().await;
    for published in ALL_QOS {
        let mut other = client(&server, "b").await;
        other.publish_retained("t/u", "first", published).await;
        other.publish_retained("t/u", "kept", published).await;
        other.ping().await;
        other.goes().await;
        for version in ProtocolVersion::ALL {
            for granted in ALL_QOS {
                for filter in ["t/u", "t/#", "+/u"] {
                    let connect = of_version(version, "a", true);
                    let mut peer = subscriber(&server, connect, &[filter], granted).await;
                    let message = peer.message().await;
                    assert_eq!((text(&message).as_str(), message.retain), ("kept", true), "{version}");
                    assert_eq!(message.delivery.qos(), published.min(granted));
                    peer.goes().await;
                }
            }
        }
    }
    assert_eq!(server.metrics().retained_messages, 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_payload_clears_and_is_still_delivered() {
    let server = server().await;
    let mut live = subscriber(&server, clean("live"), &["#"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    for payload in ["kept", "", ""] {
        other.publish_retained("t", payload, QoS::AtMostOnce).await;
        let message = live.message().await;
        assert_eq!((text(&message).as_str(), message.retain), (payload, false));
    }
    subscriber(&server, clean("late"), &["#"], QoS::AtMostOnce).await.hears_nothing().await;
    let metrics = server.metrics();
    assert_eq!((metrics.retained_messages, metrics.retained_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_without_the_flag_does_not_touch_what_is_kept() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    other.publish_retained("t", "kept", QoS::AtLeastOnce).await;
    other.publish("t", "live", QoS::AtLeastOnce).await;
    other.publish("t", "", QoS::AtLeastOnce).await;
    assert_eq!(subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await.text().await, "kept");
}

#[tokio::test(start_paused = true)]
async fn topics_that_begin_with_a_dollar_are_not_reached_by_a_leading_wildcard() {
    let server = server().await;
    client(&server, "b").await.publish_retained("$s/t", "kept", QoS::AtLeastOnce).await;
    let mut peer = subscriber(&server, clean("a"), &["#", "+/t"], QoS::AtMostOnce).await;
    peer.hears_nothing().await;
    peer.subscribe("$s/#", QoS::AtMostOnce).await;
    assert_eq!(peer.text().await, "kept");
}

#[tokio::test(start_paused = true)]
async fn expiry_is_counted_down_and_ends_the_message() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    let mut publish = Publish { retain: true, ..other.made("t", "kept", QoS::AtLeastOnce) };
    publish.properties.message_expiry_interval = Some(10);
    other.complete(publish).await;
    seconds_pass(3).await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await;
    let expiry = peer.message().await.properties.message_expiry_interval.unwrap();
    assert!((6..=7).contains(&expiry), "{expiry}");
    seconds_pass(7).await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await;
    peer.hears_nothing().await;
    let metrics = server.metrics();
    assert_eq!((metrics.retained_messages, metrics.retained_bytes, metrics.messages_expired), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn properties_and_identifier_come_with_a_replay() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    let mut publish = Publish { retain: true, ..other.made("t", "kept", QoS::AtLeastOnce) };
    publish.properties.content_type = Some("text".to_owned());
    publish.properties.topic_alias = NonZeroU16::new(1);
    other.complete(publish).await;
    let mut peer = client(&server, "a").await;
    peer.subscribe_with(&[("t", options(QoS::AtMostOnce))], Some(77)).await;
    let properties = peer.message().await.properties;
    assert_eq!(properties.content_type.as_deref(), Some("text"));
    assert_eq!(properties.subscription_identifiers, [77]);
    assert_eq!(properties.topic_alias, None);
}

#[tokio::test(start_paused = true)]
async fn many_retained_messages_come_through_a_small_window() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..2_000 {
        other.publish_retained(&format!("t/{number}"), &number.to_string(), QoS::AtLeastOnce).await;
    }
    assert_eq!(server.metrics().retained_messages, 2_000);
    for window in [1, 3, 65_535] {
        for qos in ALL_QOS {
            let mut connect = clean("a");
            connect.properties.receive_maximum = NonZeroU16::new(window);
            let mut peer = subscriber(&server, connect, &["t/#"], qos).await;
            let mut seen = BTreeMap::new();
            for _ in 0..2_000 {
                *seen.entry(peer.text().await).or_insert(0) += 1;
            }
            assert!(seen.len() == 2_000 && seen.values().all(|count| *count == 1), "{window} {qos:?}");
            peer.vanishes().await;
        }
    }
    assert_eq!(server.metrics().dropped.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_small_window_is_shared_by_a_replay_and_live_messages() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..50 {
        other.publish_retained(&format!("t/{number}"), "kept", QoS::AtLeastOnce).await;
    }
    for window in [1, 2, 10] {
        let mut connect = clean("a");
        connect.properties.receive_maximum = NonZeroU16::new(window);
        let mut peer = subscriber(&server, connect, &["live"], QoS::AtLeastOnce).await;
        for _ in 0..300 {
            other.publish("live", "x", QoS::AtLeastOnce).await;
        }
        peer.subscribe("t/#", QoS::AtLeastOnce).await;
        let mut replayed = 0;
        for _ in 0..120 {
            replayed += usize::from(peer.message().await.retain);
        }
        assert_eq!(replayed, 50, "{window}");
        for _ in 0..230 {
            assert!(!peer.message().await.retain);
        }
        peer.vanishes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_to_a_slow_reader_leaves_room_for_live_messages() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..200 {
        other.publish_retained(&format!("t/{number}"), &"x".repeat(20_000), QoS::AtLeastOnce).await;
    }
    let mut peer = subscriber(&server, clean("a"), &["live", "t/#"], QoS::AtMostOnce).await;
    settle().await;
    other.publish("live", "x", QoS::AtMostOnce).await;
    other.ping().await;
    let mut before = 0;
    while peer.message().await.retain {
        before += 1;
    }
    // What was on its way when it was published, and a page.
    assert!(before < 20, "{before}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_a_reconnect() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..100 {
        other.publish_retained(&format!("t/{number}"), &number.to_string(), QoS::AtLeastOnce).await;
    }
    let mut connect = lasting("a", 100);
    connect.properties.receive_maximum = NonZeroU16::new(2);
    let mut peer = subscriber(&server, connect.clone(), &["t/#"], QoS::AtLeastOnce).await;
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        seen.insert(peer.text().await, 1);
    }
    peer.vanishes().await;
    let mut peer = connected(&server, connect).await;
    while seen.len() < 100 {
        let message = peer.message().await;
        if seen.insert(text(&message), 1).is_some() {
            assert!(message.dup);
        }
    }
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_ends_a_replay() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..100 {
        other.publish_retained(&format!("t/{number}"), "", QoS::AtLeastOnce).await;
        other.publish_retained(&format!("t/{number}"), "x", QoS::AtLeastOnce).await;
    }
    let mut connect = clean("a");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(&server, connect, &["t/#"], QoS::AtLeastOnce).await;
    let first = peer.publish_packet().await;
    peer.unsubscribe(&["t/#"]).await;
    peer.ack(Packet::PubAck, first.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_never_older_than_a_live_message_before_it() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    let topics: Vec<String> = (0..200).map(|number| format!("t/{number:03}")).collect();
    for topic in &topics {
        other.publish_retained(topic, "0", QoS::AtLeastOnce).await;
    }
    for (round, window) in (0_u32..).zip([1, 2, 7, 100]) {
        let mut connect = clean("a");
        connect.properties.receive_maximum = NonZeroU16::new(window);
        let mut peer = subscriber(&server, connect, &["t/#"], QoS::AtLeastOnce).await;
        let mut newest: BTreeMap<String, u32> = BTreeMap::new();
        for value in round * 40 + 1..=round * 40 + 40 {
            for topic in topics.iter().step_by(11) {
                other.publish_retained(topic, &value.to_string(), QoS::AtMostOnce).await;
            }
            other.ping().await;
            for _ in 0..5 {
                settle().await;
                let message = peer.message().await;
                let (topic, value) =
                    (message.topic.as_ref().unwrap().to_string(), text(&message).parse().unwrap());
                let newest = newest.entry(topic).or_default();
                assert!(value >= *newest, "{window}: {value} behind {newest}");
                *newest = value;
            }
        }
        peer.vanishes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn large_retained_messages_come_whole_and_those_too_large_for_the_client_do_not() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for (topic, size) in [("t/a", 10), ("t/b", 300_000), ("t/c", 1_000), ("t/d", 100_000)] {
        other.publish_retained(topic, &"x".repeat(size), QoS::AtLeastOnce).await;
    }
    let mut peer = subscriber(&server, clean("a"), &["t/#"], QoS::AtLeastOnce).await;
    for size in [10, 300_000, 1_000, 100_000] {
        assert_eq!(peer.text().await.len(), size);
    }
    let mut connect = clean("c");
    connect.properties.maximum_packet_size = NonZeroU32::new(2_000);
    let mut peer = subscriber(&server, connect, &["t/#"], QoS::AtLeastOnce).await;
    for size in [10, 1_000] {
        assert_eq!(peer.text().await.len(), size);
    }
    peer.hears_nothing().await;
    assert_eq!(server.metrics().dropped.total(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_retained_messages_refuses_them() {
    let server = server_with(ServerOptions::default().retain_available(false)).await;
    let mut peer = client(&server, "a").await;
    let publish = Publish { retain: true, ..peer.made("t", "kept", QoS::AtMostOnce) };
    peer.send(Packet::Publish(Box::new(publish))).await;
    peer.is_disconnected(ReasonCode::RetainNotSupported).await;
}
