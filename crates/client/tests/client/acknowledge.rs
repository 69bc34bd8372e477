//! Acknowledging: when a message is taken, or by hand, always in order of arrival.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gantline_client::{Client, ConnectOptions, Event, PacketDirection, QoS, ReasonCode, Subscription};
use gantline_protocol::PacketType;
use gantline_protocol::packet::Packet;
use tokio::sync::{Semaphore, mpsc};

use crate::peer::{ONCE, Peer, at_least_once, connected, exactly_once, publish, reconnected, text};

async fn subscribed(client: &Client, peer: &mut Peer, filter: &str) -> Subscription {
    let subscribe = client.subscribe(filter, QoS::ExactlyOnce);
    let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::GrantedQoS2]));
    subscription.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_it_is_taken() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages();
    peer.publish("a", "1", at_least_once(7)).await;
    peer.hears_nothing().await;
    assert_eq!(text(&messages.next().await.unwrap()), "1");
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 7, ReasonCode::Success));
}

#[tokio::test(start_paused = true)]
async fn qos_2_is_received_when_it_is_taken_and_complete_when_it_is_released() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages();
    peer.publish("a", "1", exactly_once(7)).await;
    peer.hears_nothing().await;
    messages.next().await.unwrap();
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 7, ReasonCode::Success));
    peer.ack(Packet::PubRel, 7, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubComp, 7, ReasonCode::Success));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_qos_2_is_acknowledged_again_and_not_delivered() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages();
    for _ in 0..2 {
        peer.publish("a", "1", exactly_once(7)).await;
    }
    peer.publish("a", "2", at_least_once(8)).await;
    assert_eq!(text(&messages.next().await.unwrap()), "1");
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 7, ReasonCode::Success));
    peer.publish("a", "1", exactly_once(7)).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 7, ReasonCode::Success));
    assert_eq!(text(&messages.next().await.unwrap()), "2");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_holds_back_the_acknowledgements_of_later_messages() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut slow = subscribed(&client, &mut peer, "slow").await;
    let mut fast = subscribed(&client, &mut peer, "fast").await;
    peer.publish("slow", "", at_least_once(1)).await;
    peer.publish("fast", "", at_least_once(2)).await;
    fast.next().await.unwrap();
    peer.hears_nothing().await;
    slow.next().await.unwrap();
    for packet_id in [1, 2] {
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, packet_id, ReasonCode::Success));
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_by_hand_carries_its_reason() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages().manual_acks();
    for (delivery, kind) in [(at_least_once(1), PacketType::PubAck), (exactly_once(2), PacketType::PubRec)] {
        peer.publish("a", "1", delivery).await;
        let unacknowledged = messages.next().await.unwrap();
        assert_eq!(unacknowledged.topic().as_str(), "a");
        peer.hears_nothing().await;
        let message = unacknowledged.acknowledge(ReasonCode::QuotaExceeded);
        assert_eq!(text(&message), "1");
        let packet_id = delivery.packet_id().unwrap().get();
        assert_eq!(peer.expect_ack().await, (kind, packet_id, ReasonCode::QuotaExceeded));
    }
    // A refused id is free again, so this is no duplicate.
    peer.publish("a", "2", exactly_once(2)).await;
    assert_eq!(text(&messages.next().await.unwrap()), "2");
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_by_hand_leave_in_order_of_arrival() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages().manual_acks();
    for packet_id in [5, 6] {
        peer.publish("a", "", at_least_once(packet_id)).await;
    }
    let (first, second) = (messages.next().await.unwrap(), messages.next().await.unwrap());
    second.acknowledge(ReasonCode::NotAuthorized);
    peer.hears_nothing().await;
    first.acknowledge(ReasonCode::Success);
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 5, ReasonCode::Success));
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 6, ReasonCode::NotAuthorized));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_unacknowledged_holds_back_its_qos_alone() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages().manual_acks();
    for delivery in [at_least_once(1), at_least_once(2), exactly_once(3)] {
        peer.publish("a", "", delivery).await;
    }
    drop(messages.next().await.unwrap());
    for _ in 0..2 {
        messages.next().await.unwrap().acknowledge(ReasonCode::Success);
    }
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 3, ReasonCode::Success));
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_several_streams_is_acknowledged_when_the_last_has_taken_it() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut subscription = subscribed(&client, &mut peer, "a/+").await;
    let mut messages = client.messages();
    peer.publish("a/b", "", at_least_once(1)).await;
    messages.next().await.unwrap();
    peer.hears_nothing().await;
    subscription.next().await.unwrap();
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
}

#[tokio::test(start_paused = true)]
async fn of_several_streams_the_one_that_refuses_is_heard() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut by_hand = subscribed(&client, &mut peer, "a").await.manual_acks();
    assert_eq!(by_hand.get_ref().filters()[0].as_str(), "a");
    let mut messages = client.messages();
    peer.publish("a", "", at_least_once(1)).await;
    by_hand.next().await.unwrap().acknowledge(ReasonCode::PayloadFormatInvalid);
    peer.hears_nothing().await;
    messages.next().await.unwrap();
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::PayloadFormatInvalid));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_stream_wants_is_acknowledged_and_told() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    peer.publish("a", "", at_least_once(1)).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    assert!(matches!(events.next().await, Some(Event::MessagesUnclaimed { count: 1 })));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_releases_what_it_has_not_taken() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let messages = client.messages();
    for packet_id in 1..=3 {
        peer.publish("a", "", at_least_once(packet_id)).await;
    }
    peer.hears_nothing().await;
    drop(messages);
    for packet_id in 1..=3 {
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, packet_id, ReasonCode::Success));
    }
}

/// What a stream fetches ahead are messages of QoS 0: whatever is to be acknowledged is taken one by one.
#[tokio::test(start_paused = true)]
async fn behind_messages_of_qos_0_too_only_what_is_taken_is_acknowledged() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages();
    let mixed = [ONCE, ONCE, at_least_once(1), ONCE, at_least_once(2), at_least_once(3), ONCE];
    let mut burst = Vec::new();
    for (number, delivery) in mixed.into_iter().enumerate() {
        let mut packet = Vec::new();
        publish("a", &number.to_string(), delivery).encode(Default::default(), &mut packet).unwrap();
        burst.append(&mut packet);
    }
    peer.send_bytes(&burst).await;
    for (number, delivery) in mixed.into_iter().enumerate() {
        peer.hears_nothing().await;
        assert_eq!(text(&messages.next().await.unwrap()), number.to_string());
        if let Some(packet_id) = delivery.packet_id() {
            assert_eq!(peer.expect_ack().await, (PacketType::PubAck, packet_id.get(), ReasonCode::Success));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_on_the_way_releases_what_is_left_and_others_keep_theirs() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (mut gone, mut stays) = (client.messages(), client.messages().manual_acks());
    for (number, delivery) in [ONCE, ONCE, ONCE, at_least_once(1)].into_iter().enumerate() {
        peer.publish("a", &number.to_string(), delivery).await;
    }
    assert_eq!(text(&gone.next().await.unwrap()), "0");
    drop(gone);
    for number in 0..4 {
        peer.hears_nothing().await;
        let unacknowledged = stays.next().await.unwrap();
        assert_eq!(text(&unacknowledged.acknowledge(ReasonCode::Success)), number.to_string());
    }
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_for_an_earlier_connection_says_nothing_on_the_next() {
    // Also if the next connection is that of another client.
    for id in ["one", "two"] {
        let options = |id: &str| ConnectOptions::default().client_id(id).unwrap();
        let (client, mut peer) = connected(options("one")).await;
        let mut messages = client.messages().manual_acks();
        peer.publish("a", "old", at_least_once(1)).await;
        let old = messages.next().await.unwrap();
        drop(peer);
        client.set_options(options(id));
        let (_, mut peer) = reconnected(&client, Default::default()).await;
        peer.publish("a", "new", at_least_once(1)).await;
        let new = messages.next().await.unwrap();
        assert_eq!(text(&old.acknowledge(ReasonCode::Success)), "old");
        peer.hears_nothing().await;
        new.acknowledge(ReasonCode::Success);
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    }
}

/// A thousand messages of QoS 1.
fn burst() -> Vec<u8> {
    let mut burst = Vec::new();
    for packet_id in 1..=1000 {
        let mut packet = Vec::new();
        publish("a", "", at_least_once(packet_id)).encode(Default::default(), &mut packet).unwrap();
        burst.append(&mut packet);
    }
    burst
}

#[tokio::test(start_paused = true)]
async fn a_burst_in_one_read_is_acknowledged_completely() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let _handler = client.on_message(|_| async {});
    peer.send_bytes(&burst()).await;
    for packet_id in 1..=1000 {
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, packet_id, ReasonCode::Success));
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_in_block_on_has_its_turn_before_a_burst_is_handled_to_its_end() {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&acknowledged);
    let options = ConnectOptions::default().packet_inspector(move |direction, packet| {
        let is_ack = direction == PacketDirection::Sent && packet[0] >> 4 == PacketType::PubAck.value();
        count.fetch_add(usize::from(is_ack), Ordering::Relaxed);
    });
    let (client, mut peer) = connected(options).await;
    let mut messages = client.messages();
    peer.send_bytes(&burst()).await;
    for _ in 0..1000 {
        messages.next().await.unwrap();
    }
    // Four turns bring 256 at most, and of those that have something to acknowledge not each one writes: the third
    // does.
    let early = acknowledged.load(Ordering::Relaxed);
    assert_eq!(early, 512);
}

#[tokio::test(start_paused = true)]
async fn messages_handled_at_the_same_time_are_acknowledged_in_order_when_they_are_done() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let gates: Vec<_> = (0..4).map(|_| Arc::new(Semaphore::new(0))).collect();
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let held = gates.clone();
    let handler = client.messages().for_each_concurrent(3, move |message| {
        let number: usize = text(&message).parse().unwrap();
        let (gate, begun) = (Arc::clone(&held[number]), begun.clone());
        async move {
            begun.send(number).unwrap();
            drop(gate.acquire().await.unwrap());
        }
    });
    for number in 0..4 {
        peer.publish("a", &number.to_string(), at_least_once(number + 1)).await;
    }
    peer.hears_nothing().await;
    // Three at a time.
    let mut at_once: Vec<_> = std::iter::from_fn(|| beginnings.try_recv().ok()).collect();
    at_once.sort_unstable();
    assert_eq!(at_once, [0, 1, 2]);
    gates[1].add_permits(1);
    assert_eq!(beginnings.recv().await, Some(3));
    gates[2].add_permits(1);
    peer.hears_nothing().await;
    gates[0].add_permits(1);
    for packet_id in 1..=3 {
        assert_eq!(peer.expect_ack().await, (PacketType::PubAck, packet_id, ReasonCode::Success));
    }
    // What is not done is not acknowledged, but the last handle says goodbye.
    handler.abort();
    assert!(handler.await.unwrap_err().is_cancelled());
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_lets_its_handlers_finish() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscription = subscribed(&client, &mut peer, "a").await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let handler = subscription.for_each_concurrent(0, move |_| {
        let gate = Arc::clone(&held);
        async move { drop(gate.acquire().await.unwrap()) }
    });
    peer.publish("a", "", at_least_once(1)).await;
    let (result, _) = tokio::join!(client.unsubscribe("a"), peer.expect_unsubscribe(ReasonCode::Success));
    result.unwrap();
    peer.hears_nothing().await;
    assert!(!handler.is_finished());
    gate.add_permits(1);
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    handler.await.unwrap();
}
