//! Stopping, with and without draining, starting again, and going away.

use std::time::Duration;

use gantline_managed::{
    Doubt, DropReason, ManagedClient, ManagedOptions, Outcome, QoS, ReasonCode, State, StopCause,
};
use gantline_protocol::PacketType;
use gantline_protocol::packet::{ConnAck, Packet};

use crate::peer::session_present;
use crate::support::{Script, delivered, lasting, message, options, queue, server, started};

#[tokio::test(start_paused = true)]
async fn a_stop_ends_what_waits_and_what_is_in_flight() {
    let mut script = Script::new("stops").await;
    let client = started(options("stops").max_in_flight(1)).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let sent = queue(&client, message("t", "sent")).await;
    let waits = queue(&client, message("t", "waits")).await;
    peer.expect_publish().await;
    let (disconnect, ()) = tokio::join!(
        async {
            let disconnect = peer.expect_disconnect().await;
            drop(peer);
            disconnect
        },
        client.stop().reason(ReasonCode::DisconnectWithWillMessage)
    );
    assert_eq!(disconnect.reason, ReasonCode::DisconnectWithWillMessage);
    assert!(matches!(sent.await, Outcome::Indeterminate(Doubt::Stopped)));
    assert!(matches!(waits.await, Outcome::Dropped(DropReason::Stopped)));
    let late = client.publish(message("t", "late")).await;
    assert!(matches!(late, Outcome::Dropped(DropReason::Stopped)));
    assert!(matches!(client.state(), State::Stopped(StopCause::Requested)));
    assert!(matches!(client.connected().await, Err(StopCause::Requested)));
    // What was told so is not sent behind anybody's back when it is started again.
    client.start().await.unwrap();
    let mut peer = script.accept(ConnAck::default()).await;
    peer.hears_nothing().await;
    let counters = client.counters();
    assert_eq!((counters.pending_messages, counters.indeterminate, counters.dropped), (0, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_everything_first_connecting_if_need_be() {
    let client = started(options("drains")).await;
    let mut deliveries = Vec::new();
    for number in 0..20 {
        deliveries.push(queue(&client, message("t", number)).await);
    }
    let stop = tokio::spawn({
        let client = client.clone();
        async move { client.stop().drain(Duration::from_secs(600)).await }
    });
    tokio::task::yield_now().await;
    let late = client.publish(message("t", "late")).await;
    assert!(matches!(late, Outcome::Dropped(DropReason::Stopped)));
    let server = server("drains").await;
    let mut received = server.subscribe("t", QoS::AtLeastOnce).unwrap();
    stop.await.unwrap();
    for delivery in deliveries {
        delivered(delivery).await;
    }
    for number in 0..20 {
        assert_eq!(received.next().await.unwrap().payload_str().unwrap(), number.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_its_time() {
    let client = started(options("hopeless")).await;
    let delivery = queue(&client, message("t", "")).await;
    let began = tokio::time::Instant::now();
    client.stop().drain(Duration::from_secs(90)).await;
    assert_eq!(began.elapsed().as_secs(), 90);
    assert!(matches!(delivery.await, Outcome::Dropped(DropReason::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn streams_go_on_when_the_client_is_started_again() {
    let server = server("again").await;
    let client = ManagedClient::new(options("again"));
    let mut stream = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    for round in 0..3 {
        client.start().await.unwrap();
        client.start().await.unwrap();
        client.connected().await.unwrap();
        stream.granted().await.unwrap();
        server.publish(message("t", round)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().payload_str().unwrap(), round.to_string());
        client.stop().await;
        client.stop().await;
        assert!(!client.is_connected());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_session_holds_goes_on_after_a_stop() {
    let mut script = Script::new("goes-on").await;
    let client = started(ManagedOptions::new(lasting("goes-on"))).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let sent = queue(&client, message("t", "sent").qos(QoS::ExactlyOnce)).await;
    peer.expect_publish().await;
    let (_, ()) = tokio::join!(
        async {
            peer.expect_disconnect().await;
            drop(peer);
        },
        client.stop()
    );
    assert!(matches!(sent.await, Outcome::Indeterminate(Doubt::Stopped)));
    client.start().await.unwrap();
    let mut peer = script.accept(session_present()).await;
    let again = peer.expect_publish().await;
    assert!(again.dup);
    let id = again.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubRec, id, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRel);
    peer.ack(Packet::PubComp, id, ReasonCode::Success).await;
    // Not a second time as a new message.
    peer.hears_nothing().await;
    assert_eq!(client.counters().pending_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_the_connection_with_it() {
    let mut script = Script::new("handles").await;
    let client = started(options("handles")).await;
    let task = client.on_message(|_| async {});
    let mut events = client.events();
    let mut peer = script.accept(ConnAck::default()).await;
    let stream = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    peer.grant(&[ReasonCode::GrantedQoS1]).await;
    drop(client);
    // The stream is a handle too.
    peer.hears_nothing().await;
    drop(stream);
    loop {
        match peer.receive().await {
            Packet::Disconnect(_) => break,
            Packet::Unsubscribe(_) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(peer);
    task.await.unwrap();
    while events.next().await.is_some() {}
}
