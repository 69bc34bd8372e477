//! `$SYS`: what the server publishes about itself, when, and who may not.

use std::time::Duration;

use gantline_protocol::packet::Connect;
use gantline_protocol::{ProtocolVersion, TopicName};
use gantline_server::{QoS, ReasonCode, RunningServer, ServerOptions, TopicFilter};

use crate::peer::{answered, clean, client, of_version, seconds_pass, server, server_with, subscriber, will};

async fn server_that_tells() -> RunningServer {
    server_with(ServerOptions::default().sys_interval(Duration::from_secs(10))).await
}

fn value(server: &RunningServer, name: &str) -> Option<String> {
    let topic = TopicName::new(format!("$SYS/broker/{name}")).unwrap();
    server.retained(&topic).map(|message| message.payload_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_numbers_are_there_at_once_and_follow_every_interval() {
    let server = server_that_tells().await;
    crate::peer::settle().await;
    assert_eq!(value(&server, "clients/connected").unwrap(), "0");
    assert_eq!(value(&server, "uptime").unwrap(), "0 seconds");
    assert!(value(&server, "version").unwrap().starts_with("gantline version "));
    let mut peer = subscriber(&server, clean("a"), &["x"], QoS::AtLeastOnce).await;
    for _ in 0..5 {
        peer.publish("x", "12345", QoS::AtMostOnce).await;
        peer.message().await;
    }
    assert_eq!(value(&server, "clients/connected").unwrap(), "0");
    seconds_pass(10).await;
    for (name, expected) in [
        ("clients/connected", "1"),
        ("clients/total", "1"),
        ("clients/maximum", "1"),
        ("clients/disconnected", "0"),
        ("subscriptions/count", "1"),
        ("publish/messages/received", "5"),
        ("publish/messages/sent", "5"),
        ("publish/bytes/received", "55"),
        ("publish/messages/dropped", "0"),
        ("messages/received", "7"),
        ("connections/socket/count", "1"),
        ("uptime", "10 seconds"),
    ] {
        assert_eq!(value(&server, name).unwrap(), expected, "{name}");
    }
    // 5 in 10 seconds are 30 a minute, of which the average over one minute knows a seventh by now.
    let load: f64 = value(&server, "load/publish/received/1min").unwrap().parse().unwrap();
    assert!((4.0..5.0).contains(&load), "{load}");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_what_has_changed() {
    let server = server_that_tells().await;
    crate::peer::settle().await;
    let filters = ["$SYS/broker/uptime", "$SYS/broker/version", "#"];
    let mut peer = subscriber(&server, clean("a"), &filters, QoS::ExactlyOnce).await;
    // What is kept comes first, and the wildcard has no part in it [MQTT-4.7.2-1].
    assert!(peer.texts(2).await.iter().any(|text| text.starts_with("gantline version")));
    seconds_pass(10).await;
    let message = peer.message().await;
    assert_eq!(message.delivery.qos(), QoS::AtMostOnce);
    assert_eq!(crate::peer::text(&message), "10 seconds");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_embedded_server_says_nothing_of_itself() {
    let server = server().await;
    seconds_pass(100).await;
    assert!(server.retained_messages(&TopicFilter::new("$SYS/#").unwrap()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_publish_what_the_server_says() {
    let server = server().await;
    let mut watcher = subscriber(&server, clean("watcher"), &["$SYS/#", "$OTHER/#"], QoS::AtLeastOnce).await;
    let mut peer = client(&server, "a").await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(peer.publish("$SYS/broker/uptime", "x", qos).await, ReasonCode::NotAuthorized);
    }
    peer.publish("$SYS/broker/uptime", "x", QoS::AtMostOnce).await;
    assert_eq!(peer.publish("$OTHER/x", "mine", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(watcher.text().await, "mine");
    // 3.1.1 has no word for it: the flow completes, and the message is dropped.
    let mut old = crate::peer::connected(&server, of_version(ProtocolVersion::V3_1_1, "old", true)).await;
    assert_eq!(old.publish("$SYS/x", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
    watcher.hears_nothing().await;
    assert_eq!(server.metrics().dropped.total(), 4);
    let connect = Connect { will: will("$SYS/x", "x", 0), ..clean("b") };
    assert_eq!(answered(&server, connect).await.1.reason, ReasonCode::NotAuthorized);
}
