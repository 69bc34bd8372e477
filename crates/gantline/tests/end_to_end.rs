//! Our client and our server together, over TCP on a free port and in memory.
//!
//! What each does by itself is tested in its own crate against a scripted peer. Here the two agree: every version with
//! every other, sessions across connections, and load in both directions at once.

#![cfg(all(feature = "client", feature = "server"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::future::Future;
use std::time::Duration;

use gantline::client::DisconnectCause;
use gantline::server::Overflow;
use gantline::{
    Client, ConnectOptions, Event, Message, ProtocolVersion, QoS, ReasonCode, RunningServer, Server,
    ServerOptions, Subscription,
};

const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

async fn serve(options: ServerOptions) -> RunningServer {
    Server::new(options).listen("mqtt://127.0.0.1:0").start().await.unwrap()
}

fn options(server: &RunningServer, id: &str) -> ConnectOptions {
    let url = server.local_addresses()[0].to_string();
    ConnectOptions::new(url).unwrap().client_id(id).unwrap()
}

fn message(topic: &str, payload: impl Into<String>) -> Message {
    Message::new(topic, payload.into()).unwrap()
}

/// Only a failure waits this long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}

async fn payload(messages: &mut Subscription) -> String {
    soon(messages.next()).await.expect("a message").payload_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_version_gets_the_messages_of_every_other_at_each_qos() {
    let server = serve(ServerOptions::default()).await;
    for from in ProtocolVersion::ALL {
        for to in ProtocolVersion::ALL {
            let subscriber = Client::connect(options(&server, "to").version(to)).await.unwrap();
            let publisher = Client::connect(options(&server, "from").version(from)).await.unwrap();
            let mut messages = subscriber.subscribe("a/+", QoS::ExactlyOnce).await.unwrap();
            for qos in EACH_QOS {
                let properties = message("a/b", format!("{qos:?}")).qos(qos);
                let sent =
                    if from.has_properties() { properties.user_property("k", "v") } else { properties };
                publisher.publish(sent).await.unwrap();
                let received = soon(messages.next()).await.unwrap();
                assert_eq!(received.payload_str().unwrap(), format!("{qos:?}"), "{from} to {to}");
                assert_eq!(received.qos_level(), qos, "{from} to {to}");
                let kept = from.has_properties() && to.has_properties();
                assert_eq!(
                    received.properties().user_properties.get("k"),
                    kept.then_some("v"),
                    "{from} to {to}"
                );
            }
            publisher.disconnect().await.unwrap();
            subscriber.disconnect().await.unwrap();
        }
    }
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_connections_break_again_and_again() {
    let server = serve(ServerOptions::default()).await;
    let persistent =
        |id: &str| options(&server, id).clean_start(false).session_expiry(Duration::from_secs(300));
    let subscriber = Client::connect(persistent("subscriber")).await.unwrap();
    let mut messages = subscriber.subscribe("load", QoS::ExactlyOnce).await.unwrap();
    let publisher = Client::connect(persistent("publisher")).await.unwrap();
    const ROUNDS: u32 = 20;
    const EACH: u32 = 50;
    let publishing = tokio::spawn(async move {
        for round in 0..ROUNDS {
            let mut deliveries = Vec::new();
            for number in round * EACH..(round + 1) * EACH {
                let message = message("load", number.to_string()).qos(QoS::ExactlyOnce);
                deliveries.push(publisher.publish(message).queued().await.unwrap());
            }
            for delivery in deliveries {
                delivery.await.unwrap();
            }
        }
        publisher
    });
    // It leaves and comes back each time in the middle of something.
    let mut next = 0;
    while next < ROUNDS * EACH {
        for _ in 0..EACH {
            assert_eq!(payload(&mut messages).await, next.to_string());
            next += 1;
        }
        subscriber.disconnect().await.unwrap();
        subscriber.reconnect().await.unwrap();
        assert!(subscriber.connection().unwrap().session_present());
    }
    let publisher = soon(publishing).await.unwrap();
    publisher.publish(message("load", "end").qos(QoS::ExactlyOnce)).await.unwrap();
    assert_eq!(payload(&mut messages).await, "end", "and nothing else");
    assert_eq!(server.metrics().dropped.total(), 0);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_that_flood_each_other_do_not_lock_up() {
    let server = serve(ServerOptions::default().max_queued_messages(64)).await;
    let mut tasks = Vec::new();
    for (id, other) in [("a", "b"), ("b", "a")] {
        let client = Client::connect(options(&server, id)).await.unwrap();
        let mut messages = client.subscribe(id, QoS::AtLeastOnce).await.unwrap();
        let reader = tokio::spawn(async move { while messages.next().await.is_some() {} });
        tasks.push(tokio::spawn(async move {
            let mut deliveries = Vec::new();
            for number in 0..5_000 {
                let message = message(other, number.to_string()).qos(QoS::AtLeastOnce);
                deliveries.push(client.publish(message).queued().await.unwrap());
            }
            for delivery in deliveries {
                delivery.await.unwrap();
            }
            reader.abort();
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_client_may_flood_its_own_subscription() {
    let server =
        serve(ServerOptions::default().max_queued_messages(100).overflow(Overflow::DropNewest)).await;
    let client = Client::connect(options(&server, "narcissus")).await.unwrap();
    let mut messages = client.subscribe("own", QoS::AtLeastOnce).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..2_000 {
        let message = message("own", number.to_string()).qos(QoS::AtLeastOnce);
        deliveries.push(client.publish(message).queued().await.unwrap());
    }
    let taking = tokio::spawn(async move {
        let mut taken = 0_u64;
        while let Some(message) = messages.next().await {
            if message.payload_str() == Ok("end") {
                break;
            }
            taken += 1;
        }
        taken
    });
    for delivery in deliveries {
        soon(delivery).await.unwrap();
    }
    // All that was acknowledged was delivered or counted.
    loop {
        client.publish(message("own", "end").qos(QoS::AtLeastOnce)).await.unwrap();
        if taking.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let taken = soon(taking).await.unwrap();
    assert!(taken + server.metrics().dropped.total() >= 2_000, "{taken} {:?}", server.metrics());
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_client_hears_why_the_server_stops() {
    let server = serve(ServerOptions::default()).await;
    let client = Client::connect(options(&server, "listener")).await.unwrap();
    let mut events = client.events();
    server.shutdown(Duration::from_secs(5)).await;
    loop {
        if let Event::Disconnected { cause } = soon(events.next()).await.unwrap() {
            let DisconnectCause::ByServer(goodbye) = &cause else { panic!("{cause:?}") };
            assert_eq!(goodbye.reason, ReasonCode::ServerShuttingDown);
            break;
        }
    }
}

#[tokio::test]
async fn a_server_in_memory_needs_no_socket() {
    let server = Server::new(ServerOptions::default()).listen("memory://end-to-end").start().await.unwrap();
    let client = Client::connect(options(&server, "client")).await.unwrap();
    let mut local = server.subscribe("up/#", QoS::AtLeastOnce).unwrap();
    let mut remote = client.subscribe("down/#", QoS::AtLeastOnce).await.unwrap();
    client.publish(message("up/1", "to the server").qos(QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(soon(local.next()).await.unwrap().payload_str(), Ok("to the server"));
    assert_eq!(server.publish(message("down/1", "to the client")).await, Ok(1));
    assert_eq!(payload(&mut remote).await, "to the client");
    server.shutdown(Duration::from_secs(5)).await;
    assert!(soon(local.next()).await.is_none());
}
