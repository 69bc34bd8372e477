//! Extended authentication: our end of it, at CONNECT and again, with a method that does what its data says.

use std::future::pending;
use std::time::Duration;

use gantline_client::{
    AuthenticationContext, AuthenticationExchange, AuthenticationFailure, AuthenticationMethod,
    AuthenticationStep, Client, ConnectError, ConnectOptions, ConnectStage, DisconnectCause, Event,
    OptionsError, ProtocolVersion, QoS, ReasonCode, ReauthenticateError, async_trait,
};
use gantline_protocol::packet::{Auth, ConnAck, Connect, Disconnect, Packet};
use gantline_protocol::{AuthProperties, DisconnectProperties};
use tokio::time::Instant;

use crate::peer::{Peer, connected, message, pair, reconnected, text};

/// Its first step is given; the others are what the server says.
#[derive(Clone, Debug)]
struct Obedient(&'static str);

struct Run(Obedient, String);

impl AuthenticationMethod for Obedient {
    fn name(&self) -> &str {
        "OBEDIENT"
    }

    fn begin(&self, context: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
        let who = format!("{} {}", context.client_id, context.user_name.unwrap_or("nobody"));
        Box::new(Run(self.clone(), who))
    }
}

#[async_trait]
impl AuthenticationExchange for Run {
    async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep {
        match data.map_or(Ok(self.0.0), std::str::from_utf8).unwrap() {
            "more" => AuthenticationStep::Continue(Some("more of it".into())),
            "who" => AuthenticationStep::Continue(Some(self.1.clone().into())),
            "huge" => AuthenticationStep::Continue(Some(vec![b'x'; 2_000].into())),
            "monstrous" => AuthenticationStep::Continue(Some(vec![b'x'; 70_000].into())),
            "done" => AuthenticationStep::Done(None),
            "think" => pending().await,
            _ => AuthenticationStep::Refuse(ReasonCode::NotAuthorized),
        }
    }
}

fn options(first: &'static str) -> ConnectOptions {
    ConnectOptions::default().client_id("a").unwrap().authentication(Obedient(first))
}

fn accepts(data: &str) -> ConnAck {
    let mut connack = ConnAck::default();
    connack.properties.authentication_method = Some("OBEDIENT".into());
    connack.properties.authentication_data = Some(data.to_owned().into());
    connack
}

fn auth(reason: ReasonCode, method: &str, data: &str) -> Packet {
    let properties = AuthProperties {
        authentication_method: Some(method.into()),
        authentication_data: Some(data.to_owned().into()),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason, properties })
}

fn asks(data: &str) -> Packet {
    auth(ReasonCode::ContinueAuthentication, "OBEDIENT", data)
}

fn succeeds(data: &str) -> Packet {
    auth(ReasonCode::Success, "OBEDIENT", data)
}

fn connack(connack: ConnAck) -> Packet {
    Packet::ConnAck(Box::new(connack))
}

async fn introduction(peer: &mut Peer) -> Connect {
    let Packet::Connect(connect) = peer.receive().await else { panic!("expected CONNECT") };
    *connect
}

/// The client's AUTH: reason and data.
async fn step(peer: &mut Peer) -> (ReasonCode, String) {
    let Packet::Auth(auth) = peer.receive().await else { panic!("expected AUTH") };
    assert_eq!(auth.properties.authentication_method.as_deref(), Some("OBEDIENT"));
    let data = auth.properties.authentication_data.unwrap_or_default();
    (auth.reason, String::from_utf8(data.to_vec()).unwrap())
}

fn more() -> (ReasonCode, String) {
    (ReasonCode::ContinueAuthentication, "more of it".into())
}

/// Connects to a server that says these packets, one after each packet of ours.
async fn attempt(options: ConnectOptions, answers: &[Packet]) -> (Result<Client, ConnectError>, Peer) {
    let (stream, mut peer) = pair();
    let server = async {
        for answer in answers {
            peer.receive().await;
            peer.send(answer.clone()).await;
        }
    };
    let (result, ()) = tokio::join!(Client::connect_with(options, stream), server);
    (result, peer)
}

/// A client whose server has accepted it.
async fn authenticated(first: &'static str) -> (Client, Peer) {
    let (client, peer) = attempt(options(first), &[connack(accepts("done"))]).await;
    (client.unwrap(), peer)
}

/// A client that has begun to authenticate again, in its task; its server has read that.
async fn begun() -> (Client, Peer, tokio::task::JoinHandle<Result<(), ReauthenticateError>>) {
    let (client, mut peer) = authenticated("more").await;
    let caller = client.clone();
    let task = tokio::spawn(async move { caller.reauthenticate().await });
    assert_eq!(step(&mut peer).await, (ReasonCode::ReAuthenticate, "more of it".into()));
    (client, peer, task)
}

// ---- at CONNECT ----

#[tokio::test(start_paused = true)]
async fn connect_has_the_method_and_its_first_data() {
    let (stream, mut peer) = pair();
    let connecting = Client::connect_with(options("who").user_name("ada"), stream);
    let (client, connect) = tokio::join!(connecting, peer.accept(accepts("done")));
    assert!(client.unwrap().is_connected());
    assert_eq!(connect.properties.authentication_method.as_deref(), Some("OBEDIENT"));
    assert_eq!(connect.properties.authentication_data.as_deref(), Some(&b"a ada"[..]));
}

#[tokio::test(start_paused = true)]
async fn each_auth_of_the_server_is_answered() {
    let (stream, mut peer) = pair();
    let server = async {
        introduction(&mut peer).await;
        for _ in 0..2 {
            peer.send(asks("more")).await;
            assert_eq!(step(&mut peer).await, more());
        }
        // What follows CONNACK at once is not lost.
        peer.send(connack(accepts("done"))).await;
        peer.publish("t", "first", crate::peer::ONCE).await;
    };
    let client = Client::new(options("more"));
    let mut messages = client.messages();
    let (result, ()) = tokio::join!(client.reconnect_with(stream), server);
    result.unwrap();
    assert_eq!(text(&messages.next().await.unwrap()), "first");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_server_is_one_at_any_step() {
    let refusal = connack(ConnAck { reason: ReasonCode::BadAuthenticationMethod, ..ConnAck::default() });
    for answers in [vec![refusal.clone()], vec![asks("more"), refusal.clone()]] {
        let (result, mut peer) = attempt(options("more"), &answers).await;
        let Err(ConnectError::Refused(refusal)) = result else { panic!("{result:?}") };
        assert_eq!(refusal.reason, ReasonCode::BadAuthenticationMethod);
        if answers.len() == 1 {
            peer.hears_the_end().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_trusted_is_left() {
    // Before CONNACK there is nothing to say.
    let (result, mut peer) = attempt(options("more"), &[asks("nonsense")]).await;
    let Err(ConnectError::Unauthenticated(failure)) = result else { panic!("{result:?}") };
    assert_eq!(failure, AuthenticationFailure::Refused(ReasonCode::NotAuthorized));
    peer.hears_the_end().await;
    // The last step fails, or is not the last, or had no data.
    let mut bare = accepts("");
    bare.properties.authentication_data = None;
    for (answer, failure, reason) in [
        (
            accepts("nonsense"),
            AuthenticationFailure::Refused(ReasonCode::NotAuthorized),
            ReasonCode::UnspecifiedError,
        ),
        (accepts("more"), AuthenticationFailure::Unfinished, ReasonCode::ProtocolError),
        (bare, AuthenticationFailure::Unfinished, ReasonCode::ProtocolError),
        (ConnAck::default(), AuthenticationFailure::Unfinished, ReasonCode::ProtocolError),
    ] {
        let (result, mut peer) = attempt(options("more"), &[connack(answer)]).await;
        let Err(ConnectError::Unauthenticated(found)) = result else { panic!("{result:?}") };
        assert_eq!(found, failure);
        assert_eq!(peer.expect_disconnect().await.reason, reason);
        peer.hears_the_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_at_its_last_step_has_changed_nothing() {
    let options = options("more").clean_start(false).session_expiry(Duration::from_secs(60));
    let (client, mut peer) = attempt(options, &[connack(accepts("done"))]).await;
    let client = client.unwrap();
    let mut delivery =
        std::pin::pin!(client.publish(message("t", "x", QoS::AtLeastOnce)).queued().await.unwrap());
    peer.expect_publish().await;
    drop(peer);
    crate::peer::ended(&client).await;
    // A server that cannot prove itself says that the session is gone.
    let (stream, mut impostor) = pair();
    let (result, _) = tokio::join!(client.reconnect_with(stream), impostor.accept(accepts("nonsense")));
    assert!(matches!(result, Err(ConnectError::Unauthenticated(_))));
    let (_, mut peer) = reconnected(&client, ConnAck { session_present: true, ..accepts("done") }).await;
    assert!(peer.expect_publish().await.dup);
    assert!((&mut delivery).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_method_that_refuses_to_begin_sends_nothing() {
    let (stream, mut peer) = pair();
    let result = Client::connect_with(options("no"), stream).await;
    assert!(matches!(result, Err(ConnectError::Unauthenticated(AuthenticationFailure::Refused(_)))));
    peer.hears_the_end().await;
    let (stream, mut peer) = pair();
    let result = Client::connect_with(options("monstrous"), stream).await;
    assert!(matches!(result, Err(ConnectError::Unwritable(_))));
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_too_long_is_the_methods_fault() {
    let (result, _peer) = attempt(options("more"), &[asks("monstrous")]).await;
    assert!(matches!(result, Err(ConnectError::Unauthenticated(AuthenticationFailure::Unwritable(_)))));
}

#[tokio::test(start_paused = true)]
async fn what_no_server_may_send_is_its_fault() {
    for answers in [
        vec![auth(ReasonCode::ContinueAuthentication, "OTHER", "more")],
        vec![auth(ReasonCode::ReAuthenticate, "OBEDIENT", "more")],
        vec![succeeds("done")],
        vec![asks("more"), Packet::PingResp],
        vec![asks("more"), crate::peer::publish("t", "x", crate::peer::ONCE)],
    ] {
        let (result, _peer) = attempt(options("more"), &answers).await;
        assert!(matches!(result, Err(ConnectError::ServerViolated(_))), "{result:?}");
    }
    let mut other = accepts("done");
    other.properties.authentication_method = Some("OTHER".into());
    let (result, _peer) = attempt(options("more"), &[connack(other)]).await;
    assert!(matches!(result, Err(ConnectError::ServerViolated(_))));
    // Nobody asked for it.
    let (result, _peer) = attempt(ConnectOptions::default(), &[asks("more")]).await;
    assert!(matches!(result, Err(ConnectError::ServerViolated(_))));
}

#[tokio::test(start_paused = true)]
async fn the_time_out_tells_who_was_silent() {
    let limit = Duration::from_secs(3);
    for (first, answers, stage) in [
        ("think", vec![], ConnectStage::Authentication),
        ("more", vec![], ConnectStage::Answer),
        ("more", vec![asks("more")], ConnectStage::Answer),
        ("more", vec![asks("think")], ConnectStage::Authentication),
        ("more", vec![connack(accepts("think"))], ConnectStage::Authentication),
    ] {
        let start = Instant::now();
        let (result, _peer) = attempt(options(first).connect_timeout(limit), &answers).await;
        let Err(ConnectError::TimedOut { waiting_for, .. }) = result else { panic!("{result:?}") };
        assert_eq!((waiting_for, start.elapsed()), (stage, limit));
    }
}

#[test]
fn older_versions_have_no_such_option() {
    for version in ProtocolVersion::ALL.into_iter().filter(|version| !version.has_properties()) {
        let expected = OptionsError::NotInVersion { option: "authentication", version };
        assert_eq!(options("more").version(version).check(), Err(expected));
    }
}

// ---- again ----

#[tokio::test(start_paused = true)]
async fn a_client_authenticates_again_while_messages_flow() {
    let (client, mut peer, task) = begun().await;
    for _ in 0..2 {
        peer.send(asks("more")).await;
        assert_eq!(step(&mut peer).await, more());
        let mut messages = client.messages();
        peer.publish("t", "in between", crate::peer::ONCE).await;
        assert_eq!(text(&messages.next().await.unwrap()), "in between");
        client.publish(message("u", "from it", QoS::AtMostOnce)).await.unwrap();
        peer.expect_publish().await;
    }
    peer.send(succeeds("done")).await;
    task.await.unwrap().unwrap();
    // And once more, on the same connection, after the server has answered at once.
    let (result, ()) = tokio::join!(client.reauthenticate(), async {
        step(&mut peer).await;
        peer.send(succeeds("done")).await;
    });
    result.unwrap();
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn there_is_one_at_a_time() {
    let (client, mut peer, task) = begun().await;
    assert!(matches!(client.reauthenticate().await, Err(ReauthenticateError::AlreadyReauthenticating)));
    peer.send(succeeds("done")).await;
    task.await.unwrap().unwrap();
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_method_or_a_connection_there_is_nothing_to_do() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    assert!(matches!(client.reauthenticate().await, Err(ReauthenticateError::NoMethod)));
    // The method is that of the connection.
    client.set_options(options("more"));
    assert!(matches!(client.reauthenticate().await, Err(ReauthenticateError::NoMethod)));
    peer.hears_nothing().await;
    drop(peer);
    crate::peer::ended(&client).await;
    assert!(matches!(client.reauthenticate().await, Err(ReauthenticateError::NotConnected)));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_server_names_its_reason() {
    let (client, mut peer, task) = begun().await;
    let (reason, properties) = (ReasonCode::NotAuthorized, DisconnectProperties::default());
    peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
    let result = task.await.unwrap();
    let Err(ReauthenticateError::Refused(goodbye)) = &result else { panic!("{result:?}") };
    assert_eq!(goodbye.reason, ReasonCode::NotAuthorized);
    assert!(!client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_it() {
    let (_client, peer, task) = begun().await;
    drop(peer);
    let result = task.await.unwrap();
    let Err(ReauthenticateError::ConnectionLost(lost)) = &result else { panic!("{result:?}") };
    assert!(matches!(lost.cause, DisconnectCause::ClosedByServer | DisconnectCause::Network(_)));
    // So does a goodbye of our own.
    let (client, mut peer, task) = begun().await;
    let (goodbye, _) = tokio::join!(client.disconnect(), peer.expect_disconnect());
    drop(peer);
    goodbye.unwrap();
    let result = task.await.unwrap();
    let Err(ReauthenticateError::ConnectionLost(lost)) = &result else { panic!("{result:?}") };
    assert!(matches!(lost.cause, DisconnectCause::Requested));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_trusted_any_more_is_left() {
    for (answer, failure, reason) in [
        (
            succeeds("nonsense"),
            AuthenticationFailure::Refused(ReasonCode::NotAuthorized),
            ReasonCode::UnspecifiedError,
        ),
        (
            asks("nonsense"),
            AuthenticationFailure::Refused(ReasonCode::NotAuthorized),
            ReasonCode::UnspecifiedError,
        ),
        (succeeds("more"), AuthenticationFailure::Unfinished, ReasonCode::ProtocolError),
    ] {
        let (client, mut peer, task) = begun().await;
        let mut events = client.events();
        peer.send(answer).await;
        assert_eq!(peer.expect_disconnect().await.reason, reason);
        let result = task.await.unwrap();
        let Err(ReauthenticateError::Unauthenticated(found)) = &result else { panic!("{result:?}") };
        assert_eq!(*found, failure);
        assert!(!client.is_connected());
        drop(peer);
        let Some(Event::Disconnected { cause: DisconnectCause::Unauthenticated(found) }) =
            events.next().await
        else {
            panic!("expected the cause")
        };
        assert_eq!(found, failure);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_be_sent_is_told_from_one_that_was() {
    // Refused before anything is sent: the connection goes on.
    let mut small = accepts("done");
    small.properties.maximum_packet_size = std::num::NonZeroU32::new(1_000);
    let (client, mut peer) = attempt(options("huge"), &[connack(small.clone())]).await;
    let client = client.unwrap();
    let result = client.reauthenticate().await;
    assert!(
        matches!(result, Err(ReauthenticateError::NotBegun(AuthenticationFailure::Unwritable(_)))),
        "{result:?}"
    );
    peer.hears_nothing().await;
    assert!(client.is_connected());
    // Later it cannot.
    let (client, mut peer) = attempt(options("more"), &[connack(small)]).await;
    let client = client.unwrap();
    let (result, reason) = tokio::join!(client.reauthenticate(), async {
        step(&mut peer).await;
        peer.send(asks("huge")).await;
        peer.expect_disconnect().await.reason
    });
    assert!(matches!(
        result,
        Err(ReauthenticateError::Unauthenticated(AuthenticationFailure::Unwritable(_)))
    ));
    assert_eq!(reason, ReasonCode::UnspecifiedError);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_ends_the_connection() {
    for answer in [None, Some(asks("think")), Some(succeeds("think"))] {
        let (client, mut peer, task) = begun().await;
        let mut events = client.events();
        if let Some(answer) = answer {
            peer.send(answer).await;
            peer.hears_nothing().await;
        }
        task.abort();
        assert_eq!(peer.expect_disconnect().await.reason, ReasonCode::UnspecifiedError);
        drop(peer);
        let Some(Event::Disconnected { cause }) = events.next().await else { panic!("expected the end") };
        assert!(
            matches!(cause, DisconnectCause::Unauthenticated(AuthenticationFailure::Abandoned)),
            "{cause:?}"
        );
        // What is left of it means nothing to the next connection.
        let (_, mut peer) = reconnected(&client, accepts("done")).await;
        peer.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_that_has_sent_nothing_may_be_dropped() {
    let (client, mut peer) = authenticated("more").await;
    // Polled once, it has given its order; the driver has not seen it.
    tokio::select! {
        biased;
        _ = client.reauthenticate() => panic!("nobody answered"),
        () = std::future::ready(()) => {}
    }
    peer.hears_nothing().await;
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_full_does_not_keep_the_answer_out() {
    let options = options("more").stream_bounds(100, 10);
    let (client, mut peer) = attempt(options, &[connack(accepts("done"))]).await;
    let client = client.unwrap();
    let _untaken = client.messages();
    for id in 1..=2 {
        peer.publish("t", "more than ten bytes", crate::peer::at_least_once(id)).await;
    }
    peer.hears_nothing().await;
    let (result, ()) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(60), client.reauthenticate()), async {
            step(&mut peer).await;
            peer.send(succeeds("done")).await;
        });
    result.expect("an answer").unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_due_is_the_servers_fault() {
    // It asks by itself, or twice.
    for unasked in [asks("more"), succeeds("done")] {
        let (_client, mut peer) = authenticated("more").await;
        peer.send(unasked).await;
        assert_eq!(peer.expect_disconnect().await.reason, ReasonCode::ProtocolError);
    }
    let (_client, mut peer, task) = begun().await;
    peer.send(asks("think")).await;
    peer.send(asks("more")).await;
    assert_eq!(peer.expect_disconnect().await.reason, ReasonCode::ProtocolError);
    drop(peer);
    // The method still thinks; what it will say is for nobody.
    task.abort();
}
