//! The ways into AWS IoT Core, against a server that asks for what AWS asks for: certificate, application protocol,
//! user name with parameters, signed request of WebSocket.

#![cfg(all(feature = "client", feature = "aws-iot"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use gantline::client::aws_iot::{CustomAuthorizer, Endpoint};
use gantline::protocol::{Connect, Packet, ProtocolVersion};
use gantline::transport::{
    AcceptBackoff, BindOptions, ClientCertificates, Framed, Listener, PeerInfo, TlsAcceptor, accept, bind,
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
        Self::listen("mqtts://localhost:0", certificates, alpn, |options| options).await
    }

    async fn listen(
        url: &str,
        certificates: ClientCertificates,
        alpn: &[&str],
        more: impl FnOnce(BindOptions) -> BindOptions,
    ) -> Self {
        let ca = Authority::new("Amazon");
        let server = ca.server(&["localhost"]);
        let mut tls =
            TlsServerOptions::new(Certificates::pem(server.certificate), PrivateKey::pem(server.key))
                .alpn(alpn.iter().copied());
        if certificates != ClientCertificates::NotAsked {
            tls = tls.client_ca(Certificates::pem(ca.pem())).client_certificates(certificates);
        }
        let options = more(BindOptions::default().tls(TlsAcceptor::new(tls).unwrap()));
        let listener = bind(&Address::new(url).unwrap(), &options).await.unwrap();
        let endpoint = Endpoint::new("localhost")
            .unwrap()
            .port(listener.local_address().port().unwrap())
            .tls(TlsClientOptions::default().ca(Certificates::pem(ca.pem())));
        Self { ca, listener, endpoint }
    }

    /// Lets a client in; what is known of it, and its CONNECT.
    async fn let_in(&mut self, options: ConnectOptions) -> (Arc<PeerInfo>, Connect) {
        let (client, seen) = tokio::join!(Client::connect(options), serve(&mut *self.listener));
        client.unwrap();
        seen
    }
}

async fn serve(listener: &mut dyn Listener) -> (Arc<PeerInfo>, Connect) {
    let stream = accept(listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await.unwrap();
    let peer = Arc::clone(stream.info());
    let mut framed = Framed::new(stream, 1 << 16);
    let mut frame = Vec::new();
    framed.next_frame(&mut frame).await.unwrap();
    let Ok(Packet::Connect(connect)) = Packet::decode(&frame, ProtocolVersion::V5_0) else {
        panic!("{frame:?}")
    };
    Packet::ConnAck(Box::default()).encode(connect.version, framed.out()).unwrap();
    framed.flush().await.unwrap();
    (peer, *connect)
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
        let (peer, connect) = aws.let_in(options).await;
        let tls = peer.tls().unwrap();
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
    let (peer, connect) = aws.let_in(aws.endpoint.custom_authorizer(&authorizer)).await;
    assert_eq!(peer.tls().unwrap().alpn(), Some(&b"mqtt"[..]));
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

#[cfg(feature = "websocket")]
mod websocket {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, SystemTime};

    use gantline::WebSocketServerOptions;
    use gantline::client::aws_iot::{AwsCredentials, EndpointError};
    use gantline::client::{ConnectError, TransportError, WebSocketOptionsError};

    use super::*;

    async fn aws() -> Aws {
        let kept = ["host", "ticket", "x-amz-customauthorizer-name", "x-amz-customauthorizer-signature"];
        let websocket = WebSocketServerOptions::default().paths(["/mqtt"]).keep_headers(kept);
        let certificates = ClientCertificates::NotAsked;
        let mut aws = Aws::listen("wss://localhost:0", certificates, &["http/1.1"], |options| {
            options.websocket(websocket)
        })
        .await;
        aws.endpoint = aws.endpoint.region("eu-central-1");
        aws
    }

    /// The keys that are given out as the `number`-th.
    fn keys(number: usize) -> AwsCredentials {
        AwsCredentials::new(format!("AKIDEXAMPLE{number}"), "secret")
            .session_token(format!("token/{number}="))
    }

    /// The request of a client that was let in, and its header `Host`.
    fn request(peer: &PeerInfo) -> (String, String) {
        let request = peer.websocket().unwrap();
        let host = String::from_utf8(request.header("host").unwrap().to_vec()).unwrap();
        (request.path().to_owned(), host)
    }

    #[tokio::test]
    async fn each_connect_signs_anew_with_the_keys_of_that_time() {
        let mut aws = aws().await;
        let asked = AtomicUsize::new(0);
        let options = aws.endpoint.signed_websocket_with(move || {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            async move { if number < 2 { Ok(keys(number)) } else { Err("no more keys") } }
        });
        let options = options.unwrap();
        assert!(!format!("{options:?} {}", options.address().unwrap()).contains("X-Amz"));
        for number in 0..2 {
            let before = SystemTime::now();
            let (peer, connect) = aws.let_in(options.clone()).await;
            assert_eq!((connect.user_name, connect.password), (None, None));
            let (path, host) = request(&peer);
            assert_eq!(host, format!("localhost:{}", aws.listener.local_address().port().unwrap()));
            let (_, query) = path.split_once("/mqtt?").unwrap();
            let names: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap().0).collect();
            assert_eq!(
                names,
                [
                    "X-Amz-Algorithm",
                    "X-Amz-Credential",
                    "X-Amz-Date",
                    "X-Amz-SignedHeaders",
                    "X-Amz-Signature",
                    "X-Amz-Security-Token"
                ]
            );
            // Signed within the connect, in one of these seconds.
            let signed = (0..30).any(|later| {
                let at = before + Duration::from_secs(later);
                let url = aws.endpoint.presigned_url(&keys(number), at).unwrap();
                url == format!("wss://{host}{path}")
            });
            assert!(signed, "{path}");
        }
        let error = Client::connect(options).await.unwrap_err();
        let ConnectError::Unreachable(TransportError::WebSocketOptions(error)) = error else {
            panic!("{error}")
        };
        assert_eq!(error, WebSocketOptionsError::RequestProvider { problem: "no more keys".to_owned() });
    }

    #[tokio::test]
    async fn a_custom_authorizer_is_told_by_headers() {
        let mut aws = aws().await;
        let authorizer = CustomAuthorizer::named("gate")
            .user_name("ada")
            .password("secret")
            .token("ticket", "77")
            .token_signature("c2ln+/==");
        let (peer, connect) = aws.let_in(aws.endpoint.custom_authorizer_websocket(&authorizer)).await;
        assert_eq!(connect.user_name.as_deref(), Some("ada"));
        assert_eq!(connect.password.as_deref(), Some(&b"secret"[..]));
        let request = peer.websocket().unwrap();
        assert_eq!(request.path(), "/mqtt");
        let header = |name| request.header(name).unwrap();
        assert_eq!(header("x-amz-customauthorizer-name"), b"gate");
        assert_eq!(header("x-amz-customauthorizer-signature"), b"c2ln+/==");
        assert_eq!(header("ticket"), b"77");

        let (_, connect) =
            aws.let_in(aws.endpoint.custom_authorizer_websocket(&CustomAuthorizer::new())).await;
        assert_eq!((connect.user_name, connect.password), (None, None));
    }

    #[test]
    fn the_port_is_443_and_the_region_has_to_be_known() {
        let endpoint = Endpoint::new("abc123-ats.iot.eu-central-1.amazonaws.com").unwrap();
        let options = endpoint.signed_websocket(&keys(0)).unwrap();
        let url = "wss://abc123-ats.iot.eu-central-1.amazonaws.com:443/mqtt";
        assert_eq!(options.address().unwrap().to_string(), url);
        let authorized = endpoint.custom_authorizer_websocket(&CustomAuthorizer::new());
        assert_eq!(authorized.address().unwrap().to_string(), url);
        let error = Endpoint::new("iot.example").unwrap().signed_websocket(&keys(0)).unwrap_err();
        assert_eq!(error, EndpointError::RegionUnknown { host: "iot.example".to_owned() });
    }
}
