//! Connection validation: who may connect, on which terms, and what a client is told.

use std::num::NonZeroU16;
use std::time::Duration;

use gantline_protocol::packet::{Connect, Packet};
use gantline_protocol::{ClientId, ProtocolVersion};
use gantline_server::{
    Acceptance, ConnectionRequest, QoS, ReasonCode, Refusal, RunningServer, Server, ServerOptions, Verdict,
};
use tokio::time::Instant;

use crate::peer::{answered, clean, connected, stranger, will};

/// A server whose validator does what the user name says.
async fn server() -> RunningServer {
    let validator = |request: ConnectionRequest| async move {
        let terms = Acceptance::default();
        match request.user_name() {
            Some("open") => Verdict::accept(),
            Some("checked") if request.password().is_some_and(|password| password == "secret") => {
                Verdict::accept()
            }
            Some("other id") => terms.client_id(ClientId::new("chosen").unwrap()).into(),
            Some("told") => terms
                .reason_string("welcome")
                .user_property("zone", "7")
                .response_information("responses/7")
                .into(),
            Some("talkative") => terms.reason_string("x".repeat(500)).into(),
            Some("bounded") => terms
                .keep_alive_max(NonZeroU16::new(30).unwrap())
                .session_expiry_max(60)
                .receive_maximum(NonZeroU16::new(5).unwrap())
                .max_packet_size(1_000)
                .maximum_qos(QoS::AtLeastOnce)
                .retain_available(false)
                .into(),
            Some("moved") => Refusal::new(ReasonCode::UseAnotherServer)
                .server_reference("other:1883")
                .reason_string("full")
                .user_property("zone", "8")
                .into(),
            Some("success") => Verdict::refuse(ReasonCode::Success),
            Some("panic") => panic!("as the test wants it"),
            Some("slow") => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Verdict::accept()
            }
            Some("stuck") => std::future::pending().await,
            _ => Verdict::refuse(ReasonCode::BadUserNameOrPassword),
        }
    };
    Server::new(ServerOptions::default()).validate_connections(validator).start().await.unwrap()
}

fn named(user_name: &str) -> Connect {
    Connect { user_name: Some(user_name.into()), ..clean("client") }
}

#[tokio::test(start_paused = true)]
async fn the_validator_decides_who_may_connect() {
    let server = server().await;
    connected(&server, named("open")).await;
    let with = |password: &'static str| Connect { password: Some(password.into()), ..named("checked") };
    connected(&server, with("secret")).await;
    for refused in [with("wrong"), named("nobody"), clean("client")] {
        assert_eq!(answered(&server, refused).await.1.reason, ReasonCode::BadUserNameOrPassword);
    }
    assert_eq!(answered(&server, named("success")).await.1.reason, ReasonCode::NotAuthorized);
    assert_eq!(server.metrics().rejected, 4);
}

#[tokio::test(start_paused = true)]
async fn before_5_0_a_refusal_is_the_nearest_return_code() {
    let server = server().await;
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        let refused = |user_name| Connect { version, ..named(user_name) };
        for (user_name, code) in [("nobody", 4), ("success", 5), ("moved", 3)] {
            let (_, connack) = answered(&server, refused(user_name)).await;
            assert_eq!(connack.reason.return_code(), code, "{user_name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_validator_says_is_in_connack() {
    let server = server().await;
    let connack = answered(&server, named("told")).await.1.properties;
    assert_eq!(connack.reason_string.as_deref(), Some("welcome"));
    assert_eq!(connack.user_properties.get("zone"), Some("7"));
    assert_eq!(connack.response_information, None, "it did not ask");
    let mut asking = named("told");
    asking.properties.request_response_information = Some(true);
    let connack = answered(&server, asking).await.1.properties;
    assert_eq!(connack.response_information.as_deref(), Some("responses/7"));

    let (_, connack) = answered(&server, named("moved")).await;
    assert_eq!(connack.reason, ReasonCode::UseAnotherServer);
    assert_eq!(connack.properties.server_reference.as_deref(), Some("other:1883"));
    assert_eq!(connack.properties.reason_string.as_deref(), Some("full"));
    assert_eq!(connack.properties.user_properties.get("zone"), Some("8"));
}

#[tokio::test(start_paused = true)]
async fn words_that_are_too_long_for_the_client_are_left_out() {
    let server = server().await;
    let mut connect = named("talkative");
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(100);
    let (_, connack) = answered(&server, connect).await;
    assert_eq!((connack.reason, connack.properties.reason_string), (ReasonCode::Success, None));
}

#[tokio::test(start_paused = true)]
async fn the_session_has_the_id_that_the_validator_chose() {
    let server = server().await;
    let mut first = connected(&server, named("other id")).await;
    let mut second = connected(&server, Connect { client_id: "chosen".into(), ..named("open") }).await;
    first.is_disconnected(ReasonCode::SessionTakenOver).await;
    let (_, connack) = answered(&server, Connect { client_id: String::new(), ..named("other id") }).await;
    assert_eq!(connack.properties.assigned_client_identifier.as_deref(), Some("chosen"));
    second.is_disconnected(ReasonCode::SessionTakenOver).await;
}

#[tokio::test(start_paused = true)]
async fn the_terms_hold_for_this_client_only() {
    let server = server().await;
    let mut connect = named("bounded");
    connect.keep_alive = 600;
    connect.properties.session_expiry_interval = Some(1_000);
    let (mut bounded, connack) = answered(&server, connect).await;
    let told = connack.properties;
    assert_eq!(told.server_keep_alive, Some(30));
    assert_eq!(told.session_expiry_interval, Some(60));
    assert_eq!(told.receive_maximum.map(NonZeroU16::get), Some(5));
    assert_eq!(told.maximum_packet_size.map(std::num::NonZeroU32::get), Some(1_000));
    assert_eq!(told.maximum_qos, Some(QoS::AtLeastOnce));
    assert_eq!(told.retain_available, Some(false));
    assert_eq!(bounded.subscribe("a", QoS::ExactlyOnce).await, ReasonCode::GrantedQoS1);

    let mut open = connected(&server, Connect { client_id: "open".into(), ..named("open") }).await;
    assert_eq!(open.subscribe("a", QoS::ExactlyOnce).await, ReasonCode::GrantedQoS2);
}

#[tokio::test(start_paused = true)]
async fn a_will_that_the_terms_do_not_allow_is_refused() {
    let server = server().await;
    let mut connect = Connect { will: will("gone", "w", 0), ..named("bounded") };
    connect.will.as_mut().unwrap().qos = QoS::ExactlyOnce;
    let (_, connack) = answered(&server, connect).await;
    assert_eq!(connack.reason, ReasonCode::QoSNotSupported);
}

#[tokio::test(start_paused = true)]
async fn a_validator_that_takes_its_time_holds_up_nobody_else() {
    let server = server().await;
    let (started, mut slow, mut stuck) = (Instant::now(), stranger(&server), stranger(&server));
    slow.send(Packet::Connect(Box::new(named("slow")))).await;
    stuck.send(Packet::Connect(Box::new(named("stuck")))).await;
    connected(&server, Connect { client_id: "quick".into(), ..named("open") }).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    slow.connack().await;
    assert_eq!(started.elapsed().as_secs(), 3);
    // Bounded by the connect time-out.
    stuck.hears_the_end().await;
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_validator_that_panics_refuses_its_client() {
    let server = server().await;
    assert_eq!(answered(&server, named("panic")).await.1.reason, ReasonCode::UnspecifiedError);
    connected(&server, named("open")).await;
}
