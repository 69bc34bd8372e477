//! A session that outlives its connection: what is sent again, what is delivered again, what goes on.

use std::time::Duration;

use futures_util::future::poll_immediate;
use gantline_client::{Client, ConnectOptions, Event, PublishError, QoS, ReasonCode, Subscription};
use gantline_protocol::packet::{ConnAck, Connect, Packet};
use gantline_protocol::{DisconnectProperties, PacketType};

use crate::peer::{
    ONCE, Peer, at_least_once, connected, ended, exactly_once, message, pair, reconnected, session_present,
    text,
};

fn options() -> ConnectOptions {
    ConnectOptions::default().session_expiry(Duration::from_secs(3600))
}

async fn resumed(client: &Client) -> (Connect, Peer) {
    reconnected(client, session_present()).await
}

async fn subscribed(client: &Client, peer: &mut Peer, filter: &str) -> Subscription {
    let subscribe = client.subscribe(filter, QoS::ExactlyOnce);
    let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::GrantedQoS2]));
    subscription.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_is_sent_again_with_its_id_in_its_order_and_with_dup() {
    let (client, mut peer) = connected(options()).await;
    let mut sent = Vec::new();
    for (payload, qos) in
        [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::AtLeastOnce), ("4", QoS::AtMostOnce)]
    {
        drop(client.publish(message("a", payload, qos)).queued().await.unwrap());
        sent.push(peer.expect_publish().await);
    }
    assert!(sent.iter().all(|publish| !publish.dup));
    drop(peer);
    let (connect, mut peer) = resumed(&client).await;
    assert!(!connect.clean_start);
    for before in sent.iter().filter(|publish| publish.delivery != ONCE) {
        let again = peer.expect_publish().await;
        assert!(again.dup);
        assert_eq!((&again.payload, again.delivery), (&before.payload, before.delivery));
    }
    // New messages go behind, under other ids.
    drop(client.publish(message("a", "5", QoS::AtLeastOnce)).queued().await.unwrap());
    let new = peer.expect_publish().await;
    assert!(!new.dup && sent.iter().all(|publish| publish.delivery != new.delivery));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_server_has_taken_is_released_and_not_sent_again() {
    let (client, mut peer) = connected(options()).await;
    let _delivery = client.publish(message("a", "", QoS::ExactlyOnce)).queued().await.unwrap();
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubRec, packet_id, ReasonCode::Success).await;
    peer.expect_ack().await;
    drop(peer);
    let (_, mut peer) = resumed(&client).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, packet_id, ReasonCode::Success));
    peer.ack(Packet::PubComp, packet_id, ReasonCode::Success).await;
    peer.hears_nothing().await;
    // Nothing is left of it.
    drop(peer);
    let (_, mut peer) = resumed(&client).await;
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_publish_says_whether_it_is_sent_again() {
    let (stream, mut peer) = pair();
    let mut connack = ConnAck::default();
    connack.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let (client, _) = tokio::join!(Client::connect_with(options(), stream), peer.accept(connack));
    let client = client.unwrap();
    let sent = client.publish(message("a", "sent", QoS::AtLeastOnce)).queued().await.unwrap();
    let waiting = client.publish(message("a", "waiting", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    drop(peer);
    for (delivery, resent) in [(sent, true), (waiting, false)] {
        let Err(PublishError::ConnectionLost(lost)) = delivery.await else { panic!() };
        assert_eq!(lost.resent_on_resume, resent);
    }
    let (_, mut peer) = resumed(&client).await;
    assert_eq!(peer.expect_publish().await.payload, "sent");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_nobody_has_looked_at_learns_of_the_acknowledgement_after_all() {
    let (client, mut peer) = connected(options()).await;
    let delivery = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    drop(peer);
    let (_, mut peer) = resumed(&client).await;
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubAck, packet_id, ReasonCode::NoMatchingSubscribers).await;
    peer.hears_nothing().await;
    assert_eq!(delivery.await.unwrap().reason, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_has_lost_ends_subscriptions_and_sends_nothing_again() {
    let (client, mut peer) = connected(options()).await;
    let mut subscription = subscribed(&client, &mut peer, "a").await;
    drop(client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap());
    peer.expect_publish().await;
    let mut events = client.events();
    drop(peer);
    let (connect, mut peer) = reconnected(&client, ConnAck::default()).await;
    assert!(!connect.clean_start);
    peer.hears_nothing().await;
    assert!(subscription.next().await.is_none());
    assert!(matches!(events.next().await, Some(Event::Disconnected { .. })));
    let Some(Event::Connected(info)) = events.next().await else { panic!() };
    assert!(!info.session_present() && info.lost == 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_in_the_resumed_session() {
    let (client, mut peer) = connected(options()).await;
    let mut subscription = subscribed(&client, &mut peer, "a").await;
    drop(peer);
    let (_, mut peer) = resumed(&client).await;
    // Nothing has to be subscribed again.
    peer.hears_nothing().await;
    peer.publish("a", "on", ONCE).await;
    assert_eq!(text(&subscription.next().await.unwrap()), "on");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_taken_waits_for_the_server_to_send_it_again() {
    for delivery in [at_least_once(7), exactly_once(7)] {
        let (client, mut peer) = connected(options()).await;
        let mut messages = client.messages();
        peer.publish("a", "1", delivery).await;
        peer.publish("a", "0", ONCE).await;
        peer.hears_nothing().await;
        drop(peer);
        ended(&client).await;
        // What nobody sends again can be taken.
        assert_eq!(text(&messages.next().await.unwrap()), "0");
        assert!(poll_immediate(messages.next()).await.is_none());
        let (_, mut peer) = resumed(&client).await;
        assert!(poll_immediate(messages.next()).await.is_none());
        peer.publish("a", "1", delivery).await;
        assert_eq!(text(&messages.next().await.unwrap()), "1");
        let (_, packet_id, reason) = peer.expect_ack().await;
        assert_eq!((packet_id, reason), (7, ReasonCode::Success));
        assert!(poll_immediate(messages.next()).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_taken_is_not_lost_with_the_session() {
    let (client, mut peer) = connected(options()).await;
    let mut messages = client.messages();
    peer.publish("a", "1", exactly_once(7)).await;
    peer.hears_nothing().await;
    drop(peer);
    let (_, mut peer) = reconnected(&client, ConnAck::default()).await;
    assert_eq!(text(&messages.next().await.unwrap()), "1");
    // It belongs to a session that is gone.
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn qos_2_that_was_taken_is_not_delivered_again() {
    let (client, mut peer) = connected(options()).await;
    let mut messages = client.messages();
    peer.publish("a", "1", exactly_once(7)).await;
    messages.next().await.unwrap();
    // The acknowledgement may or may not have gone out; the server says that it has not seen it.
    drop(peer);
    let (_, mut peer) = resumed(&client).await;
    peer.publish("a", "1", exactly_once(7)).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 7, ReasonCode::Success));
    assert!(poll_immediate(messages.next()).await.is_none());
    peer.ack(Packet::PubRel, 7, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubComp, 7, ReasonCode::Success));
}

#[tokio::test(start_paused = true)]
async fn qos_2_that_one_of_two_streams_has_taken_comes_to_each_of_them_once() {
    let (client, mut peer) = connected(options()).await;
    let (mut quick, mut slow) = (client.messages(), client.messages());
    peer.publish("a", "1", exactly_once(7)).await;
    assert_eq!(text(&quick.next().await.unwrap()), "1");
    drop(peer);
    ended(&client).await;
    let (_, mut peer) = resumed(&client).await;
    peer.publish("a", "1", exactly_once(7)).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 7, ReasonCode::Success));
    assert!(poll_immediate(quick.next()).await.is_none());
    assert_eq!(text(&slow.next().await.unwrap()), "1");
    assert!(poll_immediate(slow.next()).await.is_none());
    // That the other one has taken it now is of no matter to the flow.
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn qos_1_that_one_of_two_streams_has_taken_is_left_to_the_server() {
    let (client, mut peer) = connected(options()).await;
    let (mut quick, mut slow) = (client.messages(), client.messages());
    peer.publish("a", "1", at_least_once(7)).await;
    assert_eq!(text(&quick.next().await.unwrap()), "1");
    drop(peer);
    let (_, mut peer) = resumed(&client).await;
    peer.publish("a", "1", at_least_once(7)).await;
    assert_eq!(text(&quick.next().await.unwrap()), "1");
    peer.hears_nothing().await;
    assert_eq!(text(&slow.next().await.unwrap()), "1");
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 7, ReasonCode::Success));
    assert!(poll_immediate(slow.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_without_connection_is_unsubscribed_by_the_next() {
    let (client, mut peer) = connected(options()).await;
    let (kept, dropped) =
        (subscribed(&client, &mut peer, "kept").await, subscribed(&client, &mut peer, "dropped").await);
    drop(peer);
    ended(&client).await;
    drop(dropped);
    let (_, mut peer) = resumed(&client).await;
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["dropped"]);
    peer.hears_nothing().await;
    drop(kept);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_leaves_the_session_as_it_was() {
    let (client, mut peer) = connected(options()).await;
    drop(client.publish(message("a", "1", QoS::AtLeastOnce)).queued().await.unwrap());
    let packet_id = peer.expect_publish().await.delivery.packet_id();
    drop(peer);
    ended(&client).await;
    let (stream, mut peer) = pair();
    let (result, _) = tokio::join!(client.reconnect_with(stream), peer.refuse(ReasonCode::ServerBusy));
    assert!(result.is_err());
    let (stream, peer) = pair();
    drop(peer);
    assert!(client.reconnect_with(stream).await.is_err());
    let (connect, mut peer) = resumed(&client).await;
    assert!(!connect.clean_start);
    assert_eq!(peer.expect_publish().await.delivery.packet_id(), packet_id);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_given_up_with_the_goodbye_is_not_resumed() {
    let (client, mut peer) = connected(options()).await;
    let mut subscription = subscribed(&client, &mut peer, "a").await;
    let properties =
        DisconnectProperties { session_expiry_interval: Some(0), ..DisconnectProperties::default() };
    let (result, ()) = tokio::join!(client.disconnect().properties(properties), async {
        peer.expect_disconnect().await;
        drop(peer);
    });
    result.unwrap();
    assert!(subscription.next().await.is_none());
    let (connect, _peer) = reconnected(&client, ConnAck::default()).await;
    assert!(connect.clean_start);
}

#[tokio::test(start_paused = true)]
async fn another_client_id_is_another_session() {
    let (client, mut peer) = connected(options().client_id("one").unwrap()).await;
    drop(client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap());
    peer.expect_publish().await;
    drop(peer);
    client.set_options(options().client_id("two").unwrap());
    assert_eq!(client.client_id().unwrap().as_str(), "one");
    let (connect, mut peer) = reconnected(&client, ConnAck::default()).await;
    assert_eq!((connect.client_id.as_str(), connect.clean_start), ("two", true));
    assert_eq!(client.client_id().unwrap().as_str(), "two");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_server_grants_no_session_for_is_not_kept() {
    let (stream, mut peer) = pair();
    let mut connack = ConnAck::default();
    connack.properties.session_expiry_interval = Some(0);
    let (client, _) = tokio::join!(Client::connect_with(options(), stream), peer.accept(connack));
    let client = client.unwrap();
    let delivery = client.publish(message("a", "", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    drop(peer);
    let Err(PublishError::ConnectionLost(lost)) = delivery.await else { panic!() };
    assert!(!lost.resent_on_resume);
    let (connect, _peer) = reconnected(&client, ConnAck::default()).await;
    assert!(connect.clean_start);
}
