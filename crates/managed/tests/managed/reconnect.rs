//! Connecting again: pauses, fatal failures, several servers, references to others, states and events.

use std::time::Duration;

use gantline_managed::{
    ConnectError, Failure, ManagedClient, ManagedEvent, ManagedOptions, ReasonCode, State, StopCause,
};
use gantline_protocol::DisconnectProperties;
use gantline_protocol::packet::{ConnAck, Disconnect, Packet};
use gantline_server::{ConnectionRequest, Server, ServerOptions, Verdict};
use tokio::time::Instant;

use crate::support::{
    Script, connect, delivered, find, message, options, queue, server, shut_down, started, url,
};

#[expect(clippy::needless_pass_by_value, reason = "`find` gives its events away")]
fn paused(event: ManagedEvent) -> Option<Duration> {
    match event {
        ManagedEvent::StateChanged(State::Waiting { delay }) => Some(delay),
        _ => None,
    }
}

fn refusal(reason: ReasonCode, reference: Option<&str>) -> ConnAck {
    let mut connack = ConnAck { reason, ..ConnAck::default() };
    connack.properties.server_reference = reference.map(str::to_owned);
    connack
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_up_to_the_longest_and_never_exceed_it() {
    let client =
        ManagedClient::new(options("pauses").backoff(Duration::from_secs(1), Duration::from_secs(20)));
    let mut events = client.events();
    client.start().await.unwrap();
    let began = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..40 {
        pauses.push(find(&mut events, paused).await);
    }
    for (pause, longest) in pauses.iter().zip([1, 2, 4, 8, 16]) {
        assert!(*pause <= Duration::from_secs(longest));
    }
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(20)));
    // Chance would have to be very unkind.
    assert!(pauses.iter().any(|pause| *pause > Duration::from_secs(8)));
    let slept: Duration = pauses[..39].iter().sum();
    assert!(began.elapsed() >= slept && began.elapsed() < slept + Duration::from_secs(5));
    assert_eq!(client.counters().failed_attempts, 40);
}

#[tokio::test(start_paused = true)]
async fn a_stable_connection_makes_the_next_failure_the_first_one() {
    let mut script = Script::new("stable").await;
    let options = options("stable").backoff(Duration::from_secs(1), Duration::from_secs(1000));
    let client = ManagedClient::new(options.stable_after(Duration::from_secs(30)));
    let mut events = client.events();
    client.start().await.unwrap();
    for _ in 0..8 {
        script.peer().await.refuse(ReasonCode::ServerBusy).await;
    }
    let peer = script.accept(ConnAck::default()).await;
    for _ in 0..8 {
        find(&mut events, paused).await;
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    drop(peer);
    assert!(find(&mut events, paused).await <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_can_be_hurried() {
    let day = Duration::from_secs(86_400);
    let client = ManagedClient::new(options("hurry").backoff(day, day));
    let mut events = client.events();
    client.start().await.unwrap();
    let delay = find(&mut events, paused).await;
    let _server = server("hurry").await;
    let began = Instant::now();
    client.retry_now();
    client.connected().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10) || delay < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_when_only_a_person_can_help() {
    let name = "fatal";
    let reason = ReasonCode::BadUserNameOrPassword;
    let password = move |request: ConnectionRequest| async move {
        match request.user_name() {
            Some("ada") => Verdict::accept(),
            _ => Verdict::refuse(reason),
        }
    };
    let server = Server::new(ServerOptions::default()).listen(url(name)).validate_connections(password);
    let _server = server.start().await.unwrap();
    let client = started(options(name)).await;
    let publish = queue(&client, message("t", "")).await;
    let Err(StopCause::GaveUp(failure)) = client.connected().await else { panic!() };
    assert_eq!(failure.reason(), Some(reason));
    assert!(!publish.await.is_delivered());
    assert!(!client.publish(message("t", "")).await.is_delivered());
    // With better options it can be started again.
    client.set_connect_options(connect(name).user_name("ada"));
    client.start().await.unwrap();
    delivered(queue(&client, message("t", "")).await).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_fatal_can_be_said() {
    let mut script = Script::new("stubborn").await;
    let options = options("stubborn").stop_when(|failure| failure.reason() == Some(ReasonCode::ServerBusy));
    let client = started(options).await;
    script.peer().await.refuse(ReasonCode::NotAuthorized).await;
    script.peer().await.refuse(ReasonCode::ServerBusy).await;
    let mut states = client.watch_state();
    states.wait_for(State::is_stopped).await.unwrap();
    assert!(matches!(client.state(), State::Stopped(StopCause::GaveUp(Failure::Connect(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_taken_over_is_not_taken_back() {
    let _server = server("takeover").await;
    let first = started(options("takeover")).await;
    first.connected().await.unwrap();
    let second = started(options("takeover")).await;
    second.connected().await.unwrap();
    let mut states = first.watch_state();
    states.wait_for(State::is_stopped).await.unwrap();
    assert!(second.is_connected());
}

#[tokio::test(start_paused = true)]
async fn servers_have_their_turn_without_a_pause() {
    let mut first = Script::new("turn-a").await;
    let second = server("turn-b").await;
    let options = options("turn-a").server(url("turn-b")).unwrap();
    let client = ManagedClient::new(options);
    let mut events = client.events();
    client.start().await.unwrap();
    first.peer().await.refuse(ReasonCode::ServerUnavailable).await;
    client.connected().await.unwrap();
    let address = find(&mut events, |event| match event {
        ManagedEvent::ConnectingFailed { server, error: ConnectError::Refused(_) } => server,
        ManagedEvent::StateChanged(State::Waiting { .. }) => panic!("a pause within a round"),
        _ => None,
    });
    assert_eq!(address.await.to_string(), url("turn-a"));
    // The one that served is asked first when it is lost, then the other.
    shut_down(second).await;
    let _peer = first.accept(ConnAck::default()).await;
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reference_is_followed_when_that_is_allowed() {
    let mut from = Script::new("refers").await;
    let to = server("referred").await;
    let client = ManagedClient::new(options("refers").follow_references(true));
    let mut events = client.events();
    client.start().await.unwrap();
    from.accept(refusal(ReasonCode::UseAnotherServer, Some("referred"))).await;
    client.connected().await.unwrap();
    let referred = find(&mut events, |event| match event {
        ManagedEvent::Referred { server } => Some(server),
        _ => None,
    });
    assert_eq!(referred.await.to_string(), url("referred"));
    // For now only: when that one is gone, the configured one is asked again.
    shut_down(to).await;
    let _peer = from.accept(ConnAck::default()).await;
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_moves_while_we_are_connected_is_followed_too() {
    let mut from = Script::new("moves").await;
    let _to = server("moved").await;
    let client = started(options("moves").follow_references(true)).await;
    let mut events = client.events();
    let mut peer = from.accept(ConnAck::default()).await;
    client.connected().await.unwrap();
    let properties =
        DisconnectProperties { server_reference: Some("moved".into()), ..DisconnectProperties::default() };
    peer.send(Packet::Disconnect(Disconnect { reason: ReasonCode::ServerMoved, properties })).await;
    drop(peer);
    find(&mut events, |event| matches!(event, ManagedEvent::Referred { .. }).then_some(())).await;
    delivered(queue(&client, message("t", "")).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_reference_is_not_followed_otherwise() {
    let mut from = Script::new("tempts").await;
    let _trap = server("trap").await;
    let client = started(options("tempts")).await;
    from.accept(refusal(ReasonCode::UseAnotherServer, Some("trap"))).await;
    let _peer = from.accept(ConnAck::default()).await;
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn states_and_events_tell_the_story_in_order() {
    let running = server("story").await;
    let client = ManagedClient::new(options("story"));
    let mut events = client.events();
    client.start().await.unwrap();
    client.connected().await.unwrap();
    shut_down(running).await;
    find(&mut events, |event| matches!(event, ManagedEvent::StateChanged(State::Connected(_))).then_some(()))
        .await;
    find(&mut events, |event| matches!(event, ManagedEvent::Disconnected { .. }).then_some(())).await;
    find(&mut events, |event| matches!(event, ManagedEvent::ConnectingFailed { .. }).then_some(())).await;
    let _running = server("story").await;
    client.connected().await.unwrap();
    client.stop().await;
    find(&mut events, |event| matches!(event, ManagedEvent::StateChanged(State::Stopped(_))).then_some(()))
        .await;
    assert_eq!(client.counters().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn options_without_an_address_are_fatal() {
    let client = started(ManagedOptions::new(Default::default())).await;
    assert!(matches!(
        client.connected().await,
        Err(StopCause::GaveUp(Failure::Connect(ConnectError::Options(_))))
    ));
}
