//! Permissions that are withdrawn: what becomes of the messages that wait for a subscription which is denied.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantline_protocol::packet::Connect;
use gantline_server::{
    Access, Action, Decision, DeliveryAttempt, Message, Outcome, Permission, QoS, RunningServer, Server,
    ServerEvent,
};

use super::build;
use crate::peer::{connected, lasting, settle, subscriber};

/// A server on which subscriptions of the client `c` are denied once `revoked` says so, but for the filter `b`.
fn revoking(revoked: &Arc<AtomicBool>) -> Server {
    let revoked = Arc::clone(revoked);
    build().authorize(move |access: &Access<'_>| match access.action() {
        Action::Subscribe { filter }
            if filter.as_str() != "b"
                && access.client().client_id().as_str() == "c"
                && revoked.load(Ordering::Relaxed) =>
        {
            Permission::Deny
        }
        _ => Permission::Allow,
    })
}

async fn publish(server: &RunningServer, topic: &str, payload: &str, qos: QoS) {
    server.publish(Message::new(topic, payload.to_owned()).unwrap().qos(qos)).await.unwrap();
}

/// CONNECT of a client that takes one message with QoS 1 or 2 at a time.
fn narrow(id: &str) -> Connect {
    let mut connect = lasting(id, 60);
    connect.properties.receive_maximum = NonZeroU16::new(1);
    connect
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_delivery_hook_is_withdrawn_too() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let revoked = Arc::default();
        let server = revoking(&revoked)
            .intercept_deliveries(|delivery: &DeliveryAttempt<'_>| match delivery.topic() {
                "a" => Decision::later(async {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    Outcome::Forward
                }),
                _ => Decision::Now(Outcome::Forward),
            })
            .start()
            .await
            .unwrap();
        let mut client = subscriber(&server, lasting("c", 60), &["a", "b"], qos).await;
        for (topic, payload) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("b", "5")] {
            publish(&server, topic, payload, qos).await;
        }
        settle().await;
        revoked.store(true, Ordering::Relaxed);
        assert!(server.reauthorize("c"));
        assert_eq!(client.texts(2).await, ["3", "5"]);
        client.ping().await;
        assert_eq!(server.metrics().messages_intercepted, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_from_a_member_of_a_share_group_goes_to_another() {
    for is_away in [false, true] {
        let revoked = Arc::default();
        let server = revoking(&revoked).start().await.unwrap();
        let filters = ["$share/g/a"];
        let mut client = subscriber(&server, narrow("c"), &filters, QoS::AtLeastOnce).await;
        for payload in ["1", "2", "3"] {
            publish(&server, "a", payload, QoS::AtLeastOnce).await;
        }
        client.publish_packet().await;
        let mut other = subscriber(&server, lasting("other", 60), &filters, QoS::AtLeastOnce).await;
        revoked.store(true, Ordering::Relaxed);
        if is_away {
            client.vanishes().await;
            settle().await;
            let mut client = connected(&server, narrow("c")).await;
            // The one in flight was not acknowledged, and is not sent again.
            let mut texts = other.texts(3).await;
            texts.sort_unstable();
            assert_eq!(texts, ["1", "2", "3"]);
            client.hears_nothing().await;
        } else {
            assert!(server.reauthorize("c"));
            assert_eq!(other.texts(2).await, ["2", "3"]);
        }
        other.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_subscription_that_is_denied_on_resuming_is_announced() {
    let revoked = Arc::default();
    let server = revoking(&revoked).start().await.unwrap();
    let client = subscriber(&server, lasting("c", 60), &["a", "b"], QoS::AtLeastOnce).await;
    client.vanishes().await;
    settle().await;
    revoked.store(true, Ordering::Relaxed);
    let mut events = server.events();
    connected(&server, lasting("c", 60)).await;
    match events.next().await {
        Some(ServerEvent::Unsubscribed { client_id, filter }) => {
            assert_eq!((client_id.as_str(), filter.as_str()), ("c", "a"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_revoked_while_a_session_is_reviewed_does_not_count() {
    for was_connected in [false, true] {
        let revoked: Arc<AtomicBool> = Arc::default();
        let now_revoked = Arc::clone(&revoked);
        // It decides by what it knew when it was asked.
        let server = build()
            .authorize(move |access: &Access<'_>| {
                let is_revoked = now_revoked.load(Ordering::Relaxed);
                let takes_its_time = matches!(access.action(), Action::Subscribe { .. });
                async move {
                    if takes_its_time {
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    if is_revoked { Permission::Deny } else { Permission::Allow }
                }
            })
            .start()
            .await
            .unwrap();
        let former = subscriber(&server, lasting("c", 60), &["a"], QoS::AtLeastOnce).await;
        let mut kept = None;
        if was_connected {
            kept = Some(former);
        } else {
            former.vanishes().await;
        }
        settle().await;
        let revoke = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            revoked.store(true, Ordering::Relaxed);
            server.reauthorize("c")
        };
        let (mut client, is_connected) = tokio::join!(connected(&server, lasting("c", 60)), revoke);
        assert_eq!(is_connected, was_connected);
        tokio::time::sleep(Duration::from_secs(3)).await;
        publish(&server, "a", "secret", QoS::AtLeastOnce).await;
        client.hears_nothing().await;
        drop(kept);
    }
}
