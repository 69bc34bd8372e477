//! Subscribing: what is granted, which messages follow, and how unsubscribing ends it.

use gantline_protocol::ProtocolVersion;
use gantline_protocol::packet::{Packet, RetainHandling};
use gantline_server::{QoS, ReasonCode, ServerOptions};

use crate::peer::{
    ALL_QOS, Peer, clean, client, connected, id, of_version, options, server, server_with, subscribe,
    subscriber, text,
};

#[tokio::test(start_paused = true)]
async fn every_filter_is_answered_in_its_place() {
    let server = server_with(ServerOptions::default().max_topic_levels(3)).await;
    for version in ProtocolVersion::ALL {
        let mut peer = connected(&server, of_version(version, "a", true)).await;
        let filters = [
            ("a", options(QoS::ExactlyOnce)),
            ("a/b/c/d", options(QoS::AtLeastOnce)),
            ("#", options(QoS::AtLeastOnce)),
            ("+/+/+/#", options(QoS::AtLeastOnce)),
            ("$share/g/a/b/c", options(QoS::AtMostOnce)),
        ];
        let refused = |reason| match version {
            _ if version.has_reason_codes() => reason,
            _ if version.has_subscribe_failure() => ReasonCode::UnspecifiedError,
            // 3.1 cannot say so.
            _ => ReasonCode::GrantedQoS1,
        };
        let reasons = peer.subscribe_with(&filters, None).await;
        assert_eq!(reasons[0], ReasonCode::GrantedQoS2, "{version}");
        assert_eq!(reasons[2], ReasonCode::GrantedQoS1);
        assert_eq!(reasons[4], ReasonCode::Success);
        if version.has_subscribe_failure() {
            assert_eq!(reasons[1], refused(ReasonCode::TopicFilterInvalid));
            assert_eq!(reasons[3], refused(ReasonCode::TopicFilterInvalid));
        }
        assert_eq!(server.metrics().subscriptions, 3);
        peer.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_maximum_qos_is_granted() {
    let server = server_with(ServerOptions::default().maximum_qos(QoS::AtLeastOnce)).await;
    let mut peer = client(&server, "a").await;
    for (asked, granted) in [
        (QoS::AtMostOnce, ReasonCode::Success),
        (QoS::AtLeastOnce, ReasonCode::GrantedQoS1),
        (QoS::ExactlyOnce, ReasonCode::GrantedQoS1),
    ] {
        assert_eq!(peer.subscribe("t", asked).await, granted);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_offer_is_a_violation_or_refused() {
    let options_ = ServerOptions::default()
        .wildcard_subscriptions(false)
        .shared_subscriptions(false)
        .subscription_identifiers(false);
    let server = server_with(options_).await;
    for (filter, identifier, reason) in [
        ("a/+", None, ReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/a", None, ReasonCode::SharedSubscriptionsNotSupported),
        ("a", Some(1), ReasonCode::SubscriptionIdentifiersNotSupported),
    ] {
        let mut peer = client(&server, "a").await;
        let packet = subscribe(id(1), &[(filter, options(QoS::AtMostOnce))], identifier);
        peer.send(Packet::Subscribe(packet)).await;
        peer.is_disconnected(reason).await;
        if identifier.is_none() {
            let mut peer = connected(&server, of_version(ProtocolVersion::ALL[1], "b", true)).await;
            assert_eq!(peer.subscribe(filter, QoS::AtMostOnce).await, ReasonCode::UnspecifiedError);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn filters_match_as_the_specification_says() {
    let server = server().await;
    let mut publisher = client(&server, "publisher").await;
    for (filter, topics) in [
        ("a", &["a"][..]),
        ("a/b", &["a/b"]),
        ("#", &["a", "a/b", "/", "/a", "a//b", "a/b/c"]),
        ("+", &["a"]),
        ("+/+", &["a/b", "/", "/a"]),
        ("a/#", &["a", "a/b", "a//b", "a/b/c"]),
        ("a/+", &["a/b"]),
        ("a/+/b", &["a//b"]),
        ("+/b/#", &["a/b", "a/b/c"]),
        ("/+", &["/", "/a"]),
        ("$s/#", &["$s/a", "$s"]),
        ("$s/+", &["$s/a"]),
        ("+/a", &["/a"]),
    ] {
        let mut peer = subscriber(&server, clean("a"), &[filter], QoS::AtMostOnce).await;
        for topic in ["a", "a/b", "/", "/a", "a//b", "a/b/c", "$s/a", "$s"] {
            publisher.publish(topic, topic, QoS::AtMostOnce).await;
        }
        publisher.publish("$s/end", "", QoS::AtMostOnce).await;
        publisher.ping().await;
        let mut came = Vec::new();
        for _ in topics {
            came.push(peer.text().await);
        }
        let mut expected = topics.to_vec();
        came.sort();
        expected.sort_unstable();
        assert_eq!(came, expected, "{filter}");
        if !filter.starts_with('$') {
            peer.hears_nothing().await;
        }
        peer.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn overlapping_filters_bring_one_copy_with_the_highest_qos_and_all_identifiers() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    peer.subscribe_with(&[("t/#", options(QoS::AtMostOnce))], Some(1)).await;
    peer.subscribe_with(&[("t/u", options(QoS::ExactlyOnce)), ("+/u", options(QoS::AtLeastOnce))], Some(200))
        .await;
    peer.subscribe_with(&[("#", options(QoS::AtLeastOnce))], None).await;
    let mut other = client(&server, "b").await;
    for qos in ALL_QOS {
        other.publish("t/u", "x", qos).await;
        let message = peer.message().await;
        assert_eq!(message.delivery.qos(), qos);
        let mut ids = message.properties.subscription_identifiers;
        ids.sort_unstable();
        assert_eq!(ids, [1, 200, 200]);
    }
    other.publish("t/v", "x", QoS::ExactlyOnce).await;
    let message = peer.message().await;
    assert_eq!(message.delivery.qos(), QoS::AtLeastOnce);
    assert_eq!(message.properties.subscription_identifiers, [1]);
}

#[tokio::test(start_paused = true)]
async fn subscribing_again_replaces_the_options_without_a_gap() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    let mut other = client(&server, "b").await;
    for (qos, identifier) in
        [(QoS::AtMostOnce, Some(7)), (QoS::ExactlyOnce, None), (QoS::AtLeastOnce, Some(9))]
    {
        peer.subscribe_with(&[("t", options(qos))], identifier).await;
        other.publish("t", "x", QoS::ExactlyOnce).await;
        let message = peer.message().await;
        assert_eq!(message.delivery.qos(), qos);
        assert_eq!(message.properties.subscription_identifiers, Vec::from_iter(identifier));
    }
    assert_eq!(server.metrics().subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn no_local_leaves_out_what_the_client_published_itself() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    peer.subscribe_with(&[("t", options(QoS::AtMostOnce).no_local(true))], None).await;
    peer.publish("t", "own", QoS::AtMostOnce).await;
    assert_eq!(peer.publish("t", "own", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
    client(&server, "b").await.publish("t", "other", QoS::AtMostOnce).await;
    assert_eq!(peer.text().await, "other");
    // Another filter of the same client still counts.
    peer.subscribe("#", QoS::AtMostOnce).await;
    peer.publish("t", "own", QoS::AtMostOnce).await;
    assert_eq!(peer.text().await, "own");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn no_local_holds_across_connections() {
    let server = server().await;
    let connect = of_version(ProtocolVersion::default(), "a", false);
    let mut peer = connected(&server, connect.clone()).await;
    peer.subscribe_with(&[("t", options(QoS::AtLeastOnce).no_local(true))], None).await;
    peer.vanishes().await;
    let mut peer = connected(&server, connect).await;
    assert_eq!(peer.publish("t", "own", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_receive_what_it_publishes() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let mut peer = subscriber(&server, of_version(version, "a", true), &["t"], QoS::ExactlyOnce).await;
        for qos in ALL_QOS {
            peer.publish("t", "own", qos).await;
            assert_eq!(peer.message().await.delivery.qos(), qos);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retain_stays_as_published_only_if_asked_for() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    let mut other = client(&server, "b").await;
    for as_published in [false, true] {
        let wanted = options(QoS::AtLeastOnce).retain_as_published(as_published);
        let wanted = wanted.retain_handling(RetainHandling::Never);
        peer.subscribe_with(&[("t", wanted)], None).await;
        for qos in ALL_QOS {
            other.publish("t", "live", qos).await;
            assert!(!peer.message().await.retain);
            other.publish_retained("t", "kept", qos).await;
            let message = peer.message().await;
            assert_eq!((message.retain, text(&message).as_str()), (as_published, "kept"));
        }
    }
}

async fn replayed(peer: &mut Peer, filter: &str, handling: RetainHandling) -> bool {
    peer.subscribe_with(&[(filter, options(QoS::AtMostOnce).retain_handling(handling))], None).await;
    peer.send(Packet::PingReq).await;
    match peer.receive().await {
        Packet::PingResp => {
            match tokio::time::timeout(std::time::Duration::from_millis(1), peer.receive()).await {
                Ok(Packet::Publish(publish)) => publish.retain,
                Ok(other) => panic!("{other:?}"),
                Err(_) => false,
            }
        }
        Packet::Publish(publish) => {
            assert!(publish.retain);
            assert_eq!(peer.receive().await, Packet::PingResp);
            true
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn retain_handling_says_when_retained_messages_come() {
    let server = server().await;
    client(&server, "b").await.publish_retained("t", "kept", QoS::AtMostOnce).await;
    let mut peer = client(&server, "a").await;
    for (handling, first, again) in [
        (RetainHandling::Always, true, true),
        (RetainHandling::IfNew, true, false),
        (RetainHandling::Never, false, false),
    ] {
        assert_eq!(replayed(&mut peer, "t", handling).await, first, "{handling:?}");
        assert_eq!(replayed(&mut peer, "t", handling).await, again, "{handling:?}");
        peer.unsubscribe(&["t"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_is_answered_filter_by_filter_and_ends_delivery() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let filters = ["a", "b/#", "$share/g/c"];
        let mut peer = subscriber(&server, of_version(version, "a", true), &filters, QoS::AtLeastOnce).await;
        let mut other = client(&server, "b").await;
        let reasons = peer.unsubscribe(&["b/#", "never", "$share/g/c", "$share/other/c"]).await;
        if version.has_reason_codes() {
            let (done, none) = (ReasonCode::Success, ReasonCode::NoSubscriptionExisted);
            assert_eq!(reasons, [done, none, done, none]);
        }
        for topic in ["b", "b/c", "c"] {
            assert_eq!(other.publish(topic, "", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
        }
        assert_eq!(other.publish("a", "still", QoS::AtLeastOnce).await, ReasonCode::Success);
        assert_eq!(peer.text().await, "still");
        peer.unsubscribe(&["a"]).await;
        assert_eq!(other.publish("a", "", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
        peer.hears_nothing().await;
        assert_eq!(server.metrics().subscriptions, 0);
        peer.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missed_behind_suback_and_nothing_comes_behind_unsuback() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    let mut other = client(&server, "b").await;
    for round in 0..50 {
        let filter = ["t/u", "t/+", "#", "+/u"][round % 4];
        other.publish("t/u", "nobody", QoS::AtMostOnce).await;
        peer.subscribe(filter, QoS::AtMostOnce).await;
        other.publish("t/u", "somebody", QoS::AtMostOnce).await;
        assert_eq!(peer.text().await, "somebody");
        peer.unsubscribe(&[filter]).await;
    }
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_may_carry_many_filters() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    let filters: Vec<String> = (0..1_000).map(|number| format!("t/{number}/+")).collect();
    let wanted: Vec<_> = filters.iter().map(|filter| (filter.as_str(), options(QoS::AtMostOnce))).collect();
    assert_eq!(peer.subscribe_with(&wanted, Some(5)).await.len(), 1_000);
    let mut other = client(&server, "b").await;
    for number in (0..1_000).step_by(37) {
        other.publish(&format!("t/{number}/x"), &number.to_string(), QoS::AtMostOnce).await;
        assert_eq!(peer.text().await, number.to_string());
    }
    peer.goes().await;
    assert_eq!(server.metrics().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_bridge_gets_retain_as_published_and_nothing_of_its_own() {
    let server = server().await;
    for version in ProtocolVersion::ALL.into_iter().filter(|version| !version.has_properties()) {
        let connect = gantline_protocol::Connect { bridge: true, ..of_version(version, "bridge", true) };
        let mut bridge = connected(&server, connect).await;
        bridge.subscribe("t", QoS::AtLeastOnce).await;
        bridge.publish("t", "own", QoS::AtLeastOnce).await;
        client(&server, "b").await.publish_retained("t", "other", QoS::AtLeastOnce).await;
        let message = bridge.message().await;
        assert_eq!((&*text(&message), message.retain), ("other", true), "{version}");
        bridge.hears_nothing().await;
        client(&server, "b").await.publish_retained("t", "", QoS::AtLeastOnce).await;
        assert_eq!(bridge.text().await, "");
        bridge.goes().await;
    }
}
