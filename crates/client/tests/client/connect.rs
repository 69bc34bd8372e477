//! Connecting: accepted, refused, timed out, not MQTT, dropped, fallen back.

use std::time::Duration;

use gantline_client::{
    Client, ConnectError, ConnectOptions, ConnectStage, Event, Message, OptionsError, ProtocolVersion, QoS,
    ReasonCode,
};
use gantline_protocol::packet::{ConnAck, Packet};
use gantline_transport::{AcceptBackoff, Address, BindOptions, TcpOptions, accept, bind};

use crate::peer::{Peer, connected, pair};

fn options() -> ConnectOptions {
    ConnectOptions::default()
}

#[tokio::test(start_paused = true)]
async fn connect_says_what_the_options_say() {
    let will = Message::new("wills/kitchen", "gone").unwrap().qos(QoS::AtLeastOnce).retain(true).expiry(9);
    let options = ConnectOptions::new("mqtt://ada:secret@localhost")
        .unwrap()
        .client_id("kitchen")
        .unwrap()
        .keep_alive(Duration::from_millis(1500))
        .session_expiry(Duration::MAX)
        .receive_maximum(7)
        .will(will)
        .will_delay(Duration::from_secs(5));
    let (stream, mut peer) = pair();
    let (client, connect) =
        tokio::join!(Client::connect_with(options, stream), peer.accept(ConnAck::default()));
    assert_eq!((connect.client_id.as_str(), connect.keep_alive, connect.clean_start), ("kitchen", 2, true));
    assert_eq!(connect.user_name.as_deref(), Some("ada"));
    assert_eq!(connect.password.as_deref(), Some(&b"secret"[..]));
    let properties = &connect.properties;
    assert_eq!(properties.session_expiry_interval, Some(u32::MAX));
    assert_eq!(properties.receive_maximum.map(u16::from), Some(7));
    assert_eq!(properties.maximum_packet_size.map(u32::from), Some(16 << 20));
    let will = connect.will.unwrap();
    assert_eq!(
        (will.topic.as_str(), &will.payload[..], will.qos, will.retain),
        ("wills/kitchen", &b"gone"[..], QoS::AtLeastOnce, true)
    );
    assert_eq!(will.properties.will_delay_interval, Some(5));
    assert_eq!(will.properties.message_expiry_interval, Some(9));
    let client = client.unwrap();
    assert!(client.is_connected());
    assert!(!client.connection().unwrap().session_present());
    assert_eq!(client.client_id().unwrap().as_str(), "kitchen");
}

#[test]
fn the_password_is_shown_to_nobody() {
    let options = ConnectOptions::new("mqtt://ada:secret@localhost").unwrap();
    assert!(!format!("{options:?}").contains("secret"));
    assert!(!format!("{:?}", ConnectOptions::default().password("secret")).contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_generated_client_id_is_kept() {
    let (stream, mut peer) = pair();
    let client = Client::new(options());
    let (result, connect) = tokio::join!(client.reconnect_with(stream), peer.accept(ConnAck::default()));
    result.unwrap();
    assert_eq!(connect.client_id.len(), 23);
    drop(peer);
    let (again, _peer) = crate::peer::reconnected(&client, ConnAck::default()).await;
    assert_eq!(again.client_id, connect.client_id);
}

#[tokio::test(start_paused = true)]
async fn an_assigned_client_id_is_adopted() {
    let (stream, mut peer) = pair();
    let client = Client::new(options().server_assigned_client_id());
    let mut connack = ConnAck::default();
    connack.properties.assigned_client_identifier = Some("number-7".into());
    let (result, connect) = tokio::join!(client.reconnect_with(stream), peer.accept(connack));
    result.unwrap();
    assert!(connect.client_id.is_empty());
    assert_eq!(client.client_id().unwrap().as_str(), "number-7");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_reason() {
    let (stream, mut peer) = pair();
    let (result, _) =
        tokio::join!(Client::connect_with(options(), stream), peer.refuse(ReasonCode::NotAuthorized));
    let error = result.unwrap_err();
    assert!(matches!(&error, ConnectError::Refused(refusal) if refusal.reason == ReasonCode::NotAuthorized));
    assert!(error.to_string().starts_with("the server refused the connection: "), "{error}");
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let (stream, mut peer) = pair();
    let limit = Duration::from_secs(3);
    let start = tokio::time::Instant::now();
    let error = Client::connect_with(options().connect_timeout(limit), stream).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { waiting_for: ConnectStage::Answer, .. }), "{error}");
    assert_eq!(start.elapsed(), limit);
    assert!(matches!(peer.receive().await, Packet::Connect(_)));
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_told_from_a_server_that_does_not() {
    let address = Address::memory("dead-host").unwrap();
    let listener =
        bind(&address, &BindOptions::default().tcp(TcpOptions::default().backlog(1))).await.unwrap();
    let limit = Duration::from_secs(3);
    let options = ConnectOptions::to(address).connect_timeout(limit);
    let client = Client::new(options.clone());
    let mut events = client.events();
    let start = tokio::time::Instant::now();
    // The first fills the backlog of a listener that accepts nobody.
    let (first, second) = tokio::join!(Client::connect(options), client.reconnect());
    for (error, stage) in
        [(first.unwrap_err(), ConnectStage::Answer), (second.unwrap_err(), ConnectStage::Transport)]
    {
        let ConnectError::TimedOut { limit: told, waiting_for } = error else { panic!("{error}") };
        assert_eq!((told, waiting_for), (limit, stage));
    }
    assert_eq!(start.elapsed(), limit);
    assert!(matches!(events.next().await, Some(Event::ConnectFailed(ConnectError::TimedOut { .. }))));
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_mqtt_is_called_so() {
    let http = "HTTP/1.1 400 Bad Request\r\n\r\n";
    for greeting in
        [http, "SSH-2.0-OpenSSH_9.2\r\n", "220 mail.example ESMTP\r\n", "-ERR unknown command\r\n", "\0"]
    {
        let (stream, mut peer) = pair();
        let (result, ()) =
            tokio::join!(Client::connect_with(options(), stream), peer.send_bytes(greeting.as_bytes()));
        let error = result.unwrap_err();
        if greeting == http {
            assert!(error.to_string().contains("speaks HTTP on this port"), "{error}");
            continue;
        }
        assert!(matches!(error, ConnectError::NotMqtt(_)), "{greeting:?}: {error}");
        assert!(error.to_string().starts_with("the peer does not speak MQTT"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_tls_is_recognised_by_its_alert() {
    let (stream, mut peer) = pair();
    let alert = [0x15, 3, 1, 0, 2, 2, 0x46];
    let (result, ()) = tokio::join!(Client::connect_with(options(), stream), peer.send_bytes(&alert));
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "the server wants TLS on this port: use mqtts://");
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn tls_options_without_an_address_of_tls_are_refused() {
    use gantline_client::{OptionsError, TlsClientOptions};
    let with_tls = |options: ConnectOptions| options.tls(TlsClientOptions::default());
    let plain = with_tls(ConnectOptions::new("mqtt://localhost").unwrap());
    assert_eq!(plain.check(), Err(OptionsError::TlsWithoutAddress));
    let (stream, _peer) = pair();
    let error = Client::connect_with(with_tls(options()), stream).await.unwrap_err();
    assert!(matches!(error, ConnectError::Options(OptionsError::TlsWithoutAddress)), "{error}");
    assert_eq!(with_tls(ConnectOptions::new("mqtts://localhost").unwrap()).check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_is_told_from_one_that_refuses() {
    let (stream, peer) = pair();
    drop(peer);
    let error = Client::connect_with(options(), stream).await.unwrap_err();
    assert!(matches!(error, ConnectError::ClosedByServer | ConnectError::Network(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_connack_that_breaks_the_rules_is_the_servers_fault() {
    let (stream, mut peer) = pair();
    // A reserved flag.
    let (result, ()) =
        tokio::join!(Client::connect_with(options(), stream), peer.send_bytes(&[0x20, 3, 0x80, 0, 0]));
    assert!(matches!(result.unwrap_err(), ConnectError::ServerViolated(_)));
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_is_an_error_of_its_own() {
    let error = Client::connect(ConnectOptions::new("memory://nobody").unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    let error = Client::connect(options()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Options(OptionsError::NoAddress)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connect_leaves_nothing_behind() {
    let client = Client::new(options());
    let mut events = client.events();
    let (stream, mut peer) = pair();
    tokio::select! {
        biased;
        _ = client.reconnect_with(stream) => panic!("nobody answered"),
        packet = peer.receive() => assert!(matches!(packet, Packet::Connect(_))),
    }
    peer.hears_the_end().await;
    assert!(!client.is_connected());
    // The handle is free for the next attempt, and nobody was told of this one.
    let (_, _peer) = crate::peer::reconnected(&client, ConnAck::default()).await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
}

#[tokio::test(start_paused = true)]
async fn one_handle_has_one_connection() {
    let (client, _peer) = connected(options()).await;
    let (stream, _other) = pair();
    assert!(matches!(client.reconnect_with(stream).await, Err(ConnectError::AlreadyConnected)));
    let client = Client::new(options());
    let ((stream, _one), (other_stream, _other)) = (pair(), pair());
    tokio::select! {
        biased;
        _ = client.reconnect_with(stream) => panic!("nobody answered"),
        result = client.reconnect_with(other_stream) => {
            assert!(matches!(result, Err(ConnectError::AlreadyConnecting)));
        }
    }
}

/// Accepts at `memory://name`, one after the other.
async fn listen(name: &str) -> (ConnectOptions, Box<dyn gantline_transport::Listener>) {
    let address = Address::memory(name).unwrap();
    let listener = bind(&address, &BindOptions::default()).await.unwrap();
    (ConnectOptions::to(address), listener)
}

#[tokio::test(start_paused = true)]
async fn an_older_server_is_met_on_its_version_if_that_is_allowed() {
    let older: ProtocolVersion = "3.1.1".parse().unwrap();
    let (options, mut listener) = listen("fallback").await;
    let server = async {
        let mut first = Peer::over(accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap());
        assert!(matches!(first.receive().await, Packet::Connect(_)));
        // As a server answers that has never heard of properties.
        first.send_bytes(&[0x20, 2, 0, 1]).await;
        let mut second = Peer::over(accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap());
        let connect = second.accept(ConnAck::default()).await;
        (second, connect)
    };
    let (client, (_peer, connect)) = tokio::join!(Client::connect(options.fallback(older)), server);
    assert!(client.unwrap().is_connected());
    assert_eq!(connect.version, older);
}

#[tokio::test(start_paused = true)]
async fn without_leave_an_older_server_is_an_error() {
    let (options, mut listener) = listen("no-fallback").await;
    let server = async {
        let mut peer = Peer::over(accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap());
        peer.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    };
    let (result, ()) = tokio::join!(Client::connect(options), server);
    let Err(ConnectError::Refused(refusal)) = result else { panic!() };
    assert_eq!(refusal.reason, ReasonCode::UnsupportedProtocolVersion);
}
