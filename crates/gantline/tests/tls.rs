//! Our client and our server together over TLS: every version, certificates on both sides, and the errors that people
//! see.

#![cfg(all(feature = "client", feature = "server", feature = "tls"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::time::Duration;

use gantline::client::{ConnectError, ConnectStage, TlsFailure, TlsVersion, TransportError};
use gantline::server::ClientCertificates;
use gantline::{
    Certificates, Client, ConnectOptions, Message, PrivateKey, ProtocolVersion, QoS, RunningServer, Server,
    ServerOptions, TlsClientOptions, TlsServerOptions,
};
use gantline_test_support::certificates::{Authority, Identity};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

fn served_with(identity: Identity) -> TlsServerOptions {
    TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key))
}

fn trusting(ca: &Authority) -> TlsClientOptions {
    TlsClientOptions::default().ca(Certificates::pem(ca.pem()))
}

async fn serve(tls: TlsServerOptions) -> RunningServer {
    let server =
        Server::new(ServerOptions::default()).listen("mqtts://localhost:0").listen("mqtt://localhost:0");
    server.tls(tls).start().await.unwrap()
}

/// The URL of one of the two listeners, with a scheme of choice.
fn at(scheme: &str, server: &RunningServer, listener: usize) -> ConnectOptions {
    let port = server.local_addresses()[listener].port().unwrap();
    ConnectOptions::new(format!("{scheme}://localhost:{port}")).unwrap()
}

async fn talk(sender: &Client, receiver: &Client) {
    let mut messages = receiver.subscribe("t", QoS::ExactlyOnce).await.unwrap();
    for (qos, len) in [(QoS::AtMostOnce, 1), (QoS::AtLeastOnce, 100_000), (QoS::ExactlyOnce, 1_000_000)] {
        sender.publish(Message::new("t", vec![7; len]).unwrap().qos(qos)).await.unwrap();
        let message = timeout(DEADLINE, messages.next()).await.unwrap().expect("a message");
        assert_eq!((message.payload().len(), message.qos_level()), (len, qos));
    }
}

#[tokio::test]
async fn every_version_of_mqtt_goes_over_every_version_of_tls() {
    let ca = Authority::new("ca");
    let server = serve(served_with(ca.server(&["localhost"]))).await;
    for tls in TlsVersion::ALL {
        for version in ProtocolVersion::ALL {
            let options = at("mqtts", &server, 0).tls(trusting(&ca).versions(&[tls])).version(version);
            let client = Client::connect(options).await.unwrap();
            let plain = Client::connect(at("mqtt", &server, 1).version(version)).await.unwrap();
            talk(&client, &plain).await;
            talk(&plain, &client).await;
            client.disconnect().await.unwrap();
            plain.disconnect().await.unwrap();
        }
    }
    server.shutdown(DEADLINE).await;
}

#[tokio::test]
async fn a_client_reconnects_and_its_certificate_is_seen() {
    let (ca, devices) = (Authority::new("ca"), Authority::new("devices"));
    let server = serve(
        served_with(ca.server(&["localhost"]))
            .client_ca(Certificates::pem(devices.pem()))
            .client_certificates(ClientCertificates::Required),
    )
    .await;
    let device = devices.client("device");
    let tls =
        trusting(&ca).client_certificate(Certificates::pem(device.certificate), PrivateKey::pem(device.key));
    let client = Client::connect(at("mqtts", &server, 0).tls(tls)).await.unwrap();
    for _ in 0..3 {
        talk(&client, &client).await;
        client.disconnect().await.unwrap();
        client.reconnect().await.unwrap();
    }
    server.shutdown(DEADLINE).await;
}

async fn refused(options: ConnectOptions) -> ConnectError {
    timeout(DEADLINE, Client::connect(options)).await.expect("an answer").unwrap_err()
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_that_help() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let server = serve(
        served_with(ca.server(&["localhost"]))
            .client_ca(Certificates::pem(ca.pem()))
            .client_certificates(ClientCertificates::Required),
    )
    .await;
    // More than once: what the server says may come while the client still writes.
    for _ in 0..20 {
        let error = refused(at("mqtts", &server, 0).tls(trusting(&ca))).await;
        let ConnectError::Unreachable(TransportError::Handshake { failure, .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(**failure, TlsFailure::ClientCertificateMissing), "{error}");
        assert!(error.to_string().contains("set client_certificate"), "{error}");
    }
    let stranger = other.client("stranger");
    let stranger = trusting(&ca)
        .client_certificate(Certificates::pem(stranger.certificate), PrivateKey::pem(stranger.key));
    for _ in 0..20 {
        let error = refused(at("mqtts", &server, 0).tls(stranger.clone())).await;
        assert!(error.to_string().contains("the peer refused our certificate: UnknownCA"), "{error}");
    }
    let error = refused(at("mqtts", &server, 0)).await;
    assert!(error.to_string().contains("signed by nobody whom we trust: add its CA"), "{error}");

    let error = refused(at("mqtt", &server, 0)).await;
    assert!(matches!(error, ConnectError::NeedsTls), "{error:?}");
    let error = refused(at("mqtts", &server, 1)).await;
    assert!(error.to_string().contains("it may not speak TLS on this port, then use mqtt://"), "{error}");

    let error = refused(at("mqtt", &server, 1).tls(trusting(&ca))).await;
    assert!(matches!(error, ConnectError::Options(_)), "{error}");
    let error =
        refused(at("mqtts", &server, 0).tls(TlsClientOptions::default().ca(Certificates::pem("")))).await;
    assert!(error.to_string().contains("has no certificate"), "{error}");
    server.shutdown(DEADLINE).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections() {
    let (ca, renewed) = (Authority::new("ca"), Authority::new("renewed"));
    let server = serve(served_with(ca.server(&["localhost"]))).await;
    let old = Client::connect(at("mqtts", &server, 0).tls(trusting(&ca))).await.unwrap();
    server.tls().unwrap().reload(served_with(renewed.server(&["localhost"]))).unwrap();
    let new = Client::connect(at("mqtts", &server, 0).tls(trusting(&renewed))).await.unwrap();
    talk(&old, &new).await;
    assert!(matches!(
        refused(at("mqtts", &server, 0).tls(trusting(&ca))).await,
        ConnectError::Unreachable(_)
    ));
    server.shutdown(DEADLINE).await;
}

#[tokio::test]
async fn connections_are_spread_over_workers() {
    let ca = Authority::new("ca");
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    let worker = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = worker.handle().clone();
    let thread = std::thread::spawn(move || worker.block_on(async move { drop(stopped.changed().await) }));
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .tls(served_with(ca.server(&["localhost"])))
        .workers(vec![Handle::current(), handle])
        .start()
        .await
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(at("mqtts", &server, 0).tls(trusting(&ca))).await.unwrap());
    }
    for pair in clients.windows(2) {
        talk(&pair[0], &pair[1]).await;
    }
    server.shutdown(DEADLINE).await;
    drop(stop);
    thread.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_handshake_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("mqtts://{}", silent.local_addr().unwrap());
    let options = ConnectOptions::new(address).unwrap().connect_timeout(Duration::from_secs(3));
    let error = Client::connect(options).await.unwrap_err();
    let ConnectError::TimedOut { limit, waiting_for: ConnectStage::Transport } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*limit, Duration::from_secs(3));
}
