//! Subscriptions that outlive connections: restored in pieces, changed while offline, refused, given up.

use std::num::NonZeroU32;
use std::time::Duration;

use gantline_managed::{
    FilterError, ManagedClient, ManagedEvent, ManagedOptions, QoS, ReasonCode, RetainHandling, Subscription,
};
use gantline_protocol::packet::{ConnAck, Packet, Subscribe};

use crate::peer::{Peer, at_least_once, session_present};
use crate::support::{Script, delivered, find, lasting, message, options, queue, server, shut_down, started};

const QOS: QoS = QoS::AtLeastOnce;
const GRANTED: ReasonCode = ReasonCode::GrantedQoS1;

fn names(subscribe: &Subscribe) -> Vec<&str> {
    subscribe.filters.iter().map(|filter| filter.filter.as_str()).collect()
}

async fn text(subscription: &mut Subscription) -> String {
    subscription.next().await.unwrap().payload_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_is_subscribed_to_offline_outlives_servers() {
    let client = started(options("outlives")).await;
    let mut stream = client.subscribe("t/+", QOS).await.unwrap();
    for round in 0..3 {
        let server = server("outlives").await;
        client.connected().await.unwrap();
        assert_eq!(stream.granted().await.unwrap(), [GRANTED]);
        server.publish(message("t/1", round)).await.unwrap();
        assert_eq!(text(&mut stream).await, round.to_string());
        shut_down(server).await;
        let mut states = client.watch_state();
        states.wait_for(|state| !state.is_connected()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_session_is_subscribed_to_everything_with_all_options_and_before_messages_go_out() {
    let mut script = Script::new("anew").await;
    let client = started(options("anew").filters_per_request(2)).await;
    let plain =
        client.subscribe("a", QoS::AtMostOnce).and("b", QoS::ExactlyOnce).no_local(true).and("c", QOS);
    let _plain = plain.retain_as_published(true).retain_handling(RetainHandling::Never).await.unwrap();
    let _marked = client.subscribe("d", QOS).identifier(7).user_property("k", "v").await.unwrap();
    let delivery = queue(&client, message("t", "")).await;
    for _ in 0..2 {
        let mut peer = script.accept(ConnAck::default()).await;
        let first = peer.grant(&[ReasonCode::Success, ReasonCode::GrantedQoS2]).await;
        assert_eq!(names(&first), ["a", "b"]);
        assert!(!first.filters[0].options.no_local && first.filters[1].options.no_local);
        assert_eq!(first.filters[1].options.maximum_qos, QoS::ExactlyOnce);
        let second = peer.grant(&[GRANTED]).await;
        assert_eq!(names(&second), ["c"]);
        assert!(second.filters[0].options.retain_as_published);
        assert_eq!(second.filters[0].options.retain_handling, RetainHandling::Never);
        let Packet::Subscribe(third) = peer.receive().await else { panic!() };
        assert_eq!((names(&third), third.properties.subscription_identifier), (vec!["d"], Some(7)));
        // The last answer is missing: no message yet.
        peer.hears_nothing().await;
    }
    let mut peer = script.accept(ConnAck::default()).await;
    for reasons in [&[GRANTED, GRANTED][..], &[GRANTED], &[GRANTED]] {
        peer.grant(reasons).await;
    }
    let publish = peer.expect_publish().await;
    peer.ack(Packet::PubAck, publish.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    delivered(delivery).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_holds_messages_back_for_a_while_only() {
    let mut script = Script::new("silent").await;
    let client = started(options("silent")).await;
    let _stream = client.subscribe("a", QOS).await.unwrap();
    drop(queue(&client, message("t", "")).await);
    let mut peer = script.accept(ConnAck::default()).await;
    assert!(matches!(peer.receive().await, Packet::Subscribe(_)));
    let began = tokio::time::Instant::now();
    peer.expect_publish().await;
    assert!(began.elapsed() >= Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn packets_are_no_larger_than_the_server_takes() {
    let mut script = Script::new("small").await;
    let client = started(options("small").filters_per_request(100)).await;
    let mut subscribe = client.subscribe("topic/00", QOS);
    for number in 1..20 {
        subscribe = subscribe.and(format!("topic/{number:02}"), QOS);
    }
    let mut stream = subscribe.await.unwrap();
    let mut connack = ConnAck::default();
    connack.properties.maximum_packet_size = NonZeroU32::new(80);
    let mut peer = script.accept(connack).await;
    let mut heard = Vec::new();
    while heard.len() < 20 {
        let Packet::Subscribe(subscribe) = peer.receive().await else { panic!() };
        let mut bytes = Vec::new();
        Packet::Subscribe(subscribe.clone()).encode(Default::default(), &mut bytes).unwrap();
        assert!(bytes.len() <= 80);
        heard.extend(names(&subscribe).into_iter().map(str::to_owned));
        answer(&mut peer, &subscribe).await;
    }
    assert_eq!(stream.granted().await.unwrap().len(), 20);
}

async fn answer(peer: &mut Peer, subscribe: &Subscribe) {
    peer.send(Packet::SubAck(gantline_protocol::SubAck {
        packet_id: subscribe.packet_id,
        reasons: vec![GRANTED; subscribe.filters.len()],
        properties: Default::default(),
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_present_is_told_what_has_changed_meanwhile() {
    let mut script = Script::new("changed").await;
    let client = started(ManagedOptions::new(lasting("changed"))).await;
    let mut stays = client.subscribe("stays", QOS).await.unwrap();
    let goes = client.subscribe("goes", QOS).await.unwrap();
    let mut peer = script.accept(ConnAck::default()).await;
    peer.grant(&[GRANTED, GRANTED]).await;
    stays.granted().await.unwrap();
    drop(peer);
    drop(goes);
    let mut comes = client.subscribe("comes", QOS).await.unwrap();
    let mut peer = script.accept(session_present()).await;
    assert_eq!(names(&peer.grant(&[GRANTED]).await), ["comes"]);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["goes"]);
    comes.granted().await.unwrap();
    peer.hears_nothing().await;
    peer.publish("stays", "on", at_least_once(1)).await;
    assert_eq!(text(&mut stays).await, "on");
    assert_eq!(peer.expect_ack().await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_at_once_and_nothing_twice() {
    let mut script = Script::new("once").await;
    let client = started(options("once")).await;
    let mut peer = script.accept(ConnAck::default()).await;
    client.connected().await.unwrap();
    let first = client.subscribe("a", QOS).await.unwrap();
    assert_eq!(names(&peer.grant(&[GRANTED]).await), ["a"]);
    let _second = client.subscribe("b", QOS).await.unwrap();
    assert_eq!(names(&peer.grant(&[GRANTED]).await), ["b"]);
    drop(first);
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_filter_is_an_event_and_an_answer_and_the_others_stay() {
    let mut script = Script::new("refused").await;
    let client = ManagedClient::new(options("refused"));
    let mut events = client.events();
    client.start().await.unwrap();
    let mut good = client.subscribe("good", QOS).await.unwrap();
    let mut bad = client.subscribe("bad", QOS).await.unwrap();
    let mut peer = script.accept(ConnAck::default()).await;
    assert_eq!(names(&peer.grant(&[ReasonCode::NotAuthorized, GRANTED]).await), ["bad", "good"]);
    good.granted().await.unwrap();
    let Err(FilterError::Refused { reason, .. }) = bad.granted().await else { panic!() };
    assert_eq!(reason, ReasonCode::NotAuthorized);
    let refused = find(&mut events, |event| match event {
        ManagedEvent::FiltersRefused { filters } => Some(filters),
        _ => None,
    });
    assert_eq!(refused.await[0].0.as_str(), "bad");
    // The next connection is another chance.
    drop(peer);
    let mut peer = script.accept(ConnAck::default()).await;
    peer.grant(&[GRANTED, GRANTED]).await;
    bad.granted().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_offer_does_not_spoil_the_rest() {
    let mut script = Script::new("spoilt").await;
    let client = started(options("spoilt")).await;
    let mut wild = client.subscribe("a/#", QOS).await.unwrap();
    let mut tame = client.subscribe("b", QOS).await.unwrap();
    let mut connack = ConnAck::default();
    connack.properties.wildcard_subscription_available = Some(false);
    let mut peer = script.accept(connack).await;
    assert_eq!(names(&peer.grant(&[GRANTED]).await), ["b"]);
    tame.granted().await.unwrap();
    assert!(matches!(wild.granted().await, Err(FilterError::Failed { .. })));
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_ends_the_streams_of_the_filter_behind_what_they_have() {
    let server = server("ends").await;
    let client = started(options("ends")).await;
    let mut single = client.subscribe("a", QOS).await.unwrap();
    let mut double = client.subscribe("a", QOS).and("b", QOS).await.unwrap();
    double.granted().await.unwrap();
    server.publish(message("a", "last")).await.unwrap();
    client.client().ping().await.unwrap();
    client.unsubscribe("a").unwrap();
    assert_eq!(text(&mut single).await, "last");
    assert!(single.next().await.is_none());
    server.publish(message("b", "other")).await.unwrap();
    assert_eq!(text(&mut double).await, "other");
    assert!(client.unsubscribe("a/#/b").is_err());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_answer_hears_that_the_filter_is_not_wanted_any_more() {
    let client = started(options("unwanted")).await;
    let mut stream = client.subscribe("a", QOS).await.unwrap();
    client.unsubscribe("a").unwrap();
    assert!(matches!(stream.granted().await, Err(FilterError::Unsubscribed { .. })));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn messages_are_acknowledged_when_they_are_taken() {
    let mut script = Script::new("taken").await;
    let client = started(options("taken")).await;
    let mut everything = client.messages();
    let mut by_hand = client.subscribe("a", QOS).await.unwrap().manual_acks();
    let mut peer = script.accept(ConnAck::default()).await;
    peer.grant(&[GRANTED]).await;
    peer.publish("a", "1", at_least_once(1)).await;
    peer.publish("b", "2", at_least_once(2)).await;
    everything.next().await.unwrap();
    everything.next().await.unwrap();
    peer.hears_nothing().await;
    by_hand.next().await.unwrap().acknowledge(ReasonCode::Success);
    assert_eq!([peer.expect_ack().await.1, peer.expect_ack().await.1], [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_filter_that_is_not_wanted_any_more_is_acknowledged_and_not_given() {
    let mut script = Script::new("late").await;
    let client = started(options("late")).await;
    let mut stream = client.subscribe("a", QOS).and("b", QOS).await.unwrap().manual_acks();
    let mut peer = script.accept(ConnAck::default()).await;
    peer.grant(&[GRANTED, GRANTED]).await;
    client.unsubscribe("a").unwrap();
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
    // The server sent it before it heard of that.
    peer.publish("a", "late", at_least_once(1)).await;
    peer.publish("b", "wanted", at_least_once(2)).await;
    let message = stream.next().await.unwrap();
    assert_eq!(message.payload_str().unwrap(), "wanted");
    assert_eq!(peer.expect_ack().await.1, 1);
    peer.hears_nothing().await;
    message.acknowledge(ReasonCode::Success);
    assert_eq!(peer.expect_ack().await.1, 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_use_the_client_in_every_way() {
    let server = server("handler").await;
    let client = started(options("handler")).await;
    let (done, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut stream = client.subscribe("ask", QOS).await.unwrap();
    stream.granted().await.unwrap();
    let inner = client.clone();
    let task = stream.for_each(move |_| {
        let (client, done) = (inner.clone(), done.clone());
        async move {
            let answer = client.publish(message("answer", "")).await;
            client.stop().await;
            done.send(answer.is_delivered()).unwrap();
        }
    });
    server.publish(message("ask", "")).await.unwrap();
    assert!(heard.recv().await.unwrap());
    assert!(client.state().is_stopped());
    task.abort();
}
