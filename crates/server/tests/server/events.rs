//! Events: what a listener is told, in which order, and what becomes of one that does not listen.

use gantline_protocol::packet::Connect;
use gantline_protocol::{SubscriptionOptions, TopicFilter};
use gantline_server::{
    ConnectionRequest, DisconnectCause, Message, MessageEvent, MessageEvents, QoS, ReasonCode, Server,
    ServerEvent, ServerEvents, ServerOptions, Verdict,
};

use crate::peer::{
    ALL_QOS, answered, clean, client, connected, lasting, server, server_with, settle, stranger, subscriber,
};

/// The next event as a short text.
async fn told(events: &mut ServerEvents) -> String {
    match events.next().await {
        Some(ServerEvent::Connected { client_id, session_present, .. }) => {
            format!("{client_id} came {}", if session_present { "back" } else { "new" })
        }
        Some(ServerEvent::Disconnected { client_id, cause, .. }) => {
            format!("{client_id} went: {}", why(&cause))
        }
        Some(ServerEvent::Refused { reason, .. }) => format!("refused: {reason:?}"),
        Some(ServerEvent::Subscribed { client_id, filter, options }) => {
            format!("{client_id} subscribed {filter} {:?}", options.maximum_qos)
        }
        Some(ServerEvent::Unsubscribed { client_id, filter }) => format!("{client_id} unsubscribed {filter}"),
        Some(ServerEvent::SessionStarted { client_id }) => format!("{client_id} began"),
        Some(ServerEvent::Dropped { client_id, messages, cause }) => {
            format!("{client_id} lost {messages}: {cause:?}")
        }
        Some(ServerEvent::SessionEnded { client_id }) => format!("{client_id} ended"),
        Some(ServerEvent::Stopped) => "stopped".into(),
        Some(ServerEvent::Missed(count)) => format!("missed {count}"),
        Some(other) => format!("{other:?}"),
        None => "nothing more".into(),
    }
}

fn why(cause: &DisconnectCause) -> String {
    match cause {
        DisconnectCause::Violated(_) => "violated".into(),
        cause => format!("{cause:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_of_clients_and_sessions_in_order() {
    let server = server().await;
    let mut events = server.events();
    let mut a = connected(&server, lasting("a", 60)).await;
    a.subscribe("x", QoS::AtLeastOnce).await;
    a.subscribe("y/#", QoS::ExactlyOnce).await;
    a.unsubscribe(&["x", "nothing"]).await;
    a.leave(ReasonCode::Success, None).await;
    settle().await;
    let back = connected(&server, lasting("a", 60)).await;
    let taken = connected(&server, lasting("a", 0)).await;
    drop(back);
    taken.vanishes().await;
    settle().await;
    server.shutdown(std::time::Duration::from_secs(1)).await;
    for expected in [
        "a began",
        "a came new",
        "a subscribed x AtLeastOnce",
        "a subscribed y/# ExactlyOnce",
        "a unsubscribed x",
        "a went: Left(Success)",
        "a came back",
        "a went: TakenOver",
        "a came back",
        "a went: Lost",
        "a ended",
        "stopped",
        "nothing more",
        "nothing more",
    ] {
        assert_eq!(told(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cause_of_an_end_is_told() {
    let server = server().await;
    let mut events = server.events();
    let mut bad = client(&server, "bad").await;
    bad.send_bytes(&[0x00, 0x00]).await;
    settle().await;
    let kicked = client(&server, "kicked").await;
    server.disconnect("kicked", ReasonCode::QuotaExceeded);
    settle().await;
    drop((bad, kicked));
    for expected in [
        "bad began",
        "bad came new",
        "bad went: violated",
        "bad ended",
        "kicked began",
        "kicked came new",
        "kicked went: Kicked(QuotaExceeded)",
        "kicked ended",
    ] {
        assert_eq!(told(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_told() {
    let refuse = |_: ConnectionRequest| async { Verdict::refuse(ReasonCode::Banned) };
    let server = Server::new(ServerOptions::default()).validate_connections(refuse).start().await.unwrap();
    let mut events = server.events();
    answered(&server, Connect::default()).await;
    assert_eq!(told(&mut events).await, "refused: Banned");
    // A stranger who says nothing is no event.
    drop(stranger(&server));
    settle().await;
    answered(&server, clean("a")).await;
    assert_eq!(told(&mut events).await, "refused: Banned");
}

#[tokio::test(start_paused = true)]
async fn what_the_application_does_for_a_client_is_told_too() {
    let server = server().await;
    let _a = client(&server, "a").await;
    let mut events = server.events();
    let filter = TopicFilter::new("x").unwrap();
    server.subscribe_client("a", &filter, SubscriptionOptions::default());
    server.unsubscribe_client("a", &filter);
    server.delete_session("a").await;
    for expected in
        ["a subscribed x AtMostOnce", "a unsubscribed x", "a went: Kicked(AdministrativeAction)", "a ended"]
    {
        assert_eq!(told(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_too_slow_is_told_how_much_it_missed() {
    let server = server().await;
    let mut a = client(&server, "a").await;
    let mut events = server.events();
    for _ in 0..1_100 {
        a.subscribe("x", QoS::AtMostOnce).await;
    }
    assert_eq!(told(&mut events).await, "missed 76");
    assert_eq!(told(&mut events).await, "a subscribed x AtMostOnce");
}

/// The next event about a message as a short text.
async fn told_of_messages(events: &mut MessageEvents) -> String {
    match events.next().await {
        Some(MessageEvent::Received { client_id, message }) => {
            format!("{client_id} sent {} {}", message.topic(), message.payload_str().unwrap())
        }
        Some(MessageEvent::NotConsumed { client_id, message }) => {
            format!("nobody wants {} of {:?}", message.topic(), client_id.as_ref().map(|id| id.as_str()))
        }
        Some(MessageEvent::Delivered { client_id, qos, reason, .. }) => {
            format!("{client_id} got {qos:?} {reason:?}")
        }
        Some(MessageEvent::RetainedChanged { client_id, topic, message }) => {
            let value = message.map(|message| message.payload_str().unwrap().to_owned());
            format!("{topic} is {value:?} by {:?}", client_id.as_ref().map(|id| id.as_str()))
        }
        Some(MessageEvent::Stopped) => "stopped".into(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_what_becomes_of_messages() {
    let server = server().await;
    let mut events = server.message_events();
    let mut receiver = subscriber(&server, clean("receiver"), &["t"], QoS::ExactlyOnce).await;
    let mut sender = client(&server, "sender").await;
    for (qos, payload) in ALL_QOS.into_iter().zip(["0", "1", "2"]) {
        sender.publish("t", payload, qos).await;
        receiver.message().await;
        if qos == QoS::ExactlyOnce {
            receiver.complete_last().await;
        }
        receiver.ping().await;
    }
    sender.publish_retained("r", "kept", QoS::AtLeastOnce).await;
    sender.publish_retained("r", "", QoS::AtLeastOnce).await;
    server.publish(Message::new("r", "ours").unwrap().retain(true)).await.unwrap();
    server.set_retained(&Message::new("q", "quiet").unwrap()).unwrap();
    server.clear_retained(&TopicFilter::new("q").unwrap());
    server.shutdown(std::time::Duration::from_secs(1)).await;
    for expected in [
        "sender sent t 0",
        "sender sent t 1",
        "receiver got AtLeastOnce Success",
        "sender sent t 2",
        "receiver got ExactlyOnce Success",
        "sender sent r kept",
        "r is Some(\"kept\") by Some(\"sender\")",
        "nobody wants r of Some(\"sender\")",
        "sender sent r ",
        "r is None by Some(\"sender\")",
        "nobody wants r of Some(\"sender\")",
        "r is Some(\"ours\") by None",
        "nobody wants r of None",
        "q is Some(\"quiet\") by None",
        "q is None by None",
        "stopped",
        "None",
    ] {
        assert_eq!(told_of_messages(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_with_its_cause() {
    let server = server_with(ServerOptions::default().max_parked_messages(1).max_topic_levels(1)).await;
    subscriber(&server, lasting("away", 60), &["t"], QoS::AtLeastOnce).await.vanishes().await;
    let mut sender = client(&server, "sender").await;
    let mut events = server.events();
    sender.publish("t", "1", QoS::AtLeastOnce).await;
    sender.publish("t", "2", QoS::AtLeastOnce).await;
    sender.publish("a/b", "", QoS::AtLeastOnce).await;
    server.clear_queue("away");
    for expected in ["away lost 1: QueueFull", "sender lost 1: TopicRefused", "away lost 1: QueueCleared"] {
        assert_eq!(told(&mut events).await, expected);
    }
}
