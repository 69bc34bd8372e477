//! Permission: when it is asked for, remembered, revoked, and by what it is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gantline_protocol::packet::Connect;
use gantline_server::{
    Access, Action, ConnectionRequest, Decision, Message, Outcome, Permission, PublishAttempt, QoS,
    ReasonCode, Server, Verdict,
};

use super::build;
use crate::peer::{answered, clean, client, connected, lasting, settle, subscriber, will};

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

fn with_right(id: &str, right: &str, seconds: u32) -> Connect {
    Connect { user_name: Some(right.to_owned()), ..lasting(id, seconds) }
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
async fn a_permission_to_publish_is_none_to_retain() {
    for takes_its_time in [false, true] {
        let authorize = move |access: &Access<'_>| {
            let retains = matches!(access.action(), Action::Publish { retain: true, .. });
            let permission = if retains { Permission::Deny } else { Permission::Allow };
            match takes_its_time {
                false => Decision::Now(permission),
                true => Decision::later(async move {
                    tokio::task::yield_now().await;
                    permission
                }),
            }
        };
        let server = build().authorize(authorize).start().await.unwrap();
        let mut publisher = subscriber(&server, clean("p"), &["a"], QoS::AtMostOnce).await;
        assert_eq!(publisher.publish("a", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
        assert_eq!(publisher.publish_retained("a", "x", QoS::AtLeastOnce).await, ReasonCode::NotAuthorized);
        assert_eq!(publisher.publish("a", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
        assert_eq!(server.metrics().retained_messages, 0);
    }
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
