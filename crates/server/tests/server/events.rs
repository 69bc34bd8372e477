//! Events: what a listener is told, in which order, and what becomes of one that does not listen.

use gantline_protocol::packet::Connect;
use gantline_protocol::{SubscriptionOptions, TopicFilter};
use gantline_server::{
    ConnectionRequest, DisconnectCause, QoS, ReasonCode, Server, ServerEvent, ServerEvents, ServerOptions,
    Verdict,
};

use crate::peer::{answered, clean, client, connected, lasting, server, settle, stranger};

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
