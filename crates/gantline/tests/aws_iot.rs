//! The ways into AWS IoT Core, against a server that asks for what AWS asks for: certificate, application protocol, user
//! name with parameters.

#![cfg(all(feature = "client", feature = "aws-iot"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use gantline::client::aws_iot::{CustomAuthorizer, Endpoint};
use gantline::protocol::{Connect, Packet, ProtocolVersion};
use gantline::transport::{
    AcceptBackoff, BindOptions, ClientCertificates, Framed, Listener, TlsAcceptor, TlsInfo, accept, bind,
};
use gantline::{
    Address, Certificates, Client, ConnectOptions, PrivateKey, TlsClientOptions, TlsIdentity,
    TlsServerOptions,
};
use gantline_test_support::certificates::{Authority, Identity};

/// What a server has that stands in for AWS.
struct Aws {
    ca: Authority,
    listener: Box<dyn Listener>,
    endpoint: Endpoint,
}

impl Aws {
    /// A server that lets in whom it knows, and speaks these application protocols only.
    async fn start(certificates: ClientCertificates, alpn: &[&str]) -> Self {
        let ca = Authority::new("Amazon");
        let server = ca.server(&["localhost"]);
        let mut tls =
            TlsServerOptions::new(Certificates::pem(server.certificate), PrivateKey::pem(server.key))
                .alpn(alpn.iter().copied());
        if certificates != ClientCertificates::NotAsked {
            tls = tls.client_ca(Certificates::pem(ca.pem())).client_certificates(certificates);
        }
        let options = BindOptions::default().tls(TlsAcceptor::new(tls).unwrap());
        let listener = bind(&Address::new("mqtts://localhost:0").unwrap(), &options).await.unwrap();
        let endpoint = Endpoint::new("localhost")
            .unwrap()
            .port(listener.local_address().port().unwrap())
            .tls(TlsClientOptions::default().ca(Certificates::pem(ca.pem())));
        Self { ca, listener, endpoint }
    }

    /// Lets a client in; what came of TLS, and its CONNECT.
    async fn let_in(&mut self, options: ConnectOptions) -> (TlsInfo, Connect) {
        let (client, seen) = tokio::join!(Client::connect(options), serve(&mut *self.listener));
        client.unwrap();
        seen
    }
}

async fn serve(listener: &mut dyn Listener) -> (TlsInfo, Connect) {
    let stream = accept(listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await.unwrap();
    let tls = stream.info().tls().unwrap().clone();
    let mut framed = Framed::new(stream, 1 << 16);
    let mut frame = Vec::new();
    framed.next_frame(&mut frame).await.unwrap();
    let Ok(Packet::Connect(connect)) = Packet::decode(&frame, ProtocolVersion::V5_0) else {
        panic!("{frame:?}")
    };
    Packet::ConnAck(Box::default()).encode(connect.version, framed.out()).unwrap();
    framed.flush().await.unwrap();
    (tls, *connect)
}

fn known_as(device: &Identity) -> TlsIdentity {
    let chain = Certificates::pem(device.certificate.clone());
    TlsIdentity::new(chain, PrivateKey::pem(device.key.clone()))
}

#[tokio::test]
async fn a_device_with_a_certificate_is_let_in_on_both_ports() {
    let mut aws = Aws::start(ClientCertificates::Required, &["x-amzn-mqtt-ca"]).await;
    let device = aws.ca.client("device");
    let on_8883 = aws.endpoint.mutual_tls(known_as(&device));
    let on_443 = aws.endpoint.mutual_tls_on_443(known_as(&device));
    for (options, alpn) in [(on_8883, None), (on_443, Some(&b"x-amzn-mqtt-ca"[..]))] {
        let (tls, connect) = aws.let_in(options).await;
        assert_eq!(tls.alpn(), alpn);
        assert_eq!(tls.peer_certificates()[0], device.certificate_der);
        assert_eq!((connect.user_name, connect.password), (None, None));
    }
}

#[tokio::test]
async fn a_custom_authorizer_is_told_by_user_name_and_password() {
    let mut aws = Aws::start(ClientCertificates::NotAsked, &["mqtt"]).await;
    let authorizer = CustomAuthorizer::named("gate")
        .user_name("ada")
        .password("secret")
        .token("ticket", "77")
        .token_signature("c2ln+/==");
    let (tls, connect) = aws.let_in(aws.endpoint.custom_authorizer(&authorizer)).await;
    assert_eq!(tls.alpn(), Some(&b"mqtt"[..]));
    assert_eq!(connect.password.as_deref(), Some(&b"secret"[..]));
    let user_name = connect.user_name.unwrap();
    let (user_name, query) = user_name.split_once('?').unwrap();
    assert_eq!(user_name, "ada");
    let parameters: Vec<_> = query.split('&').map(|one| one.split_once('=').unwrap()).collect();
    assert_eq!(
        parameters,
        [
            ("x-amz-customauthorizer-name", "gate"),
            ("x-amz-customauthorizer-signature", "c2ln%2B%2F%3D%3D"),
            ("ticket", "77")
        ]
    );
}

#[test]
fn the_usual_ports_are_those_of_aws() {
    let endpoint = Endpoint::new("abc123-ats.iot.eu-central-1.amazonaws.com").unwrap();
    let identity = || TlsIdentity::new(Certificates::file("device.pem"), PrivateKey::file("device.key"));
    let port = |options: &ConnectOptions| options.address().unwrap().port();
    assert_eq!(port(&endpoint.mutual_tls(identity())), Some(8883));
    assert_eq!(port(&endpoint.mutual_tls_on_443(identity())), Some(443));
    assert_eq!(port(&endpoint.custom_authorizer(&CustomAuthorizer::new())), Some(443));
}
