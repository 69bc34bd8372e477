//! Publish hooks: what they may change, whom they make wait, and what becomes of a connection whose hook misbehaves.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantline_protocol::packet::Packet;
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{
    Decision, Message, Outcome, PublishAttempt, PublishError, QoS, ReasonCode, RunningServer, Sender, Server,
    ServerOptions, TopicFilter,
};

use super::build;
use crate::peer::{ALL_QOS, clean, client, connected, of_version, settle, subscriber, will};

/// A server whose publish hook does what the last level of the topic says, at once or after three seconds.
async fn intercepting() -> RunningServer {
    let decide = |topic: &str| match topic.rsplit('/').next() {
        Some("replace") => Outcome::Replace(Message::new("other", "replaced").unwrap()),
        Some("drop") => Outcome::Drop,
        Some("refuse") => Outcome::Refuse(ReasonCode::PayloadFormatInvalid),
        Some("refuse-well") => Outcome::Refuse(ReasonCode::Success),
        Some("close") => Outcome::Close(ReasonCode::AdministrativeAction),
        Some("panic") => panic!("as the test wants it"),
        _ => Outcome::Forward,
    };
    build()
        .intercept_publishes(move |publish: &PublishAttempt<'_>| {
            let topic = publish.topic().to_owned();
            match topic.split('/').next() {
                Some("slow") => Decision::later(async move {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    decide(&topic)
                }),
                Some("ready") => Decision::later(async move { decide(&topic) }),
                Some("stuck") => Decision::later(std::future::pending()),
                _ => Decision::Now(decide(&topic)),
            }
        })
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publish_hook_forwards_replaces_drops_and_refuses() {
    let server = intercepting().await;
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::ExactlyOnce).await;
    let mut publisher = client(&server, "publisher").await;
    for way in ["now", "ready", "slow"] {
        for qos in ALL_QOS {
            let mut publish =
                async |outcome: &str| publisher.publish(&format!("{way}/{outcome}"), "sent", qos).await;
            let told = |reason| if qos == QoS::AtMostOnce { ReasonCode::Success } else { reason };
            assert_eq!(publish("forward").await, ReasonCode::Success);
            assert_eq!(publish("replace").await, ReasonCode::Success);
            assert_eq!(publish("drop").await, ReasonCode::Success);
            assert_eq!(publish("refuse").await, told(ReasonCode::PayloadFormatInvalid));
            assert_eq!(publish("refuse-well").await, told(ReasonCode::NotAuthorized));
            assert_eq!(publish("last").await, ReasonCode::Success);
            assert_eq!(receiver.texts(3).await, ["sent", "replaced", "sent"], "{way} {qos:?}");
        }
    }
    receiver.ping().await;
    assert_eq!(server.metrics().messages_intercepted, 27);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_5_0_is_an_acknowledgement() {
    let server = intercepting().await;
    let mut publisher = connected(&server, of_version(ProtocolVersion::V3_1_1, "old", true)).await;
    assert_eq!(publisher.publish("refuse", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(publisher.publish("slow/refuse", "x", QoS::ExactlyOnce).await, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_takes_its_time_keeps_the_order_and_delays_nobody_else() {
    let server = intercepting().await;
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::AtMostOnce).await;
    let mut slow = client(&server, "slow").await;
    let mut quick = client(&server, "quick").await;
    for (topic, payload) in [("a", "1"), ("slow/a", "2"), ("a", "3"), ("slow/a", "4"), ("a", "5")] {
        let publish = slow.made(topic, payload, QoS::AtMostOnce);
        slow.send(Packet::Publish(Box::new(publish))).await;
    }
    settle().await;
    quick.publish("a", "quick", QoS::AtMostOnce).await;
    assert_eq!(receiver.texts(6).await, ["1", "quick", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_that_took_its_time_lets_pass_is_counted_at_once() {
    let server = intercepting().await;
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::AtMostOnce).await;
    let mut publisher = client(&server, "publisher").await;
    for qos in ALL_QOS {
        let publish = publisher.made("slow/a", "x", qos);
        publisher.send(Packet::Publish(Box::new(publish))).await;
        receiver.text().await;
        assert_eq!(server.metrics().messages_routed, 1 + qos as u64, "{qos:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_hook_takes_its_time_is_not_given_up_for_silence() {
    let options = ServerOptions::default().hook_timeout(Duration::from_secs(60));
    let server = Server::new(options)
        .intercept_publishes(|_: &PublishAttempt<'_>| async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Outcome::Forward
        })
        .start()
        .await
        .unwrap();
    let mut connect = clean("patient");
    connect.keep_alive = 2;
    let mut publisher = connected(&server, connect).await;
    // It pings all the time; nobody reads that.
    let publish = publisher.made("t", "x", QoS::AtLeastOnce);
    publisher.send(Packet::Publish(Box::new(publish))).await;
    publisher.send(Packet::PingReq).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    publisher.expect(PacketType::PubAck).await;
    publisher.expect(PacketType::PingResp).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_ends_connections_when_it_wants_to_and_when_it_panics() {
    let server = intercepting().await;
    for (topic, reason) in [
        ("close", ReasonCode::AdministrativeAction),
        ("slow/close", ReasonCode::AdministrativeAction),
        ("panic", ReasonCode::UnspecifiedError),
        ("ready/panic", ReasonCode::UnspecifiedError),
        ("slow/panic", ReasonCode::UnspecifiedError),
    ] {
        let mut publisher = client(&server, "publisher").await;
        let publish = publisher.made(topic, "x", QoS::AtLeastOnce);
        publisher.send(Packet::Publish(Box::new(publish))).await;
        publisher.is_disconnected(reason).await;
    }
    assert_eq!(server.metrics().hook_panics, 3);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_never_decides_ends_at_its_time_out() {
    let server = intercepting().await;
    let mut publisher = client(&server, "publisher").await;
    assert_eq!(publisher.publish("stuck/a", "x", QoS::AtLeastOnce).await, ReasonCode::UnspecifiedError);
    assert_eq!(publisher.publish("a", "x", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
    assert_eq!(server.metrics().hook_timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_taken_over_does_not_wait_for_its_hook() {
    let server = intercepting().await;
    let mut former = client(&server, "same").await;
    let publish = former.made("stuck/a", "x", QoS::AtLeastOnce);
    former.send(Packet::Publish(Box::new(publish))).await;
    settle().await;
    let before = tokio::time::Instant::now();
    client(&server, "same").await;
    assert!(before.elapsed() < Duration::from_secs(1));
    former.is_disconnected(ReasonCode::SessionTakenOver).await;
}

#[tokio::test(start_paused = true)]
async fn wills_and_messages_of_the_application_are_intercepted_too() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let server = build()
        .intercept_publishes(move |publish: &PublishAttempt<'_>| {
            let sender = match publish.sender() {
                Sender::Client(client) => format!("client {client}"),
                Sender::Will(client) => format!("will of {client}"),
                Sender::Server => "server".to_owned(),
            };
            notes.lock().unwrap().push(format!("{sender}: {}", publish.topic()));
            let topic = publish.topic().to_owned();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                match topic.as_str() {
                    "bad" => Outcome::Refuse(ReasonCode::TopicNameInvalid),
                    "gone" => Outcome::Drop,
                    _ => Outcome::Forward,
                }
            }
        })
        .start()
        .await
        .unwrap();
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::AtMostOnce).await;
    for topic in ["bad", "good"] {
        let mut connect = clean(topic);
        connect.will = will(topic, "last words", 0);
        connected(&server, connect).await.vanishes().await;
    }
    assert_eq!(receiver.text().await, "last words");
    let message = |topic: &str| Message::new(topic, "up").unwrap();
    assert_eq!(server.publish(message("good")).await, Ok(1));
    assert_eq!(server.publish(message("gone")).await, Ok(0));
    let refused = PublishError::Refused(ReasonCode::TopicNameInvalid);
    assert_eq!(server.publish(message("bad")).await, Err(refused));
    assert_eq!(receiver.text().await, "up");
    receiver.hears_nothing().await;
    let mut seen = seen.lock().unwrap().clone();
    seen[..2].sort();
    assert_eq!(
        seen,
        ["will of bad: bad", "will of good: good", "server: good", "server: gone", "server: bad"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_message_is_not_retained_and_a_replaced_one_is() {
    let server = intercepting().await;
    let mut publisher = client(&server, "publisher").await;
    for topic in ["slow/drop", "drop", "kept"] {
        publisher.publish_retained(topic, "x", QoS::AtLeastOnce).await;
    }
    let retained = server.retained_messages(&TopicFilter::new("#").unwrap());
    assert_eq!(retained.iter().map(|message| message.topic().as_str()).collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn undelivered_messages_are_told() {
    let lost = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&lost);
    let server = build()
        .on_undelivered(move |publish: &PublishAttempt<'_>| {
            assert_eq!(publish.payload(), b"lost");
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .start()
        .await
        .unwrap();
    let mut publisher = subscriber(&server, clean("publisher"), &["a"], QoS::AtMostOnce).await;
    publisher.publish("a", "found", QoS::AtMostOnce).await;
    assert_eq!(publisher.text().await, "found");
    for qos in ALL_QOS {
        publisher.publish("b", "lost", qos).await;
    }
    server.publish(Message::new("b", "lost").unwrap()).await.unwrap();
    publisher.ping().await;
    assert_eq!(lost.load(Ordering::Relaxed), 4);
}
