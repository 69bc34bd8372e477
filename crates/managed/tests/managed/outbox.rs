//! The bounds of the outbox, and each publish ending exactly once.

use std::time::Duration;

use gantline_managed::{DropReason, ManagedEvent, OnOutboxFull, Outcome, QoS};
use gantline_protocol::packet::ConnAck;

use crate::support::{Script, delivered, message, now, options, queue, server, started};

#[tokio::test(start_paused = true)]
async fn new_messages_are_dropped_when_the_outbox_is_full() {
    let client = started(options("newest").max_pending(5, usize::MAX)).await;
    let mut deliveries = Vec::new();
    for number in 0..8 {
        deliveries.push(queue(&client, message("t", number)).await);
    }
    for delivery in deliveries.drain(5..) {
        assert!(matches!(delivery.await, Outcome::Dropped(DropReason::QueueFull)));
    }
    assert_eq!((client.counters().pending_messages, client.counters().dropped), (5, 3));
    let _server = server("newest").await;
    for delivery in deliveries {
        delivered(delivery).await;
    }
}

#[tokio::test(start_paused = true)]
async fn old_messages_give_way_if_that_is_wanted() {
    let oldest = OnOutboxFull::DropOldest;
    let client = started(options("oldest").max_pending(5, usize::MAX).on_outbox_full(oldest)).await;
    let mut deliveries = Vec::new();
    for number in 0..8 {
        deliveries.push(queue(&client, message("t", number)).await);
    }
    let _server = server("oldest").await;
    for delivery in deliveries.drain(..3) {
        assert!(matches!(delivery.await, Outcome::Dropped(DropReason::Displaced)));
    }
    for delivery in deliveries {
        delivered(delivery).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_offline_is_dropped_without_a_server() {
    let client = started(options("expiring")).await;
    let mut delivery = queue(&client, message("t", "").expiry(10)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(now(&mut delivery).await.is_none());
    // The next attempt to connect looks at it.
    assert!(matches!(delivery.await, Outcome::Dropped(DropReason::Expired)));
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_makes_room_and_is_told_as_that() {
    let mut script = Script::new("makes-room").await;
    let client = started(options("makes-room").max_in_flight(1).max_pending(2, usize::MAX)).await;
    let mut peer = script.accept(ConnAck::default()).await;
    drop(queue(&client, message("t", "in flight")).await);
    peer.expect_publish().await;
    let expires = queue(&client, message("t", "expires").expiry(5)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut new = queue(&client, message("t", "new")).await;
    assert!(matches!(expires.await, Outcome::Dropped(DropReason::Expired)));
    assert!(now(&mut new).await.is_none());
    assert_eq!((client.counters().pending_messages, client.counters().dropped), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn every_publish_is_one_event() {
    let client = started(options("events").max_pending(2, usize::MAX)).await;
    let mut events = client.events();
    let kept = [queue(&client, message("t", 1)).await, queue(&client, message("t", 2)).await];
    let dropped = queue(&client, message("t", 3).qos(QoS::ExactlyOnce)).await;
    let _server = server("events").await;
    let ids: Vec<_> = kept.iter().map(|delivery| delivery.id().unwrap()).collect();
    let dropped_id = dropped.id();
    for delivery in kept {
        delivered(delivery).await;
    }
    client.stop().await;
    let (mut processed, mut skipped) = (Vec::new(), Vec::new());
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        match event {
            ManagedEvent::Processed { id, outcome } => processed.push((id, outcome.is_delivered())),
            ManagedEvent::Skipped { id, reason } => skipped.push((id, reason)),
            _ => {}
        }
    }
    assert_eq!(processed, [(ids[0], true), (ids[1], true)]);
    assert_eq!(skipped, [(dropped_id, DropReason::QueueFull)]);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_dropped_is_delivered_all_the_same() {
    let server = server("dropped").await;
    let mut received = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    let client = started(options("dropped")).await;
    drop(client.publish(message("t", "never polled")));
    drop(queue(&client, message("t", "queued")).await);
    assert_eq!(received.next().await.unwrap().payload_str().unwrap(), "queued");
}
