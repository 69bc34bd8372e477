//! Events: what is told, in which order, and that a listener may act on it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use gantline_client::{
    Client, ConnectError, ConnectOptions, ConnectionError, DisconnectCause, Event, PublishError, QoS,
    ReasonCode, SubscribeError, UnsubscribeError,
};
use gantline_protocol::packet::{ConnAck, Disconnect, Packet};

use crate::peer::{connected, message, pair, reconnected};

#[tokio::test(start_paused = true)]
async fn a_life_is_told_in_its_order() {
    let client = Client::new(ConnectOptions::default());
    let mut events = client.events();
    let (stream, mut peer) = pair();
    let (result, _) = tokio::join!(client.reconnect_with(stream), peer.refuse(ReasonCode::ServerBusy));
    assert!(result.is_err());
    let (_, peer) = reconnected(&client, ConnAck::default()).await;
    drop(peer);
    assert!(matches!(
        events.next().await,
        Some(Event::ConnectFailed(ConnectError::Refused(refusal))) if refusal.reason == ReasonCode::ServerBusy
    ));
    let Some(Event::Connected(info)) = events.next().await else { panic!() };
    assert!(!info.session_present() && info.lost == 0);
    // As a `Stream`, too.
    assert!(matches!(
        StreamExt::next(&mut events).await,
        Some(Event::Disconnected { cause: DisconnectCause::ClosedByServer })
    ));
    drop(client);
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_servers_goodbye_is_the_cause() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    let mut goodbye = Disconnect { reason: ReasonCode::SessionTakenOver, ..Disconnect::default() };
    goodbye.properties.reason_string = Some("another one came".into());
    peer.send(Packet::Disconnect(goodbye)).await;
    let Some(Event::Disconnected { cause: DisconnectCause::ByServer(goodbye) }) = events.next().await else {
        panic!()
    };
    assert_eq!(goodbye.reason, ReasonCode::SessionTakenOver);
    assert_eq!(goodbye.properties.reason_string.as_deref(), Some("another one came"));
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn the_servers_goodbye_is_the_cause_even_when_writing_fails() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    client.publish(message("a", &"x".repeat(200_000), QoS::AtMostOnce)).await.unwrap();
    // The driver writes as much as the stream takes.
    tokio::task::yield_now().await;
    peer.send(Packet::Disconnect(Disconnect { reason: ReasonCode::ServerBusy, ..Disconnect::default() }))
        .await;
    drop(peer);
    let Some(Event::Disconnected { cause }) = events.next().await else { panic!() };
    assert!(
        matches!(&cause, DisconnectCause::ByServer(goodbye) if goodbye.reason == ReasonCode::ServerBusy),
        "{cause}"
    );
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_is_told_of_the_loss() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let wait = tokio::spawn(async move {
        tokio::join!(
            client.publish(message("a", "", QoS::AtLeastOnce)),
            client.publish(message("a", "", QoS::ExactlyOnce)),
            client.subscribe("a", QoS::AtMostOnce),
            client.unsubscribe("b"),
            client.ping(),
        )
    });
    for _ in 0..5 {
        peer.receive().await;
    }
    peer.send(Packet::Disconnect(Disconnect {
        reason: ReasonCode::ServerShuttingDown,
        ..Disconnect::default()
    }))
    .await;
    let (first, second, subscribe, unsubscribe, ping) = wait.await.unwrap();
    let Err(PublishError::ConnectionLost(first)) = first else { panic!() };
    let Err(PublishError::ConnectionLost(second)) = second else { panic!() };
    let Err(SubscribeError::ConnectionLost(subscribe)) = subscribe else { panic!() };
    let Err(UnsubscribeError::ConnectionLost(unsubscribe)) = unsubscribe else { panic!() };
    let Err(ConnectionError::ConnectionLost(ping)) = ping else { panic!() };
    for lost in [first, second, subscribe, unsubscribe, ping] {
        assert!(!lost.resent_on_resume);
        let DisconnectCause::ByServer(goodbye) = lost.cause else { panic!("{}", lost.cause) };
        assert_eq!(goodbye.reason, ReasonCode::ServerShuttingDown);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_an_event_may_connect_again() {
    let client = Client::new(ConnectOptions::default());
    let ((first, mut refuses), (second, mut peer), (third, mut again)) = (pair(), pair(), pair());
    let streams = Arc::new(Mutex::new(VecDeque::from([second, third])));
    let handler = client.on_event({
        let client = client.clone();
        move |event| {
            let lost = matches!(event, Event::ConnectFailed(_) | Event::Disconnected { .. });
            let stream = lost.then(|| streams.lock().unwrap().pop_front().unwrap());
            let client = client.clone();
            async move {
                if let Some(stream) = stream {
                    client.reconnect_with(stream).await.unwrap();
                }
            }
        }
    });
    let (result, _) = tokio::join!(client.reconnect_with(first), refuses.refuse(ReasonCode::ServerBusy));
    assert!(result.is_err());
    peer.accept(ConnAck::default()).await;
    peer.hears_nothing().await;
    drop(peer);
    again.accept(ConnAck::default()).await;
    again.hears_nothing().await;
    assert!(client.is_connected());
    handler.abort();
}

#[tokio::test(start_paused = true)]
async fn each_listener_hears_everything_from_its_beginning_on() {
    let (client, peer) = connected(ConnectOptions::default()).await;
    let (mut first, mut second) = (client.events(), client.events());
    assert!(poll_immediate(first.next()).await.is_none());
    drop(peer);
    for events in [&mut first, &mut second] {
        assert!(matches!(events.next().await, Some(Event::Disconnected { .. })));
        assert_eq!(events.missed(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_and_their_ends_can_be_told_to_functions() {
    let client = Client::new(ConnectOptions::default());
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let ends = told.clone();
    let _connected = client.on_connected(move |info| {
        told.send(format!("connected, session {}", info.session_present())).unwrap();
        std::future::ready(())
    });
    let _disconnected = client.on_disconnected(move |cause| {
        ends.send(cause.to_string()).unwrap();
        std::future::ready(())
    });
    let (stream, peer) = pair();
    drop(peer);
    // A failure to connect is neither.
    client.reconnect_with(stream).await.unwrap_err();
    let (_, peer) = reconnected(&client, Default::default()).await;
    assert_eq!(news.recv().await.unwrap(), "connected, session false");
    drop(peer);
    assert_eq!(news.recv().await.unwrap(), "the server closed the connection");
    drop(client);
    assert_eq!(news.recv().await, None);
}
