//! The application itself as publisher and subscriber.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use gantline_protocol::Message;
use gantline_server::{PublishError, QoS, ReasonCode, RunningServer, ServerOptions};

use crate::peer::{ALL_QOS, clean, client, seconds_pass, server, server_with, settle, subscriber, text};

fn message(topic: &str, payload: &str) -> Message {
    Message::new(topic, payload.to_owned()).unwrap()
}

async fn quiet(subscription: &mut gantline_server::LocalSubscription) {
    let next = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn the_application_publishes_to_clients() {
    let server = server().await;
    assert_eq!(server.publish(message("t", "nobody")).await, Ok(0));
    let mut peers = Vec::new();
    for (number, qos) in ALL_QOS.into_iter().enumerate() {
        peers.push(subscriber(&server, clean(&number.to_string()), &["t"], qos).await);
    }
    for qos in ALL_QOS {
        assert_eq!(server.publish(message("t", "x").qos(qos)).await, Ok(3));
        for (peer, granted) in peers.iter_mut().zip(ALL_QOS) {
            let message = peer.message().await;
            assert_eq!((text(&message).as_str(), message.delivery.qos()), ("x", qos.min(granted)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_application_publishes_retained_messages_that_expire() {
    let server = server().await;
    server.publish(message("t", "kept").retain(true).expiry(10)).await.unwrap();
    seconds_pass(2).await;
    let received = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await.message().await;
    assert!(received.retain && received.properties.message_expiry_interval < Some(9));
    seconds_pass(9).await;
    assert_eq!(server.metrics().retained_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_expressed_is_refused() {
    let server = server().await;
    let long = message("t", "").content_type("x".repeat(70_000));
    assert!(matches!(server.publish(long).await, Err(PublishError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn looking_for_retained_messages_in_a_large_tree_lets_others_have_their_turn() {
    let server = server().await;
    for number in 0..10_000 {
        server.publish(message(&format!("{number}/a"), "kept").retain(true)).await.unwrap();
    }
    server.publish(message("x/b", "kept").retain(true)).await.unwrap();
    let mut subscription = server.subscribe("+/b", QoS::AtMostOnce).unwrap();
    let mut next = pin!(subscription.next());
    let mut polls = 0;
    let found = poll_fn(|cx| {
        polls += 1;
        next.as_mut().poll(cx)
    });
    assert_eq!(found.await.unwrap().topic().as_str(), "x/b");
    assert!(polls > 1);
}

#[tokio::test(start_paused = true)]
async fn the_application_receives_retained_messages_first() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    for number in 0..300 {
        other.publish_retained(&format!("t/{number:03}"), "kept", QoS::AtLeastOnce).await;
    }
    let mut subscription = server.subscribe("t/#", QoS::AtLeastOnce).unwrap();
    other.publish("t/live", "live", QoS::AtLeastOnce).await;
    for number in 0..300 {
        let message = subscription.next().await.unwrap();
        assert_eq!(message.topic().as_str(), format!("t/{number:03}"));
        assert!(message.is_retained());
    }
    let message = subscription.next().await.unwrap();
    assert_eq!((message.payload_str(), message.is_retained()), (Ok("live"), false));
    quiet(&mut subscription).await;
}

#[tokio::test(start_paused = true)]
async fn the_application_receives_what_clients_and_itself_publish() {
    let server = server().await;
    let mut subscription = server.subscribe("t/+", QoS::AtLeastOnce).unwrap();
    let mut other = client(&server, "b").await;
    for qos in ALL_QOS {
        for size in [1, 5_000] {
            other.publish("t/a", &"x".repeat(size), qos).await;
            let message = subscription.next().await.unwrap();
            assert_eq!((message.payload().len(), message.qos_level()), (size, qos.min(QoS::AtLeastOnce)));
            assert_eq!(server.publish(message).await, Ok(1));
            assert_eq!(subscription.next().await.unwrap().payload().len(), size);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_it_is_dropped() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    let subscription = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    assert_eq!(other.publish("t", "", QoS::AtLeastOnce).await, ReasonCode::Success);
    drop(subscription);
    assert_eq!(other.publish("t", "", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
    let metrics = server.metrics();
    assert_eq!((metrics.subscriptions, metrics.sessions, metrics.queued_bytes), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_application_does_not_take_is_bounded() {
    let server = server_with(ServerOptions::default().max_queued_messages(10)).await;
    let mut subscription = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    let mut other = client(&server, "b").await;
    for number in 0..30 {
        other.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
    }
    assert_eq!((subscription.dropped(), server.metrics().dropped.total()), (20, 20));
    for number in 20..30 {
        assert_eq!(subscription.next().await.unwrap().payload_str(), Ok(number.to_string().as_str()));
    }
    quiet(&mut subscription).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_expires_while_the_application_does_not_take_it() {
    let server = server().await;
    let mut subscription = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    server.publish(message("t", "1").expiry(5)).await.unwrap();
    server.publish(message("t", "2").qos(QoS::AtLeastOnce).expiry(5)).await.unwrap();
    server.publish(message("t", "3").expiry(50)).await.unwrap();
    seconds_pass(10).await;
    let message = subscription.next().await.unwrap();
    assert_eq!(message.payload_str(), Ok("3"));
    assert!(message.properties().message_expiry_interval < Some(45));
    quiet(&mut subscription).await;
    assert_eq!(server.metrics().messages_expired, 2);
}

#[tokio::test(start_paused = true)]
async fn the_application_may_be_a_member_of_a_share_group() {
    let server = server().await;
    let mut subscription = server.subscribe("$share/g/t", QoS::AtLeastOnce).unwrap();
    let mut peer = subscriber(&server, clean("a"), &["$share/g/t"], QoS::AtLeastOnce).await;
    for _ in 0..10 {
        assert_eq!(server.publish(message("t", "x").qos(QoS::AtLeastOnce)).await, Ok(1));
    }
    for _ in 0..5 {
        subscription.next().await.unwrap();
        peer.text().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_application_did_not_take_goes_to_the_others_of_its_group() {
    let server = server().await;
    let mut subscription = server.subscribe("$share/g/t", QoS::AtLeastOnce).unwrap();
    for number in 0..4 {
        server.publish(message("t", &number.to_string()).qos(QoS::AtLeastOnce)).await.unwrap();
    }
    assert_eq!(subscription.next().await.unwrap().payload_str(), Ok("0"));
    let mut peer = subscriber(&server, clean("a"), &["$share/g/t"], QoS::AtLeastOnce).await;
    drop(subscription);
    assert_eq!(peer.texts(3).await, ["1", "2", "3"]);
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn publishing_waits_for_a_slow_client_but_not_for_long() {
    let server = server_with(ServerOptions::default().max_queued_messages(10)).await;
    let subscription = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..30 {
        server.publish(message("t", "x").qos(QoS::AtLeastOnce)).await.unwrap();
    }
    // After the first wait it is quarantined.
    let elapsed = began.elapsed();
    assert!(elapsed >= Duration::from_millis(50) && elapsed <= Duration::from_millis(55), "{elapsed:?}");
    drop(subscription);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_the_server_whenever_it_began() {
    for dropped in [false, true] {
        let server: RunningServer = server().await;
        let mut subscription = server.subscribe("t", QoS::AtLeastOnce).unwrap();
        server.publish(message("t", "last")).await.unwrap();
        let late = if dropped {
            drop(server);
            None
        } else {
            server.shutdown(Duration::from_secs(1)).await;
            assert_eq!(server.publish(message("t", "late")).await, Err(PublishError::Stopped));
            Some(server.subscribe("t", QoS::AtLeastOnce).unwrap())
        };
        settle().await;
        assert_eq!(subscription.next().await.unwrap().payload_str(), Ok("last"));
        assert!(subscription.next().await.is_none());
        assert!(subscription.next().await.is_none());
        if let Some(mut late) = late {
            assert!(late.next().await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_waits_when_the_server_stops_may_still_be_taken() {
    for qos in ALL_QOS {
        let server = server().await;
        let mut subscription = server.subscribe("t", qos).unwrap();
        for number in 0..10_u8 {
            let message = Message::new("t", vec![number; 50_000]).unwrap().qos(qos);
            server.publish(message).await.unwrap();
        }
        server.shutdown(Duration::from_secs(1)).await;
        for number in 0..10 {
            let message = subscription.next().await;
            assert_eq!(message.map(|message| message.payload()[0]), Some(number), "{qos:?}");
        }
        assert_eq!(subscription.next().await, None);
    }
}
