//! Subscribing and unsubscribing: what is asked, who gets what, and when a stream ends.

use futures_util::future::poll_immediate;
use futures_util::{FutureExt, StreamExt};
use gantline_client::{
    Client, ConnectOptions, QoS, ReasonCode, RetainHandling, SubscribeError, Subscription, TopicFilter,
    UnsubscribeError,
};
use gantline_protocol::packet::{ConnAck, Packet, SubAck, UnsubAck};
use gantline_protocol::{AckProperties, UserProperties};

use crate::peer::{ONCE, Peer, connected, pair, publish, text};

async fn subscribed(client: &Client, peer: &mut Peer, filter: &str) -> Subscription {
    let (subscription, _) =
        tokio::join!(client.subscribe(filter, QoS::AtMostOnce), peer.grant(&[ReasonCode::Success]));
    subscription.unwrap()
}

/// Handles what is due, without waiting for anything.
async fn settle(peer: &mut Peer) {
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_options_are_those_of_the_filter_added_last() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscribe = client
        .subscribe("doors/+", QoS::AtLeastOnce)
        .no_local(true)
        .retain_handling(RetainHandling::Never)
        .and("locks/+", QoS::ExactlyOnce)
        .retain_as_published(true)
        .identifier(7)
        .user_property("who", "me");
    let (subscription, sent) =
        tokio::join!(subscribe, peer.grant(&[ReasonCode::GrantedQoS1, ReasonCode::Success]));
    let subscription = subscription.unwrap();
    assert_eq!(subscription.granted(), [ReasonCode::GrantedQoS1, ReasonCode::Success]);
    assert_eq!(subscription.properties(), &AckProperties::default());
    let texts: Vec<_> = subscription.filters().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["doors/+", "locks/+"]);
    let [doors, locks] = &sent.filters[..] else { panic!() };
    assert_eq!((doors.filter.as_str(), doors.options.maximum_qos), ("doors/+", QoS::AtLeastOnce));
    assert!(doors.options.no_local && !doors.options.retain_as_published);
    assert_eq!(doors.options.retain_handling, RetainHandling::Never);
    assert!(!locks.options.no_local && locks.options.retain_as_published);
    assert_eq!(sent.properties.subscription_identifier, Some(7));
    assert_eq!(sent.properties.user_properties, UserProperties::from_iter([("who", "me")]));
}

#[tokio::test(start_paused = true)]
async fn each_stream_gets_what_its_filters_match() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut exact = subscribed(&client, &mut peer, "a/b").await;
    let mut wildcard = subscribed(&client, &mut peer, "a/+").await;
    let mut shared = subscribed(&client, &mut peer, "$share/group/c").await;
    let mut all = client.messages();
    for topic in ["a/b", "a/c", "c"] {
        peer.publish(topic, topic, ONCE).await;
    }
    settle(&mut peer).await;
    async fn all_of(stream: &mut (impl StreamExt<Item = gantline_client::Message> + Unpin)) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(Some(message)) = poll_immediate(stream.next()).await {
            texts.push(text(&message).to_owned());
        }
        texts
    }
    assert_eq!(all_of(&mut exact).await, ["a/b"]);
    assert_eq!(all_of(&mut wildcard).await, ["a/b", "a/c"]);
    assert_eq!(all_of(&mut shared).await, ["c"]);
    assert_eq!(all_of(&mut all).await, ["a/b", "a/c", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_ahead_of_the_suback_is_not_lost() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (subscription, ()) = tokio::join!(client.subscribe("a", QoS::AtMostOnce), async {
        let Packet::Subscribe(subscribe) = peer.receive().await else { panic!() };
        peer.publish("a", "retained", ONCE).await;
        let (packet_id, reasons) = (subscribe.packet_id, vec![ReasonCode::Success]);
        peer.send(Packet::SubAck(SubAck { packet_id, reasons, properties: AckProperties::default() })).await;
    });
    assert_eq!(text(&subscription.unwrap().next().await.unwrap()), "retained");
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_requests_in_any_order() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (first, second, removed, ()) = tokio::join!(
        client.subscribe("a", QoS::AtMostOnce),
        client.subscribe("b", QoS::AtLeastOnce),
        client.unsubscribe("c"),
        async {
            let Packet::Subscribe(first) = peer.receive().await else { panic!() };
            let Packet::Subscribe(second) = peer.receive().await else { panic!() };
            let Packet::Unsubscribe(third) = peer.receive().await else { panic!() };
            let properties = AckProperties::default;
            let reasons = vec![ReasonCode::NoSubscriptionExisted];
            let packet_id = third.packet_id;
            peer.send(Packet::UnsubAck(UnsubAck { packet_id, reasons, properties: properties() })).await;
            for (packet_id, reason) in
                [(second.packet_id, ReasonCode::GrantedQoS1), (first.packet_id, ReasonCode::Success)]
            {
                let reasons = vec![reason];
                peer.send(Packet::SubAck(SubAck { packet_id, reasons, properties: properties() })).await;
            }
        }
    );
    assert_eq!(first.unwrap().granted(), [ReasonCode::Success]);
    assert_eq!(second.unwrap().granted(), [ReasonCode::GrantedQoS1]);
    assert_eq!(removed.unwrap().reasons, [ReasonCode::NoSubscriptionExisted]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_filter_is_an_error_and_the_others_are_given_up_again() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscribe = client.subscribe("mine", QoS::AtMostOnce).and("secret", QoS::AtMostOnce);
    let (result, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::Success, ReasonCode::NotAuthorized]));
    let error = result.unwrap_err();
    let SubscribeError::Refused(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.filters, [(TopicFilter::new("secret").unwrap(), ReasonCode::NotAuthorized)]);
    assert!(error.to_string().starts_with("the server refused \"secret\": "), "{error}");
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["mine"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_not_sent() {
    let mut connack = ConnAck::default();
    connack.properties.wildcard_subscription_available = Some(false);
    connack.properties.maximum_packet_size = std::num::NonZeroU32::new(50);
    let (stream, mut peer) = pair();
    let (client, _) =
        tokio::join!(Client::connect_with(ConnectOptions::default(), stream), peer.accept(connack));
    let client = client.unwrap();
    let error = client.subscribe("a/#/b", QoS::AtMostOnce).await.unwrap_err();
    assert!(matches!(error, SubscribeError::InvalidFilter(_)), "{error}");
    for filter in ["a/+", &"x".repeat(100)] {
        let error = client.subscribe(filter, QoS::AtMostOnce).await.unwrap_err();
        assert!(matches!(error, SubscribeError::Request(_)), "{error}");
    }
    let error = client.unsubscribe("").await.unwrap_err();
    assert!(matches!(error, UnsubscribeError::InvalidFilter(_)), "{error}");
    let error = client.unsubscribe("x".repeat(100).as_str()).await.unwrap_err();
    assert!(matches!(error, UnsubscribeError::Request(_)), "{error}");
    peer.hears_nothing().await;
    let client = Client::new(ConnectOptions::default());
    let error = client.subscribe("a", QoS::AtMostOnce).await.unwrap_err();
    assert!(matches!(error, SubscribeError::NotConnected), "{error}");
    let error = client.unsubscribe("a").await.unwrap_err();
    assert!(matches!(error, UnsubscribeError::NotConnected), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_unsubscribes_what_no_other_holds() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscribe = client.subscribe("a", QoS::AtMostOnce).and("b", QoS::AtMostOnce);
    let (first, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::Success; 2]));
    let mut second = subscribed(&client, &mut peer, "b").await;
    drop(first);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
    peer.publish("b", "", ONCE).await;
    assert!(second.next().await.is_some());
    drop(second);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_that_is_dropped_half_way_is_given_up() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut subscribe = client.subscribe("a", QoS::AtMostOnce).into_future();
    assert!(poll_immediate(&mut subscribe).await.is_none());
    peer.grant(&[ReasonCode::Success]).await;
    drop(subscribe);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
    // One that the driver has not seen is not sent at all.
    let mut subscribe = client.subscribe("a", QoS::AtMostOnce).into_future();
    assert!(poll_immediate(&mut subscribe).await.is_none());
    drop(subscribe);
    peer.hears_nothing().await;
    // One that was never polled has asked for nothing.
    drop(client.subscribe("b", QoS::AtMostOnce));
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_ends_the_stream_behind_its_last_message() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut subscription = subscribed(&client, &mut peer, "a").await;
    peer.publish("a", "last", ONCE).await;
    let (result, filters) =
        tokio::join!(client.unsubscribe("a"), peer.expect_unsubscribe(ReasonCode::Success));
    assert_eq!((result.unwrap().reasons, filters), (vec![ReasonCode::Success], vec!["a".to_owned()]));
    assert_eq!(text(&subscription.next().await.unwrap()), "last");
    assert!(subscription.next().await.is_none());
    // Nothing is left to unsubscribe from.
    drop(subscription);
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_while_it_has_a_filter_left() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscribe = client.subscribe("a", QoS::AtMostOnce).and("b", QoS::AtMostOnce);
    let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::Success; 2]));
    let mut subscription = subscription.unwrap();
    let unsubscribe = client.unsubscribe("a").user_property("who", "me");
    let (result, _) = tokio::join!(unsubscribe, peer.expect_unsubscribe(ReasonCode::Success));
    result.unwrap();
    peer.publish("b", "", ONCE).await;
    assert!(subscription.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_that_the_server_refuses_ends_nothing() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut subscription = subscribed(&client, &mut peer, "a").await;
    let (result, _) =
        tokio::join!(client.unsubscribe("a"), peer.expect_unsubscribe(ReasonCode::NotAuthorized));
    assert_eq!(result.unwrap().reasons, [ReasonCode::NotAuthorized]);
    peer.publish("a", "", ONCE).await;
    assert!(subscription.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_subscribes_behind_an_unsubscribe_is_not_ended_by_it() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut former = subscribed(&client, &mut peer, "a").await;
    // Both are ordered before the driver sees either.
    let (removed, added, ()) =
        tokio::join!(client.unsubscribe("a"), client.subscribe("a", QoS::AtMostOnce), async {
            peer.expect_unsubscribe(ReasonCode::Success).await;
            peer.grant(&[ReasonCode::Success]).await;
        });
    removed.unwrap();
    let mut added = added.unwrap();
    assert!(former.next().await.is_none());
    peer.publish("a", "", ONCE).await;
    assert!(added.next().await.is_some());
    // It still holds the filter.
    drop(former);
    peer.hears_nothing().await;
    drop(added);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_is_named_twice_is_held_once() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscribe = client.subscribe("a", QoS::AtMostOnce).and("a", QoS::AtMostOnce);
    let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::Success; 2]));
    let mut subscription = subscription.unwrap();
    peer.publish("a", "", ONCE).await;
    settle(&mut peer).await;
    assert!(subscription.next().now_or_never().is_some());
    assert!(subscription.next().now_or_never().is_none());
    drop(subscription);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_function_is_called_with_each_message_until_the_subscription_ends() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let handler = subscribed(&client, &mut peer, "a").await.for_each(move |message| {
        sender.send(text(&message).to_owned()).unwrap();
        async {}
    });
    for payload in ["1", "2"] {
        peer.send(publish("a", payload, ONCE)).await;
        assert_eq!(receiver.recv().await.unwrap(), payload);
    }
    let (result, _) = tokio::join!(client.unsubscribe("a"), peer.expect_unsubscribe(ReasonCode::Success));
    result.unwrap();
    handler.await.unwrap();
}
