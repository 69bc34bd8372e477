//! Delivery hooks at their edges: what was remembered before the receiver came, hooks that never decide, and replaced
//! messages with another QoS.

use std::time::Duration;

use gantline_server::{
    Decision, DeliveryAttempt, Message, Outcome, QoS, ReasonCode, RunningServer, Server, ServerOptions,
};

use crate::peer::{clean, client, connected, lasting, settle, subscriber, text};

async fn delivering<F>(deliver: F) -> RunningServer
where
    F: Fn(&DeliveryAttempt<'_>) -> Decision<Outcome<Message>> + Send + Sync + 'static,
{
    Server::new(ServerOptions::default()).intercept_deliveries(deliver).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_sees_messages_whose_route_was_found_while_the_receiver_was_away() {
    let server = delivering(|_: &DeliveryAttempt<'_>| Decision::Now(Outcome::Drop)).await;
    let receiver = subscriber(&server, lasting("receiver", 60), &["t"], QoS::AtLeastOnce).await;
    receiver.vanishes().await;
    settle().await;
    let mut publisher = client(&server, "publisher").await;
    publisher.publish("t", "away", QoS::AtMostOnce).await;
    publisher.ping().await;
    let mut receiver = connected(&server, lasting("receiver", 60)).await;
    publisher.publish("t", "back", QoS::AtMostOnce).await;
    receiver.hears_nothing().await;
    assert_eq!(server.metrics().messages_intercepted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_that_never_decides_ends_at_its_time_out_behind_one_that_dropped() {
    let server = delivering(|delivery: &DeliveryAttempt<'_>| match delivery.payload() {
        b"dropped" => Decision::later(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Outcome::Drop
        }),
        b"stuck" => Decision::later(std::future::pending()),
        _ => Decision::Now(Outcome::Forward),
    })
    .await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut receiver = subscriber(&server, clean("receiver"), &["t"], qos).await;
        for payload in ["dropped", "stuck", "last"] {
            server.publish(Message::new("t", payload).unwrap().qos(qos)).await.unwrap();
        }
        assert_eq!(receiver.text().await, "last");
    }
    assert_eq!(server.metrics().hook_timeouts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_while_the_hook_makes_up_its_mind_is_not_sent() {
    let server = delivering(|_: &DeliveryAttempt<'_>| {
        Decision::later(async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Outcome::Forward
        })
    })
    .await;
    for (qos, expired) in [(QoS::AtMostOnce, 1), (QoS::AtLeastOnce, 2)] {
        let mut receiver = subscriber(&server, clean("receiver"), &["t"], qos).await;
        for (payload, seconds) in [("short", 2), ("long", 20)] {
            server.publish(Message::new("t", payload).unwrap().qos(qos).expiry(seconds)).await.unwrap();
        }
        let message = receiver.message().await;
        assert_eq!(text(&message), "long");
        assert_eq!(message.properties.message_expiry_interval, Some(14));
        assert_eq!(server.metrics().messages_expired, expired);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_about_which_the_hook_panics_does_not_end_the_next_connection_too() {
    for takes_its_time in [false, true] {
        let server = delivering(move |delivery: &DeliveryAttempt<'_>| {
            let is_bad = delivery.payload() == b"bad";
            let decide = move || match is_bad {
                true => panic!("as the test wants it"),
                false => Outcome::Forward,
            };
            if !takes_its_time {
                return Decision::Now(decide());
            }
            Decision::later(async move {
                tokio::task::yield_now().await;
                decide()
            })
        })
        .await;
        let mut receiver = subscriber(&server, lasting("receiver", 60), &["t"], QoS::AtLeastOnce).await;
        for payload in ["bad", "good"] {
            server.publish(Message::new("t", payload).unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
        }
        receiver.is_disconnected(ReasonCode::UnspecifiedError).await;
        let mut receiver = connected(&server, lasting("receiver", 60)).await;
        assert_eq!(receiver.text().await, "good");
        let metrics = server.metrics();
        assert_eq!((metrics.hook_panics, metrics.messages_intercepted), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_message_is_sent_with_no_higher_qos_than_the_first_and_asked_about_once() {
    let server = delivering(|delivery: &DeliveryAttempt<'_>| {
        let text = String::from_utf8(delivery.payload().to_vec()).unwrap();
        Decision::Now(Outcome::Replace(
            Message::new("t", format!("re {text}")).unwrap().qos(QoS::ExactlyOnce),
        ))
    })
    .await;
    let mut connect = clean("receiver");
    connect.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let mut receiver = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::AtMostOnce), ("3", QoS::AtLeastOnce)] {
        server.publish(Message::new("t", payload).unwrap().qos(qos)).await.unwrap();
    }
    let mut got = Vec::new();
    for _ in 0..3 {
        let publish = receiver.message().await;
        got.push((text(&publish), publish.delivery.qos()));
    }
    got.sort_unstable();
    let expected = [("re 1", QoS::AtLeastOnce), ("re 2", QoS::AtMostOnce), ("re 3", QoS::AtLeastOnce)];
    assert_eq!(got, expected.map(|(text, qos)| (text.to_owned(), qos)));
}
