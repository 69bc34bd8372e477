//! Extended authentication: at CONNECT and again, with a method that does what its data says.

use std::future::pending;
use std::time::Duration;

use gantline_protocol::packet::{Auth, Connect, Disconnect, Packet};
use gantline_protocol::{AuthProperties, DisconnectProperties, PacketType};
use gantline_server::{
    AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep, QoS, ReasonCode,
    RunningServer, Server, ServerOptions, async_trait,
};
use tokio::time::Instant;

use crate::peer::{Peer, answered, clean, client, connected, of_version, seconds_pass, stranger, subscriber};

#[derive(Debug)]
struct Obedient;

struct Run {
    who: String,
    steps: usize,
}

impl AuthenticationMethod for Obedient {
    fn name(&self) -> &str {
        "OBEDIENT"
    }

    fn begin(&self, context: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
        let who = format!("{} {}", context.client_id, context.user_name.unwrap_or("nobody"));
        Box::new(Run { who, steps: 0 })
    }
}

#[async_trait]
impl AuthenticationExchange for Run {
    async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep {
        self.steps += 1;
        match data {
            Some(b"yes") => AuthenticationStep::Done(Some("welcome".into())),
            Some(b"who") => AuthenticationStep::Done(Some(self.who.clone().into())),
            Some(b"more") => AuthenticationStep::Continue(Some(format!("step {}", self.steps).into())),
            Some(b"huge") => AuthenticationStep::Continue(Some(vec![b'x'; 2_000].into())),
            Some(b"no") => AuthenticationStep::Refuse(ReasonCode::Banned),
            Some(b"no reason") => AuthenticationStep::Refuse(ReasonCode::Success),
            Some(b"panic") => panic!("as the test wants it"),
            Some(b"think") => pending().await,
            Some(_) => AuthenticationStep::Refuse(ReasonCode::NotAuthorized),
            None => AuthenticationStep::Done(None),
        }
    }
}

async fn server() -> RunningServer {
    Server::new(ServerOptions::default()).authentication_method(Obedient).start().await.unwrap()
}

fn with_method(id: &str, data: &str) -> Connect {
    let mut connect = clean(id);
    connect.properties.authentication_method = Some("OBEDIENT".into());
    connect.properties.authentication_data = Some(data.to_owned().into());
    connect
}

fn auth(reason: ReasonCode, method: &str, data: &str) -> Packet {
    let properties = AuthProperties {
        authentication_method: Some(method.into()),
        authentication_data: Some(data.to_owned().into()),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason, properties })
}

fn goes_on(data: &str) -> Packet {
    auth(ReasonCode::ContinueAuthentication, "OBEDIENT", data)
}

fn again(data: &str) -> Packet {
    auth(ReasonCode::ReAuthenticate, "OBEDIENT", data)
}

/// The server's AUTH: reason and data.
async fn step(peer: &mut Peer) -> (ReasonCode, String) {
    let Packet::Auth(auth) = peer.expect(PacketType::Auth).await else { panic!("expected AUTH") };
    assert_eq!(auth.properties.authentication_method.as_deref(), Some("OBEDIENT"));
    let data = auth.properties.authentication_data.unwrap_or_default();
    (auth.reason, String::from_utf8(data.to_vec()).unwrap())
}

/// A client that has sent CONNECT and was asked to go on.
async fn asked(server: &RunningServer) -> Peer {
    let mut peer = stranger(server);
    peer.send(Packet::Connect(Box::new(with_method("a", "more")))).await;
    assert_eq!(step(&mut peer).await, (ReasonCode::ContinueAuthentication, "step 1".into()));
    peer
}

async fn is_refused(peer: &mut Peer, reason: ReasonCode) {
    let connack = peer.connack().await;
    assert_eq!(connack.reason, reason);
    assert!(connack.properties.authentication_method.is_none());
    peer.hears_the_end().await;
}

// ---- at CONNECT ----

#[tokio::test(start_paused = true)]
async fn one_step_ends_with_connack() {
    let server = server().await;
    let (_peer, connack) = answered(&server, with_method("a", "yes")).await;
    assert_eq!(connack.reason, ReasonCode::Success);
    assert_eq!(connack.properties.authentication_method.as_deref(), Some("OBEDIENT"));
    assert_eq!(connack.properties.authentication_data.as_deref(), Some(&b"welcome"[..]));
}

#[tokio::test(start_paused = true)]
async fn three_steps_end_with_connack() {
    let server = server().await;
    let mut peer = asked(&server).await;
    peer.send(goes_on("more")).await;
    assert_eq!(step(&mut peer).await, (ReasonCode::ContinueAuthentication, "step 2".into()));
    peer.send(goes_on("yes")).await;
    let connack = peer.connack().await;
    assert_eq!(connack.properties.authentication_data.as_deref(), Some(&b"welcome"[..]));
    peer.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_without_data_is_told_from_an_empty_one() {
    let server = server().await;
    let mut connect = with_method("a", "");
    let (_peer, connack) = answered(&server, connect.clone()).await;
    assert_eq!(connack.reason, ReasonCode::NotAuthorized);
    connect.properties.authentication_data = None;
    let (_peer, connack) = answered(&server, connect).await;
    assert_eq!((connack.reason, connack.properties.authentication_data), (ReasonCode::Success, None));
}

#[tokio::test(start_paused = true)]
async fn the_method_knows_who_comes() {
    let server = server().await;
    let (_peer, connack) =
        answered(&server, Connect { user_name: Some("ada".into()), ..with_method("a", "who") }).await;
    assert_eq!(connack.properties.authentication_data.as_deref(), Some(&b"a ada"[..]));
    let (_peer, connack) = answered(&server, with_method("", "who")).await;
    let expected = format!("{} nobody", connack.properties.assigned_client_identifier.unwrap());
    assert_eq!(connack.properties.authentication_data.as_deref(), Some(expected.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn without_a_method_there_is_none_in_connack() {
    let server = server().await;
    for version in gantline_protocol::ProtocolVersion::ALL {
        let (_peer, connack) = answered(&server, of_version(version, "a", true)).await;
        assert_eq!(connack.reason, ReasonCode::Success);
        assert!(connack.properties.authentication_method.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_the_code_of_the_method() {
    let server = server().await;
    for (data, reason) in [("no", ReasonCode::Banned), ("no reason", ReasonCode::NotAuthorized)] {
        let mut peer = stranger(&server);
        peer.send(Packet::Connect(Box::new(with_method("a", data)))).await;
        is_refused(&mut peer, reason).await;
    }
    let mut peer = asked(&server).await;
    peer.send(goes_on("no")).await;
    is_refused(&mut peer, ReasonCode::Banned).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_method_is_refused() {
    for server in [server().await, crate::peer::server().await] {
        let mut connect = with_method("a", "yes");
        connect.properties.authentication_method = Some("OTHER".into());
        let mut peer = stranger(&server);
        peer.send(Packet::Connect(Box::new(connect))).await;
        is_refused(&mut peer, ReasonCode::BadAuthenticationMethod).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_no_answer_to_auth_breaks_the_protocol() {
    let server = server().await;
    let bare = Packet::Auth(Auth { reason: ReasonCode::Success, properties: AuthProperties::default() });
    for wrong in [
        auth(ReasonCode::ContinueAuthentication, "OTHER", "yes"),
        again("yes"),
        auth(ReasonCode::Success, "OBEDIENT", "yes"),
        bare,
        Packet::PingReq,
        Packet::Connect(Box::new(with_method("a", "yes"))),
        Packet::Publish(Box::new(crate::peer::publish("a", "x", gantline_protocol::Delivery::AtMostOnce))),
    ] {
        let mut peer = asked(&server).await;
        peer.send(wrong).await;
        is_refused(&mut peer, ReasonCode::ProtocolError).await;
    }
    let mut peer = asked(&server).await;
    peer.send_bytes(&[0xF1, 0]).await;
    is_refused(&mut peer, ReasonCode::MalformedPacket).await;
    assert_eq!(server.metrics().violations, 8);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_leave_in_between() {
    let server = server().await;
    let mut peer = asked(&server).await;
    let (reason, properties) = (ReasonCode::Success, DisconnectProperties::default());
    peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
    peer.hears_the_end().await;
    drop(asked(&server).await);
    assert_eq!((server.metrics().violations, server.metrics().sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn authentication_ends_with_the_connect_time_out() {
    let options = ServerOptions::default().connect_timeout(Duration::from_secs(3));
    let server = Server::new(options).authentication_method(Obedient).start().await.unwrap();
    let start = Instant::now();
    asked(&server).await.hears_the_end().await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    // Nor may the method take longer.
    let mut peer = asked(&server).await;
    peer.send(goes_on("think")).await;
    peer.hears_the_end().await;
    assert_eq!(start.elapsed(), Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn nobody_makes_room_for_a_client_that_is_not_authenticated() {
    let server = server().await;
    let mut holder = connected(&server, with_method("a", "yes")).await;
    let mut peer = asked(&server).await;
    holder.ping().await;
    peer.send(goes_on("no")).await;
    is_refused(&mut peer, ReasonCode::Banned).await;
    holder.ping().await;
    let mut peer = asked(&server).await;
    peer.send(goes_on("yes")).await;
    assert_eq!(peer.connack().await.reason, ReasonCode::Success);
    holder.is_disconnected(ReasonCode::SessionTakenOver).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_the_client_cannot_take_refuses_it() {
    let server = server().await;
    let mut connect = with_method("a", "huge");
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(1_000);
    let mut peer = stranger(&server);
    peer.send(Packet::Connect(Box::new(connect))).await;
    is_refused(&mut peer, ReasonCode::UnspecifiedError).await;
}

#[tokio::test(start_paused = true)]
async fn a_method_that_panics_refuses_the_client() {
    let server = server().await;
    let mut other = client(&server, "other").await;
    let mut peer = stranger(&server);
    peer.send(Packet::Connect(Box::new(with_method("a", "panic")))).await;
    is_refused(&mut peer, ReasonCode::UnspecifiedError).await;
    other.ping().await;
}

// ---- again ----

#[tokio::test(start_paused = true)]
async fn a_client_authenticates_again_while_messages_flow() {
    let server = server().await;
    let mut peer = subscriber(&server, with_method("a", "yes"), &["t"], QoS::AtLeastOnce).await;
    let mut publisher = client(&server, "publisher").await;
    for round in 0..2 {
        peer.send(again("more")).await;
        assert_eq!(step(&mut peer).await, (ReasonCode::ContinueAuthentication, "step 1".into()));
        publisher.publish("t", "in between", QoS::AtLeastOnce).await;
        assert_eq!(peer.text().await, "in between", "{round}");
        assert_eq!(peer.publish("u", "from it", QoS::ExactlyOnce).await, ReasonCode::NoMatchingSubscribers);
        peer.send(goes_on("more")).await;
        assert_eq!(step(&mut peer).await, (ReasonCode::ContinueAuthentication, "step 2".into()));
        peer.send(goes_on("yes")).await;
        assert_eq!(step(&mut peer).await, (ReasonCode::Success, "welcome".into()));
    }
    // The time-out of an exchange ends with it.
    seconds_pass(30).await;
    peer.ping().await;
}

#[tokio::test(start_paused = true)]
async fn messages_flow_while_the_method_thinks() {
    let server = server().await;
    let mut peer = subscriber(&server, with_method("a", "yes"), &["t"], QoS::AtLeastOnce).await;
    peer.send(again("think")).await;
    for _ in 0..3 {
        assert_eq!(peer.publish("t", "x", QoS::AtLeastOnce).await, ReasonCode::Success);
        assert_eq!(peer.text().await, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_later_is_disconnected() {
    let server = server().await;
    for (data, reason) in [
        ("nonsense", ReasonCode::NotAuthorized),
        // DISCONNECT cannot say this.
        ("no", ReasonCode::UnspecifiedError),
        ("panic", ReasonCode::UnspecifiedError),
    ] {
        let mut peer = connected(&server, with_method("a", "yes")).await;
        peer.send(again(data)).await;
        peer.is_disconnected(reason).await;
        let mut peer = connected(&server, with_method("a", "yes")).await;
        peer.send(again("more")).await;
        step(&mut peer).await;
        peer.send(goes_on(data)).await;
        peer.is_disconnected(reason).await;
    }
    assert_eq!(server.metrics().violations, 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_not_due_breaks_the_protocol() {
    let server = server().await;
    for wrong in [
        vec![goes_on("yes")],
        vec![auth(ReasonCode::Success, "OBEDIENT", "yes")],
        vec![auth(ReasonCode::ReAuthenticate, "OTHER", "yes")],
        // The method has not answered, or waits for something else.
        vec![again("think"), again("yes")],
        vec![again("think"), goes_on("yes")],
        vec![again("more"), again("yes")],
    ] {
        let mut peer = connected(&server, with_method("a", "yes")).await;
        for packet in wrong {
            peer.send(packet).await;
        }
        peer.is_disconnected(ReasonCode::ProtocolError).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_method_cannot_authenticate_later() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    peer.send(again("yes")).await;
    peer.is_disconnected(ReasonCode::ProtocolError).await;
}

#[tokio::test(start_paused = true)]
async fn authenticating_again_ends_after_ten_seconds() {
    let server = server().await;
    for data in ["more", "think"] {
        let mut peer = connected(&server, with_method("a", "yes")).await;
        let start = Instant::now();
        peer.send(again(data)).await;
        peer.is_disconnected(ReasonCode::NotAuthorized).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10), "{data}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_that_thinks_holds_up_neither_takeover_nor_shutdown() {
    let server = server().await;
    let mut first = connected(&server, with_method("a", "yes")).await;
    first.send(again("think")).await;
    first.ping().await;
    let start = Instant::now();
    let mut second = connected(&server, with_method("a", "yes")).await;
    first.is_disconnected(ReasonCode::SessionTakenOver).await;
    second.send(again("think")).await;
    second.ping().await;
    let (_, ()) = tokio::join!(
        second.is_disconnected(ReasonCode::ServerShuttingDown),
        server.shutdown(Duration::from_secs(5))
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}
