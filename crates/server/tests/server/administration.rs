//! Administration: what an application sees and does about sessions and retained messages.

use std::time::Duration;

use gantline_protocol::packet::Connect;
use gantline_protocol::{SubscriptionOptions, TopicName};
use gantline_server::{
    ConnectionRequest, Message, QoS, ReasonCode, RunningServer, Server, ServerOptions, TopicFilter, Verdict,
};

use crate::peer::{client, connected, lasting, seconds_pass, server, settle, subscriber, will};

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

async fn keep(server: &RunningServer, topic: &str, payload: &'static str) {
    server.publish(Message::new(topic, payload).unwrap().retain(true)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sessions_are_seen_connected_and_away() {
    let server = server().await;
    let connect = Connect { will: will("gone", "w", 0), ..lasting("a", 60) };
    let a = subscriber(&server, connect, &["x/#", "y"], QoS::AtLeastOnce).await;
    let _b = client(&server, "b").await;
    assert_eq!(server.sessions().len(), 2);
    seconds_pass(7).await;

    let status = server.session("a").unwrap();
    assert!(status.connected && status.has_will);
    assert_eq!(status.client_id.as_str(), "a");
    let mut filters: Vec<_> = status.subscriptions.iter().map(|(filter, _)| filter.to_string()).collect();
    filters.sort();
    assert_eq!(filters, ["x/#", "y"]);
    assert_eq!((status.expires_in, status.silent_for.unwrap().as_secs()), (None, 7));

    a.vanishes().await;
    seconds_pass(10).await;
    server.publish(Message::new("y", "1").unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    let status = server.session("a").unwrap();
    assert!(!status.connected && !status.has_will);
    assert_eq!((status.queued_messages, status.silent_for), (1, None));
    assert!(status.queued_bytes > 0);
    let left = status.expires_in.unwrap();
    assert!(left <= Duration::from_secs(50) && left > Duration::from_secs(45), "{left:?}");
    assert!(server.session("nobody").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_is_disconnected_with_the_reason() {
    let server = server().await;
    let mut watcher = subscriber(&server, lasting("watcher", 0), &["gone"], QoS::AtMostOnce).await;
    for (reason, told) in [
        (ReasonCode::QuotaExceeded, ReasonCode::QuotaExceeded),
        (ReasonCode::Success, ReasonCode::AdministrativeAction),
        (ReasonCode::BadUserNameOrPassword, ReasonCode::AdministrativeAction),
    ] {
        let mut peer = connected(&server, Connect { will: will("gone", "w", 0), ..lasting("a", 60) }).await;
        assert!(server.disconnect("a", reason));
        peer.is_disconnected(told).await;
        assert_eq!(watcher.text().await, "w");
        assert!(!server.session("a").unwrap().connected);
        assert!(!server.disconnect("a", reason), "it is away");
    }
    assert!(!server.disconnect("nobody", ReasonCode::QuotaExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_is_gone_whether_its_client_is_there_or_not() {
    let server = server().await;
    let mut watcher = subscriber(&server, lasting("watcher", 0), &["gone"], QoS::AtMostOnce).await;
    let connect = || Connect { will: will("gone", "w", 0), ..lasting("a", 60) };
    let mut there = subscriber(&server, connect(), &["x"], QoS::AtLeastOnce).await;
    assert!(server.delete_session("a").await);
    there.is_disconnected(ReasonCode::AdministrativeAction).await;
    assert_eq!(watcher.text().await, "w");

    subscriber(&server, connect(), &["x"], QoS::AtLeastOnce).await.leave(ReasonCode::Success, None).await;
    settle().await;
    assert!(server.delete_session("a").await);
    assert!(!server.delete_session("a").await);
    assert!(server.session("a").is_none());
    assert_eq!(server.publish(Message::new("x", "1").unwrap()).await.unwrap(), 0);
    assert!(!crate::peer::answered(&server, connect()).await.1.session_present);
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_cleared_and_what_was_in_it_is_counted() {
    let server = server().await;
    subscriber(&server, lasting("a", 60), &["x"], QoS::AtLeastOnce)
        .await
        .leave(ReasonCode::Success, None)
        .await;
    settle().await;
    for payload in ["1", "2", "3"] {
        server.publish(Message::new("x", payload).unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    }
    assert_eq!(server.clear_queue("a"), Some(3));
    assert_eq!(server.session("a").unwrap().queued_messages, 0);
    assert_eq!((server.session("a").unwrap().messages_dropped, server.metrics().dropped.total()), (3, 3));
    assert_eq!(server.clear_queue("nobody"), None);
    let mut back = connected(&server, lasting("a", 60)).await;
    back.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_application_subscribes_for_a_client_that_is_there_or_away() {
    let server = server().await;
    let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
    let mut there = connected(&server, lasting("there", 60)).await;
    connected(&server, lasting("away", 60)).await.leave(ReasonCode::Success, None).await;
    settle().await;
    for id in ["there", "away"] {
        assert!(server.subscribe_client(id, &filter("x/+"), options));
    }
    assert!(!server.subscribe_client("nobody", &filter("x/+"), options));
    server.publish(Message::new("x/1", "1").unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(there.text().await, "1");
    let mut away = connected(&server, lasting("away", 60)).await;
    assert_eq!(away.text().await, "1");

    assert!(server.unsubscribe_client("there", &filter("x/+")));
    assert!(!server.unsubscribe_client("there", &filter("x/+")));
    assert_eq!(server.publish(Message::new("x/1", "2").unwrap()).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn retained_messages_are_listed_and_cleared_by_filter() {
    let server = server().await;
    for (topic, payload) in [("a/1", "one"), ("a/2", "two"), ("b", "three")] {
        keep(&server, topic, payload).await;
    }
    let texts = |of: &str| -> Vec<String> {
        let found = server.retained_messages(&filter(of));
        found.iter().map(|message| message.payload_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("a/+"), ["one", "two"]);
    let one = server.retained(&TopicName::new("a/1").unwrap()).unwrap();
    assert_eq!((one.payload_str().unwrap(), one.is_retained()), ("one", true));
    assert!(server.retained(&TopicName::new("a").unwrap()).is_none());

    assert_eq!(server.clear_retained(&filter("a/#")), 2);
    assert_eq!(texts("#"), ["three"]);
    // Many pages.
    for number in 0..1_000 {
        keep(&server, &format!("many/{number}"), "x").await;
    }
    assert_eq!(texts("many/+").len(), 1_000);
    assert_eq!(server.clear_retained(&filter("#")), 1_001);
    assert_eq!(server.metrics().retained_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn a_listed_message_says_how_long_it_lives_on() {
    let server = server().await;
    let message = Message::new("t", "x").unwrap().retain(true).expiry(60);
    server.publish(message).await.unwrap();
    seconds_pass(20).await;
    let listed = server.retained(&TopicName::new("t").unwrap()).unwrap();
    assert_eq!(listed.properties().message_expiry_interval, Some(40));
    seconds_pass(41).await;
    assert!(server.retained(&TopicName::new("t").unwrap()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_put_into_the_queue_of_one_client() {
    let server = server().await;
    let mut there = connected(&server, lasting("there", 60)).await;
    connected(&server, lasting("away", 60)).await.vanishes().await;
    let message = |qos| Message::new("t", "for you").unwrap().qos(qos);
    for qos in crate::peer::ALL_QOS {
        assert!(server.enqueue("there", &message(qos)).unwrap());
        let got = there.message().await;
        assert_eq!((crate::peer::text(&got).as_str(), got.delivery.qos()), ("for you", qos));
    }
    assert!(server.enqueue("away", &message(QoS::AtLeastOnce)).unwrap());
    assert!(!server.enqueue("away", &message(QoS::AtMostOnce)).unwrap());
    assert!(!server.enqueue("nobody", &message(QoS::AtLeastOnce)).unwrap());
    let mut back = connected(&server, lasting("away", 60)).await;
    assert_eq!(back.text().await, "for you");
    back.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_is_published_in_the_name_of_a_client() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    let own = SubscriptionOptions::default().no_local(true);
    peer.subscribe_with(&[("t", own)], None).await;
    let message = || Message::new("t", "x").unwrap();
    let name = |id| gantline_protocol::ClientId::new(id).unwrap();
    assert_eq!(server.publish_as(&name("a"), message()).await.unwrap(), 0);
    assert_eq!(server.publish_as(&name("somebody"), message()).await.unwrap(), 1);
    assert_eq!(server.publish(message()).await.unwrap(), 1);
    assert_eq!(peer.texts(2).await, ["x", "x"]);
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_retained_message_is_set_without_being_sent() {
    let server = server().await;
    let mut peer = subscriber(&server, lasting("a", 0), &["t"], QoS::AtMostOnce).await;
    server.set_retained(&Message::new("t", "quiet").unwrap()).unwrap();
    peer.hears_nothing().await;
    peer.subscribe("t", QoS::AtMostOnce).await;
    assert_eq!(peer.text().await, "quiet");
    server.set_retained(&Message::new("t", "").unwrap()).unwrap();
    assert_eq!(server.metrics().retained_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn only_connected_clients_are_listed_as_clients() {
    let server = server().await;
    let _there = client(&server, "there").await;
    connected(&server, lasting("away", 60)).await.vanishes().await;
    let ids: Vec<_> = server.clients().iter().map(|status| status.client_id.to_string()).collect();
    assert_eq!((ids, server.sessions().len()), (vec!["there".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn items_live_as_long_as_the_session_and_the_validator_sets_them_too() {
    let validator = |request: ConnectionRequest| async move {
        if let Some(name) = request.user_name() {
            request.items().insert(name.to_owned());
        }
        Verdict::accept()
    };
    let server = Server::new(ServerOptions::default()).validate_connections(validator).start().await.unwrap();
    let text = || server.session_items("a").unwrap().get::<String>().map(|name| (*name).clone());
    let named = |name: Option<&str>| Connect { user_name: name.map(str::to_owned), ..lasting("a", 60) };
    assert!(server.session_items("a").is_none());

    connected(&server, named(Some("lena"))).await.vanishes().await;
    server.session_items("a").unwrap().insert(7_u32);
    assert_eq!(text().unwrap(), "lena");
    // Another connection of the session: what the validator says anew replaces, the rest stays.
    connected(&server, named(None)).await.vanishes().await;
    assert_eq!(text().unwrap(), "lena");
    connected(&server, named(Some("emil"))).await.vanishes().await;
    let kept = server.session_items("a").unwrap();
    assert_eq!((text().unwrap(), kept.get::<u32>().as_deref()), ("emil".to_owned(), Some(&7)));

    // A new session has new ones, and a handle of the old is nobody else's.
    let _new = connected(&server, Connect { clean_start: true, ..named(None) }).await;
    assert!(server.session_items("a").unwrap().is_empty());
    assert_eq!(kept.len(), 2);
}
