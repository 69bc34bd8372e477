//! What waits for a store, and for how long: packets, connecting, disconnecting.

use std::time::Duration;

use gantline_client::{
    Client, ConnectError, DisconnectCause, Durability, Event, QoS, ReasonCode, SessionChange,
};
use gantline_protocol::PacketType;
use gantline_protocol::packet::{ConnAck, Packet};

use super::{
    Log, State, begun, expect_again, one_in_flight, options, publish, send, started, started_with, transfer,
};
use crate::peer::{at_least_once, exactly_once, id, message, pair, reconnected, session_present};

#[tokio::test(start_paused = true)]
async fn packets_that_cannot_be_taken_back_wait_for_the_store() {
    let (log, client, mut peer) = begun().await;
    let mut messages = client.messages();

    log.set(State::Blocks);
    send(&client, "x", QoS::ExactlyOnce).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(publish(&mut peer).await.1, 1);

    log.set(State::Blocks);
    peer.ack(Packet::PubRec, 1, ReasonCode::Success).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRel);

    log.set(State::Blocks);
    peer.publish("a", "x", exactly_once(7)).await;
    messages.next().await.unwrap();
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRec);

    log.set(State::Blocks);
    peer.ack(Packet::PubRel, 7, ReasonCode::Success).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(peer.expect_ack().await.0, PacketType::PubComp);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_done_twice_does_not_wait_for_the_store() {
    let (log, client, mut peer) = begun().await;
    let mut messages = client.messages();
    let delivery = client.publish(message("a", "x", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    log.set(State::Blocks);
    // The end of a flow, QoS 1 in the other direction, and QoS 0.
    peer.ack(Packet::PubAck, 1, ReasonCode::Success).await;
    delivery.await.unwrap();
    peer.publish("a", "x", at_least_once(1)).await;
    messages.next().await.unwrap();
    assert_eq!(peer.expect_ack().await.0, PacketType::PubAck);
    client.publish(message("a", "0", QoS::AtMostOnce)).await.unwrap();
    peer.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_is_not_blamed_for_a_store_that_is_slow() {
    let (log, client, mut peer) = begun().await;
    log.set(State::Blocks);
    send(&client, "x", QoS::AtLeastOnce).await;
    // Several times the keep alive.
    tokio::time::sleep(Duration::from_secs(600)).await;
    log.set(State::Works);
    assert_eq!(publish(&mut peer).await.0, "x");
    assert!(matches!(peer.receive().await, Packet::PingReq));
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_while_the_store_is_busy_share_its_next_call() {
    let (log, client, mut peer) = begun().await;
    log.set(State::Blocks);
    for number in 0..100 {
        send(&client, &number.to_string(), QoS::AtLeastOnce).await;
    }
    peer.hears_nothing().await;
    log.set(State::Works);
    for number in 0..100 {
        assert_eq!(publish(&mut peer).await, (number.to_string(), number + 1, false));
    }
}

#[tokio::test(start_paused = true)]
async fn behind_the_packets_the_store_is_no_more_than_it_may_be() {
    let log = Log::new();
    let options = options(&log).session_durability(Durability::WriteBehind { most: 10_000 });
    let (client, mut peer) = started_with(options, ConnAck::default()).await;
    log.set(State::Blocks);
    for _ in 0..2 {
        transfer(&client, &mut peer, &"x".repeat(4_000), QoS::AtLeastOnce).await;
    }
    send(&client, &"x".repeat(4_000), QoS::AtLeastOnce).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    peer.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_connection_and_gets_everything_with_the_next() {
    let (log, client, mut peer) = begun().await;
    let mut events = client.events();
    log.set(State::Fails);
    send(&client, "1", QoS::AtLeastOnce).await;
    peer.hears_the_end().await;
    let Some(Event::Disconnected { cause: DisconnectCause::StoreFailed(error) }) = events.next().await else {
        panic!()
    };
    assert_eq!(error.to_string(), "cannot write the log: disk full");

    let (stream, _peer) = pair();
    assert!(matches!(client.reconnect_with(stream).await, Err(ConnectError::Store(_))));
    log.set(State::Works);
    let (_, mut peer) = reconnected(&client, session_present()).await;
    expect_again(&mut peer, "1", 1).await;
    let (_, mut peer, _) = started(&log.copy(), session_present()).await;
    expect_again(&mut peer, "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_up_connecting_no_longer_than_the_time_out() {
    let log = Log::new();
    log.set(State::Blocks);
    let (stream, _peer) = pair();
    let error = Client::connect_with(options(&log), stream).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection within 10s: our session store did not answer");
}

#[tokio::test(start_paused = true)]
async fn disconnecting_waits_for_the_store_within_its_time_out() {
    let (log, client, mut peer) = one_in_flight().await;
    log.set(State::Blocks);
    peer.ack(Packet::PubAck, 1, ReasonCode::Success).await;
    peer.hears_nothing().await;
    let disconnect = tokio::spawn(client.disconnect().into_future());
    peer.expect_disconnect().await;
    drop(peer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!disconnect.is_finished());
    log.set(State::Works);
    disconnect.await.unwrap().unwrap();
    let completed = SessionChange::Completed(id(1));
    assert_eq!(log.changes.lock().unwrap().last(), Some(&completed));

    // One that never answers does not keep the client.
    let (client, mut peer, _) = started(&log.copy(), session_present()).await;
    log.set(State::Blocks);
    let disconnect = tokio::spawn(client.disconnect().into_future());
    peer.expect_disconnect().await;
    drop(peer);
    disconnect.await.unwrap().unwrap();
}
