//! Streams that the application brings itself, on both sides: as they are, and with TLS on top.

#![cfg(all(feature = "client", feature = "server", feature = "tls"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::time::Duration;

use gantline::client::{ConnectError, Credentials, CredentialsProvider, CredentialsRequest, async_trait};
use gantline::transport::{PeerInfo, Scheme, Stream, TransportError, memory};
use gantline::{
    Address, Certificates, Client, ConnectOptions, Message, PrivateKey, QoS, RunningServer, Server,
    ServerOptions, TlsClientOptions, TlsServerOptions,
};
use gantline_test_support::certificates::Authority;

async fn talk(client: &Client) {
    let mut echo = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    let payload = vec![7; 300_000];
    client.publish(Message::new("t", payload.clone()).unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    assert!(*echo.next().await.expect("a message").payload() == payload);
}

/// A server that listens nowhere, and its CA.
async fn server() -> (RunningServer, Authority) {
    let ca = Authority::new("ca");
    let identity = ca.server(&["broker.test"]);
    let tls = TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key));
    (Server::new(ServerOptions::default()).tls(tls).start().await.unwrap(), ca)
}

#[tokio::test]
async fn a_stream_is_taken_as_it_is_where_no_address_says_otherwise() {
    let (server, _) = server().await;
    for options in [ConnectOptions::default(), ConnectOptions::new("mqtt://broker.test").unwrap()] {
        // A pipe of ours, and one of somebody else's.
        let (near, far) = memory::pair();
        server.serve(far);
        talk(&Client::connect_with(options.clone(), near).await.unwrap()).await;
        let (near, far) = tokio::io::duplex(1000);
        server.serve(Stream::from_io(far, PeerInfo::new(Scheme::Mqtt, "a pipe", "")));
        let near = Stream::from_io(near, PeerInfo::new(Scheme::Mqtt, "the server", ""));
        talk(&Client::connect_with(options, near).await.unwrap()).await;
    }
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_address_puts_tls_on_top_of_it() {
    let (server, ca) = server().await;
    let tls = TlsClientOptions::default().ca(Certificates::pem(ca.pem()));
    let options = ConnectOptions::new("mqtts://broker.test").unwrap().tls(tls);
    let address = Address::new("mqtts://broker.test").unwrap();
    let connected = || {
        let (near, far) = memory::pair();
        server.accept(far, &address).unwrap();
        near
    };
    let client = Client::connect_with(options, connected()).await.unwrap();
    talk(&client).await;
    client.disconnect().await.unwrap();
    client.reconnect_with(connected()).await.unwrap();
    talk(&client).await;

    let error = Client::connect_with(ConnectOptions::new("mqtts://broker.test").unwrap(), connected()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(TransportError::Handshake { .. })), "{error}");
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_without_a_certificate_cannot_put_tls_on_top() {
    let server = Server::new(ServerOptions::default()).start().await.unwrap();
    let (_near, far) = memory::pair();
    let error = server.accept(far, &Address::new("mqtts://broker.test").unwrap()).unwrap_err();
    assert!(matches!(error, TransportError::TlsMissing { .. }), "{error}");
}

struct Token;

#[async_trait]
impl CredentialsProvider for Token {
    async fn credentials(
        &self,
        request: &CredentialsRequest<'_>,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        let client = request.client_id().ok_or("no client id")?.as_str();
        Ok(Credentials::default().user_name("token").password(format!("for {client}")))
    }
}

#[tokio::test]
async fn what_a_provider_gives_is_what_the_server_sees() {
    use gantline::server::{ConnectionRequest, ReasonCode, Verdict};

    let judge = |client: ConnectionRequest| async move {
        let known = client.user_name() == Some("token")
            && client.password().is_some_and(|password| password == "for kitchen");
        if known { Verdict::accept() } else { Verdict::refuse(ReasonCode::BadUserNameOrPassword) }
    };
    let server = Server::new(ServerOptions::default()).validate_connections(judge).start().await.unwrap();
    for (id, known) in [("kitchen", true), ("cellar", false)] {
        let (near, far) = memory::pair();
        server.serve(far);
        let options = ConnectOptions::default().client_id(id).unwrap().credentials_provider(Token);
        let connected = Client::connect_with(options, near).await;
        assert_eq!(connected.is_ok(), known, "{id}");
    }
    server.shutdown(Duration::from_secs(5)).await;
}
