//! Many messages over connections that end all the time: nothing is lost, nothing comes in another order, and what is
//! to come once comes once.

use std::time::Duration;

use gantline_client::ProtocolVersion;
use gantline_managed::{ConnectOptions, ManagedOptions, QoS, ReasonCode};

use crate::support::{connect, delivered, lasting, message, queue, server, started};

const MESSAGES: u32 = 5000;

/// Publishes while the connection is cut all the time, and returns what arrived.
async fn cut_up(name: &str, qos: QoS, connect: ConnectOptions) -> Vec<u32> {
    let server = server(name).await;
    let mut received = server.subscribe("t", qos).unwrap();
    let (shortest, longest) = (Duration::from_millis(1), Duration::from_millis(4));
    let client = started(ManagedOptions::new(connect).backoff(shortest, longest).max_in_flight(5)).await;
    let mut deliveries = Vec::new();
    for number in 0..MESSAGES {
        deliveries.push(queue(&client, message("t", number).qos(qos)).await);
    }
    let cutter = async {
        let (mut cuts, mut states) = (0, client.watch_state());
        loop {
            // The next connection, not one that is cut already.
            states.wait_for(|_| client.counters().connections > cuts).await.unwrap();
            // Virtual time stands still while messages flow, so turns are what is counted.
            for _ in 0..cuts % 4 {
                tokio::task::yield_now().await;
            }
            if client.counters().pending_messages == 0 {
                return cuts;
            }
            server.disconnect("managed", ReasonCode::AdministrativeAction);
            cuts += 1;
        }
    };
    let (cuts, ()) = tokio::join!(cutter, async {
        for delivery in deliveries {
            delivered(delivery).await;
        }
    });
    assert!(cuts > 20, "{cuts}");
    assert_eq!(client.counters().delivered, u64::from(MESSAGES));
    let mut heard = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), received.next()).await {
        heard.push(message.payload_str().unwrap().parse().unwrap());
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn qos_2_comes_once_and_in_order_while_the_session_lasts() {
    let heard = cut_up("chaos-2", QoS::ExactlyOnce, lasting("chaos-2")).await;
    assert_eq!(heard, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn qos_2_comes_once_and_in_order_on_an_older_version_too() {
    let options = connect("chaos-3").version(ProtocolVersion::V3_1_1).clean_start(false);
    let heard = cut_up("chaos-3", QoS::ExactlyOnce, options).await;
    assert_eq!(heard, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn qos_1_comes_at_least_once_and_in_order_without_a_session() {
    let heard = cut_up("chaos-1", QoS::AtLeastOnce, connect("chaos-1")).await;
    let mut expected = 0;
    for number in heard {
        // Again what came before, or the next one: never one too far.
        assert!(number <= expected, "{number} before {expected}");
        expected = expected.max(number + 1);
    }
    assert_eq!(expected, MESSAGES);
}
