//! Hooks that take their time while the server stops.

use std::time::Duration;

use gantline_protocol::PacketType;
use gantline_protocol::packet::Packet;
use gantline_server::{DeliveryAttempt, Message, Outcome, PublishAttempt, QoS, ReasonCode};

use super::build;
use crate::peer::{clean, client, settle, subscriber};

/// How long hooks take.
const WHILE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_delivery_hook_is_still_sent_when_the_server_stops() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let server = build()
            .intercept_deliveries(|_: &DeliveryAttempt<'_>| async {
                tokio::time::sleep(WHILE).await;
                Outcome::Forward
            })
            .start()
            .await
            .unwrap();
        let mut receiver = subscriber(&server, clean("receiver"), &["t"], qos).await;
        for payload in ["1", "2", "3"] {
            server.publish(Message::new("t", payload).unwrap().qos(qos)).await.unwrap();
        }
        settle().await;
        let told = async {
            assert_eq!(receiver.texts(3).await, ["1", "2", "3"]);
            receiver.is_disconnected(ReasonCode::ServerShuttingDown).await;
        };
        let began = tokio::time::Instant::now();
        tokio::join!(told, server.shutdown(DEADLINE));
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_publish_hook_takes_its_time_is_still_acknowledged_when_the_server_stops() {
    let server = build()
        .intercept_publishes(|_: &PublishAttempt<'_>| async {
            tokio::time::sleep(WHILE).await;
            Outcome::Drop
        })
        .start()
        .await
        .unwrap();
    let mut publisher = client(&server, "publisher").await;
    let publish = publisher.made("t", "x", QoS::AtLeastOnce);
    publisher.send(Packet::Publish(Box::new(publish))).await;
    settle().await;
    let told = async {
        publisher.expect(PacketType::PubAck).await;
        publisher.is_disconnected(ReasonCode::ServerShuttingDown).await;
    };
    tokio::join!(told, server.shutdown(DEADLINE));
}
