//! Hooks: what they may change, whom they make wait, and what becomes of a connection whose hook misbehaves.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantline_protocol::packet::{Packet, SubscribeFilter};
use gantline_protocol::{PacketType, ProtocolVersion, SubscriptionOptions};
use gantline_server::{
    Access, Action, ConnectionRequest, Decision, DeliveryAttempt, Message, Outcome, PacketDirection,
    PacketView, Permission, PublishAttempt, PublishError, QoS, ReasonCode, RunningServer, Sender, Server,
    ServerOptions, SubscribeAttempt, TopicFilter, UnsubscribeAttempt, Verdict,
};

use crate::peer::{
    ALL_QOS, answered, clean, client, connected, lasting, of_version, settle, subscribe, subscriber, text,
    will,
};

fn build() -> Server {
    Server::new(ServerOptions::default())
}

/// A server whose publish hook does what the last level of the topic says, at once or after three seconds.
async fn intercepting() -> RunningServer {
    let decide = |topic: &str| match topic.rsplit('/').next() {
        Some("replace") => Outcome::Replace(Message::new("other", "replaced").unwrap()),
        Some("drop") => Outcome::Drop,
        Some("refuse") => Outcome::Refuse(ReasonCode::PayloadFormatInvalid),
        Some("refuse-well") => Outcome::Refuse(ReasonCode::Success),
        Some("close") => Outcome::Close(ReasonCode::AdministrativeAction),
        Some("panic") => panic!("as the test wants it"),
        _ => Outcome::Forward,
    };
    build()
        .intercept_publishes(move |publish: &PublishAttempt<'_>| {
            let topic = publish.topic().to_owned();
            match topic.split('/').next() {
                Some("slow") => Decision::later(async move {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    decide(&topic)
                }),
                Some("ready") => Decision::later(async move { decide(&topic) }),
                Some("stuck") => Decision::later(std::future::pending()),
                _ => Decision::Now(decide(&topic)),
            }
        })
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publish_hook_forwards_replaces_drops_and_refuses() {
    let server = intercepting().await;
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::ExactlyOnce).await;
    let mut publisher = client(&server, "publisher").await;
    for way in ["now", "ready", "slow"] {
        for qos in ALL_QOS {
            let mut publish =
                async |outcome: &str| publisher.publish(&format!("{way}/{outcome}"), "sent", qos).await;
            let told = |reason| if qos == QoS::AtMostOnce { ReasonCode::Success } else { reason };
            assert_eq!(publish("forward").await, ReasonCode::Success);
            assert_eq!(publish("replace").await, ReasonCode::Success);
            assert_eq!(publish("drop").await, ReasonCode::Success);
            assert_eq!(publish("refuse").await, told(ReasonCode::PayloadFormatInvalid));
            assert_eq!(publish("refuse-well").await, told(ReasonCode::NotAuthorized));
            assert_eq!(publish("last").await, ReasonCode::Success);
            assert_eq!(receiver.texts(3).await, ["sent", "replaced", "sent"], "{way} {qos:?}");
        }
    }
    receiver.ping().await;
    assert_eq!(server.metrics().messages_intercepted, 27);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_5_0_is_an_acknowledgement() {
    let server = intercepting().await;
    let mut publisher = connected(&server, of_version(ProtocolVersion::V3_1_1, "old", true)).await;
    assert_eq!(publisher.publish("refuse", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(publisher.publish("slow/refuse", "x", QoS::ExactlyOnce).await, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_takes_its_time_keeps_the_order_and_delays_nobody_else() {
    let server = intercepting().await;
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::AtMostOnce).await;
    let mut slow = client(&server, "slow").await;
    let mut quick = client(&server, "quick").await;
    for (topic, payload) in [("a", "1"), ("slow/a", "2"), ("a", "3"), ("slow/a", "4"), ("a", "5")] {
        let publish = slow.made(topic, payload, QoS::AtMostOnce);
        slow.send(Packet::Publish(Box::new(publish))).await;
    }
    settle().await;
    quick.publish("a", "quick", QoS::AtMostOnce).await;
    assert_eq!(receiver.texts(6).await, ["1", "quick", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_hook_takes_its_time_is_not_given_up_for_silence() {
    let options = ServerOptions::default().hook_timeout(Duration::from_secs(60));
    let server = Server::new(options)
        .intercept_publishes(|_: &PublishAttempt<'_>| async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Outcome::Forward
        })
        .start()
        .await
        .unwrap();
    let mut connect = clean("patient");
    connect.keep_alive = 2;
    let mut publisher = connected(&server, connect).await;
    // It pings all the time; nobody reads that.
    let publish = publisher.made("t", "x", QoS::AtLeastOnce);
    publisher.send(Packet::Publish(Box::new(publish))).await;
    publisher.send(Packet::PingReq).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    publisher.expect(PacketType::PubAck).await;
    publisher.expect(PacketType::PingResp).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_ends_connections_when_it_wants_to_and_when_it_panics() {
    let server = intercepting().await;
    for (topic, reason) in [
        ("close", ReasonCode::AdministrativeAction),
        ("slow/close", ReasonCode::AdministrativeAction),
        ("panic", ReasonCode::UnspecifiedError),
        ("ready/panic", ReasonCode::UnspecifiedError),
        ("slow/panic", ReasonCode::UnspecifiedError),
    ] {
        let mut publisher = client(&server, "publisher").await;
        let publish = publisher.made(topic, "x", QoS::AtLeastOnce);
        publisher.send(Packet::Publish(Box::new(publish))).await;
        publisher.is_disconnected(reason).await;
    }
    assert_eq!(server.metrics().hook_panics, 3);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_never_decides_ends_at_its_time_out() {
    let server = intercepting().await;
    let mut publisher = client(&server, "publisher").await;
    assert_eq!(publisher.publish("stuck/a", "x", QoS::AtLeastOnce).await, ReasonCode::UnspecifiedError);
    assert_eq!(publisher.publish("a", "x", QoS::AtLeastOnce).await, ReasonCode::NoMatchingSubscribers);
    assert_eq!(server.metrics().hook_timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_taken_over_does_not_wait_for_its_hook() {
    let server = intercepting().await;
    let mut former = client(&server, "same").await;
    let publish = former.made("stuck/a", "x", QoS::AtLeastOnce);
    former.send(Packet::Publish(Box::new(publish))).await;
    settle().await;
    let before = tokio::time::Instant::now();
    client(&server, "same").await;
    assert!(before.elapsed() < Duration::from_secs(1));
    former.is_disconnected(ReasonCode::SessionTakenOver).await;
}

#[tokio::test(start_paused = true)]
async fn wills_and_messages_of_the_application_are_intercepted_too() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let server = build()
        .intercept_publishes(move |publish: &PublishAttempt<'_>| {
            let sender = match publish.sender() {
                Sender::Client(client) => format!("client {client}"),
                Sender::Will(client) => format!("will of {client}"),
                Sender::Server => "server".to_owned(),
            };
            notes.lock().unwrap().push(format!("{sender}: {}", publish.topic()));
            let topic = publish.topic().to_owned();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                match topic.as_str() {
                    "bad" => Outcome::Refuse(ReasonCode::TopicNameInvalid),
                    "gone" => Outcome::Drop,
                    _ => Outcome::Forward,
                }
            }
        })
        .start()
        .await
        .unwrap();
    let mut receiver = subscriber(&server, clean("receiver"), &["#"], QoS::AtMostOnce).await;
    for topic in ["bad", "good"] {
        let mut connect = clean(topic);
        connect.will = will(topic, "last words", 0);
        connected(&server, connect).await.vanishes().await;
    }
    assert_eq!(receiver.text().await, "last words");
    let message = |topic: &str| Message::new(topic, "up").unwrap();
    assert_eq!(server.publish(message("good")).await, Ok(1));
    assert_eq!(server.publish(message("gone")).await, Ok(0));
    let refused = PublishError::Refused(ReasonCode::TopicNameInvalid);
    assert_eq!(server.publish(message("bad")).await, Err(refused));
    assert_eq!(receiver.text().await, "up");
    receiver.hears_nothing().await;
    let mut seen = seen.lock().unwrap().clone();
    seen[..2].sort();
    assert_eq!(
        seen,
        ["will of bad: bad", "will of good: good", "server: good", "server: gone", "server: bad"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_message_is_not_retained_and_a_replaced_one_is() {
    let server = intercepting().await;
    let mut publisher = client(&server, "publisher").await;
    for topic in ["slow/drop", "drop", "kept"] {
        publisher.publish_retained(topic, "x", QoS::AtLeastOnce).await;
    }
    let retained = server.retained_messages(&TopicFilter::new("#").unwrap());
    assert_eq!(retained.iter().map(|message| message.topic().as_str()).collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn undelivered_messages_are_told() {
    let lost = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&lost);
    let server = build()
        .on_undelivered(move |publish: &PublishAttempt<'_>| {
            assert_eq!(publish.payload(), b"lost");
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .start()
        .await
        .unwrap();
    let mut publisher = subscriber(&server, clean("publisher"), &["a"], QoS::AtMostOnce).await;
    publisher.publish("a", "found", QoS::AtMostOnce).await;
    assert_eq!(publisher.text().await, "found");
    for qos in ALL_QOS {
        publisher.publish("b", "lost", qos).await;
    }
    server.publish(Message::new("b", "lost").unwrap()).await.unwrap();
    publisher.ping().await;
    assert_eq!(lost.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_replaced_refused_and_accepted_in_name_only() {
    let decide = |filter: &TopicFilter| match filter.as_str() {
        "old" => {
            let filter = TopicFilter::new("new").unwrap();
            Outcome::Replace(SubscribeFilter { filter, options: SubscriptionOptions::default() })
        }
        "bad" => Outcome::Refuse(ReasonCode::QuotaExceeded),
        "none" => Outcome::Drop,
        "close" => Outcome::Close(ReasonCode::NotAuthorized),
        _ => Outcome::Forward,
    };
    for slow in [false, true] {
        let server = build()
            .intercept_subscriptions(move |attempt: &SubscribeAttempt<'_>| {
                let outcome = decide(&attempt.subscription().filter);
                match slow {
                    true => Decision::later(async {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        outcome
                    }),
                    false => Decision::Now(outcome),
                }
            })
            .intercept_unsubscriptions(move |attempt: &UnsubscribeAttempt<'_>| {
                match attempt.filter().as_str() {
                    "old" => Outcome::Replace(TopicFilter::new("new").unwrap()),
                    "bad" => Outcome::Refuse(ReasonCode::TopicFilterInvalid),
                    "none" => Outcome::Drop,
                    _ => Outcome::Forward,
                }
            })
            .start()
            .await
            .unwrap();
        let mut client = client(&server, "client").await;
        let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
        let filters = [("old", options), ("bad", options), ("none", options), ("good", options)];
        let granted = client.subscribe_with(&filters, None).await;
        let expected = [
            ReasonCode::Success,
            ReasonCode::QuotaExceeded,
            ReasonCode::GrantedQoS1,
            ReasonCode::GrantedQoS1,
        ];
        assert_eq!(granted, expected);
        for topic in ["old", "bad", "none", "new", "good"] {
            server.publish(Message::new(topic, topic).unwrap()).await.unwrap();
        }
        assert_eq!(client.texts(2).await, ["new", "good"]);
        let answers = client.unsubscribe(&["old", "bad", "none", "good", "new"]).await;
        let success = ReasonCode::Success;
        let gone = ReasonCode::NoSubscriptionExisted;
        assert_eq!(answers, [success, ReasonCode::TopicFilterInvalid, success, success, gone]);
        let ended = client.made("x", "x", QoS::AtMostOnce);
        client.send(Packet::Publish(Box::new(ended))).await;
        let id = client.next_id();
        client.send(Packet::Subscribe(subscribe(id, &[("close", options)], None))).await;
        client.is_disconnected(ReasonCode::NotAuthorized).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_subscribe_waits_for_its_hook() {
    let server = build()
        .intercept_subscriptions(|_: &SubscribeAttempt<'_>| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Outcome::Forward
        })
        .start()
        .await
        .unwrap();
    let mut client = client(&server, "client").await;
    let id = client.next_id();
    let filters = [("a", SubscriptionOptions::default()), ("b", SubscriptionOptions::default())];
    client.send(Packet::Subscribe(subscribe(id, &filters, None))).await;
    let publish = client.made("b", "mine", QoS::AtMostOnce);
    client.send(Packet::Publish(Box::new(publish))).await;
    assert!(matches!(client.receive().await, Packet::SubAck(_)));
    assert_eq!(client.text().await, "mine");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_sees_every_message_of_each_receiver() {
    let server = build()
        .intercept_deliveries(|delivery: &DeliveryAttempt<'_>| {
            let receiver = delivery.receiver().client_id().as_str().to_owned();
            let message = delivery.to_message();
            async move {
                if receiver == "slow" {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                match message.payload_str().unwrap() {
                    "secret" if receiver != "boss" => Outcome::Drop,
                    "name" => {
                        let qos = message.qos_level();
                        Outcome::Replace(Message::new("t", format!("for {receiver}")).unwrap().qos(qos))
                    }
                    _ => Outcome::Forward,
                }
            }
        })
        .start()
        .await
        .unwrap();
    server.publish(Message::new("kept", "secret").unwrap().retain(true)).await.unwrap();
    let mut publisher = client(&server, "publisher").await;
    for qos in ALL_QOS {
        let mut boss = subscriber(&server, clean("boss"), &["kept"], qos).await;
        assert_eq!(boss.text().await, "secret");
        let mut slow = subscriber(&server, clean("slow"), &["t", "kept"], qos).await;
        let mut quick = subscriber(&server, clean("quick"), &["t", "kept"], qos).await;
        for payload in ["open", "secret", "name", "last"] {
            publisher.publish("t", payload, qos).await;
        }
        assert_eq!(quick.texts(3).await, ["open", "for quick", "last"]);
        assert_eq!(slow.texts(3).await, ["open", "for slow", "last"]);
        slow.ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_delivery_hook_when_the_connection_is_lost_comes_with_the_next_one() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let server = build()
        .intercept_deliveries(move |_: &DeliveryAttempt<'_>| match gate.load(Ordering::Relaxed) {
            true => Decision::Now(Outcome::Forward),
            false => Decision::later(std::future::pending()),
        })
        .start()
        .await
        .unwrap();
    let receiver = subscriber(&server, lasting("receiver", 60), &["t"], QoS::AtLeastOnce).await;
    let mut publisher = client(&server, "publisher").await;
    for number in 0..5 {
        publisher.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
    }
    settle().await;
    receiver.vanishes().await;
    settle().await;
    publisher.publish("t", "5", QoS::AtLeastOnce).await;
    open.store(true, Ordering::Relaxed);
    let mut receiver = connected(&server, lasting("receiver", 60)).await;
    assert_eq!(receiver.texts(6).await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_respects_the_window_of_the_client() {
    let server =
        build().intercept_deliveries(|_: &DeliveryAttempt<'_>| Outcome::Forward).start().await.unwrap();
    let mut connect = clean("receiver");
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut receiver = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    for number in 0..10 {
        server.publish(Message::new("t", number.to_string()).unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    }
    let first = receiver.publish_packet().await;
    receiver.publish_packet().await;
    receiver.hears_nothing().await;
    let id = first.delivery.packet_id().unwrap();
    receiver.ack(Packet::PubAck, id.get(), ReasonCode::Success).await;
    assert_eq!(text(&receiver.publish_packet().await), "2");
    receiver.hears_nothing().await;
}

/// A server on which each client may do only what its user name begins with: `publish`, `subscribe`, `both`.
fn authorizing(revoked: &Arc<AtomicBool>) -> Server {
    let revoked = Arc::clone(revoked);
    build().authorize(move |access: &Access<'_>| {
        let right = access.client().user_name().unwrap_or_default();
        let is_revoked = revoked.load(Ordering::Relaxed);
        match access.action() {
            Action::Publish { topic, .. } if topic.starts_with("open/") => Permission::AllowOnce,
            Action::Publish { .. } if right != "subscribe" && !is_revoked => Permission::Allow,
            Action::Subscribe { filter } if right != "publish" && !(is_revoked && filter.as_str() != "b") => {
                Permission::Allow
            }
            _ => Permission::Deny,
        }
    })
}

fn with_right(id: &str, right: &str, seconds: u32) -> gantline_protocol::packet::Connect {
    gantline_protocol::packet::Connect { user_name: Some(right.to_owned()), ..lasting(id, seconds) }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_permitted_is_refused() {
    let server = authorizing(&Arc::default()).start().await.unwrap();
    let mut publisher = connected(&server, with_right("p", "publish", 0)).await;
    let mut subscriber = connected(&server, with_right("s", "subscribe", 0)).await;
    assert_eq!(subscriber.subscribe("#", QoS::AtLeastOnce).await, ReasonCode::GrantedQoS1);
    assert_eq!(publisher.subscribe("#", QoS::AtLeastOnce).await, ReasonCode::NotAuthorized);
    assert_eq!(publisher.publish("a", "1", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(subscriber.publish("a", "2", QoS::AtLeastOnce).await, ReasonCode::NotAuthorized);
    assert_eq!(subscriber.publish("a", "3", QoS::AtMostOnce).await, ReasonCode::Success);
    assert_eq!(subscriber.publish("open/a", "4", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(subscriber.texts(2).await, ["1", "4"]);
    let mut connect = with_right("w", "subscribe", 0);
    connect.will = will("a", "not permitted", 0);
    connected(&server, connect).await.vanishes().await;
    subscriber.hears_nothing().await;
    assert_eq!(server.metrics().messages_intercepted, 3);
}

#[tokio::test(start_paused = true)]
async fn a_permission_is_remembered_until_it_is_asked_about_anew() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let server = build()
        .authorize(move |_: &Access<'_>| {
            counter.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::task::yield_now().await;
                Permission::Allow
            }
        })
        .intercept_publishes(|_: &PublishAttempt<'_>| Outcome::Forward)
        .start()
        .await
        .unwrap();
    let mut publisher = client(&server, "p").await;
    for _ in 0..5 {
        publisher.publish("a", "x", QoS::AtLeastOnce).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(server.reauthorize("p") && !server.reauthorize("nobody"));
    settle().await;
    publisher.publish("a", "x", QoS::AtLeastOnce).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn permissions_are_revoked_at_run_time() {
    let revoked = Arc::default();
    let server = authorizing(&revoked).start().await.unwrap();
    let mut client = connected(&server, with_right("c", "both", 0)).await;
    for filter in ["a", "b"] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    assert_eq!(client.publish("a", "1", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(client.text().await, "1");
    revoked.store(true, Ordering::Relaxed);
    // Nobody has asked anew yet.
    assert_eq!(client.publish("a", "2", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(client.text().await, "2");
    assert!(server.reauthorize("c"));
    settle().await;
    assert_eq!(client.publish("a", "3", QoS::AtLeastOnce).await, ReasonCode::NotAuthorized);
    server.publish(Message::new("a", "4").unwrap()).await.unwrap();
    server.publish(Message::new("b", "5").unwrap()).await.unwrap();
    assert_eq!(client.text().await, "5");
    assert_eq!(server.session("c").unwrap().subscriptions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_resumed_without_what_is_no_longer_permitted() {
    let revoked = Arc::default();
    let server = authorizing(&revoked).start().await.unwrap();
    let mut client = connected(&server, with_right("c", "both", 60)).await;
    for filter in ["a", "b"] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    let publish = async |topic: &str| {
        server.publish(Message::new(topic, topic.to_owned()).unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    };
    // In flight, not acknowledged.
    publish("a").await;
    publish("b").await;
    client.publish_packet().await;
    client.publish_packet().await;
    client.vanishes().await;
    settle().await;
    // Queued.
    publish("a").await;
    publish("b").await;
    revoked.store(true, Ordering::Relaxed);
    let (mut client, connack) = answered(&server, with_right("c", "both", 60)).await;
    assert!(connack.session_present);
    assert_eq!(client.texts(2).await, ["b", "b"]);
    client.hears_nothing().await;
    publish("a").await;
    publish("b").await;
    assert_eq!(client.text().await, "b");
    assert_eq!(server.metrics().messages_intercepted, 2);
}

#[tokio::test(start_paused = true)]
async fn hooks_see_what_the_validator_left_with_the_session() {
    #[derive(Debug)]
    struct Tenant(&'static str);
    let server = build()
        .validate_connections(|request: ConnectionRequest| async move {
            request.items().insert(Tenant("acme"));
            Verdict::accept()
        })
        .authorize(|access: &Access<'_>| {
            let own = access.client().items().get::<Tenant>().is_some_and(|tenant| match access.action() {
                Action::Publish { topic, .. } => topic.starts_with(tenant.0),
                Action::Subscribe { filter } => filter.as_str().starts_with(tenant.0),
                _ => false,
            });
            if own { Permission::Allow } else { Permission::Deny }
        })
        .start()
        .await
        .unwrap();
    let mut client = connected(&server, lasting("c", 60)).await;
    assert_eq!(client.subscribe("acme/#", QoS::AtLeastOnce).await, ReasonCode::GrantedQoS1);
    assert_eq!(client.subscribe("other/#", QoS::AtLeastOnce).await, ReasonCode::NotAuthorized);
    assert_eq!(client.publish("other/a", "x", QoS::AtLeastOnce).await, ReasonCode::NotAuthorized);
    client.vanishes().await;
    settle().await;
    let (mut client, connack) = answered(&server, lasting("c", 60)).await;
    assert!(connack.session_present);
    assert_eq!(client.publish("acme/a", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(client.text().await, "x");
}

#[tokio::test(start_paused = true)]
async fn an_inspector_sees_every_packet_both_ways() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let server = build()
        .inspect_packets(move |packet: &PacketView<'_>| {
            let way = match packet.direction() {
                PacketDirection::In => "in",
                PacketDirection::Out => "out",
            };
            let kind = Packet::decode(packet.bytes(), packet.client().version()).unwrap().packet_type();
            notes.lock().unwrap().push(format!("{} {way} {kind:?}", packet.client()));
        })
        .start()
        .await
        .unwrap();
    let mut client = subscriber(&server, clean("c"), &["t"], QoS::AtLeastOnce).await;
    let large = "x".repeat(20_000);
    assert_eq!(client.publish("t", &large, QoS::AtLeastOnce).await, ReasonCode::Success);
    assert_eq!(client.text().await, large);
    client.ping().await;
    client.leave(ReasonCode::Success, None).await;
    settle().await;
    let expected = [
        "c in Connect",
        "c out ConnAck",
        "c in Subscribe",
        "c out SubAck",
        "c in Publish",
        "c out PubAck",
        "c out Publish",
        "c in PubAck",
        "c in PingReq",
        "c out PingResp",
        "c in Disconnect",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}
