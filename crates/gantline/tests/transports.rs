//! One conversation over every transport in every version: what the client says goes to the server, and what the server
//! says comes back, from one byte to ten megabytes.

#![cfg(all(feature = "client", feature = "server", feature = "tls", feature = "websocket"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::time::Duration;

use gantline::client::{ConnectError, ConnectStage, Proxy, TlsVersion};
use gantline::server::{ClientCertificates, TlsAcceptor};
use gantline::{
    Certificates, Client, ConnectOptions, Message, PrivateKey, ProtocolVersion, QoS, RunningServer, Server,
    ServerOptions, TlsClientOptions, TlsServerOptions,
};
use gantline_test_support::certificates::{Authority, Identity};
use gantline_test_support::proxies::TestProxy;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);
const LENGTHS: [usize; 6] = [1, 125, 4_097, 65_536, 1_000_000, 10_000_000];

/// A way to the server.
struct Route {
    name: &'static str,
    /// Where the server listens.
    listen: String,
    /// What the client does beside connecting there.
    options: Box<dyn Fn(ConnectOptions) -> ConnectOptions + Send + Sync>,
    /// Whether the server wants a certificate of the client.
    mutual: bool,
}

impl Route {
    fn plain(name: &'static str, listen: &str) -> Self {
        Self { name, listen: listen.to_owned(), options: Box::new(|options| options), mutual: false }
    }

    fn secure(name: &'static str, listen: &str, tls: TlsClientOptions) -> Self {
        Self { options: Box::new(move |options| options.tls(tls.clone())), ..Self::plain(name, listen) }
    }

    fn mutual(self) -> Self {
        Self { mutual: true, ..self }
    }

    /// The same way with a proxy in between.
    fn through(self, name: &'static str, proxy: &str) -> Self {
        let (below, proxy) = (self.options, Proxy::new(proxy).unwrap().credentials("ada", "secret"));
        Self { name, options: Box::new(move |options| below(options).proxy(proxy.clone())), ..self }
    }
}

/// Everything that makes a difference to the bytes below MQTT.
fn routes(ca: &Authority, socks5: &str, http: &str) -> Vec<Route> {
    let tls = || TlsClientOptions::default().ca(Certificates::pem(ca.pem()));
    let device = ca.client("device");
    let known = tls().client_certificate(Certificates::pem(device.certificate), PrivateKey::pem(device.key));
    let mut routes = vec![
        Route::plain("TCP", "mqtt://localhost:0"),
        Route::secure("TLS 1.2", "mqtts://localhost:0", tls().versions(&[TlsVersion::V1_2])),
        Route::secure("TLS 1.3", "mqtts://localhost:0", tls().versions(&[TlsVersion::V1_3])),
        Route::secure("mutual TLS", "mqtts://localhost:0", known.clone()).mutual(),
        Route::plain("WebSocket", "ws://localhost:0"),
        Route::secure("secure WebSocket", "wss://localhost:0", tls()),
        Route::secure("secure WebSocket with mutual TLS", "wss://localhost:0", known).mutual(),
        Route::plain("memory", "memory://transports"),
        Route::plain("", "mqtt://localhost:0").through("TCP through SOCKS5", socks5),
        Route::plain("", "mqtt://localhost:0").through("TCP through HTTP CONNECT", http),
        Route::secure("", "mqtts://localhost:0", tls()).through("TLS through SOCKS5", socks5),
        Route::secure("", "mqtts://localhost:0", tls()).through("TLS through HTTP CONNECT", http),
        Route::plain("", "ws://localhost:0").through("WebSocket through SOCKS5", socks5),
        Route::plain("", "ws://localhost:0").through("WebSocket through HTTP CONNECT", http),
        Route::secure("", "wss://localhost:0", tls()).through("secure WebSocket through SOCKS5", socks5),
        Route::secure("", "wss://localhost:0", tls()).through("secure WebSocket through HTTP CONNECT", http),
    ];
    if cfg!(unix) {
        let socket = std::env::temp_dir().join(format!("gantline-transports-{}.sock", std::process::id()));
        routes.push(Route::plain("Unix socket", &format!("unix://{}", socket.display())));
    }
    routes
}

/// One server that listens at the end of each route.
async fn serve(ca: &Authority, routes: &[Route]) -> RunningServer {
    let Identity { certificate, key, .. } = ca.server(&["localhost"]);
    let tls = TlsServerOptions::new(Certificates::pem(certificate), PrivateKey::pem(key));
    let mutual = tls.clone().client_ca(Certificates::pem(ca.pem()));
    let mutual = TlsAcceptor::new(mutual.client_certificates(ClientCertificates::Required)).unwrap();
    let mut server = Server::new(ServerOptions::default()).tls(tls);
    for route in routes {
        let mutual = route.mutual.then(|| mutual.clone());
        server = server.listen_with(route.listen.as_str(), |options| match mutual {
            Some(mutual) => options.tls(mutual),
            None => options,
        });
    }
    server.start().await.unwrap()
}

/// Says something of each length and waits for the same from the server.
async fn converse(name: &str, version: ProtocolVersion, options: ConnectOptions) {
    let client =
        Client::connect(options.version(version)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let topic = format!("{name}/{version}");
    let mut echo = client.subscribe(&topic, QoS::ExactlyOnce).await.unwrap();
    for (at, len) in LENGTHS.into_iter().enumerate() {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][at % 3];
        let payload: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
        client.publish(Message::new(&topic, payload.clone()).unwrap().qos(qos)).await.unwrap();
        let message = echo.next().await.expect("a message");
        assert!(*message.payload() == payload, "{len} bytes over {name} in {version}");
    }
    client.disconnect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_conversation_goes_over_every_transport_in_every_version() {
    let ca = Authority::new("ca");
    let login = Some(("ada", "secret"));
    let (socks5, http) = (TestProxy::socks5(login).await, TestProxy::http(login).await);
    let routes = routes(&ca, &socks5.url(), &http.url());
    let server = serve(&ca, &routes).await;
    let mut conversations = tokio::task::JoinSet::new();
    for (route, address) in routes.into_iter().zip(server.local_addresses()) {
        // As the certificate has it.
        let url = address.to_string().replace("127.0.0.1", "localhost").replace("[::1]", "localhost");
        for version in ProtocolVersion::ALL {
            let options = (route.options)(ConnectOptions::new(&url).unwrap());
            conversations.spawn(async move {
                let talk = converse(route.name, version, options);
                timeout(DEADLINE, talk)
                    .await
                    .unwrap_or_else(|_| panic!("{}, {version}: silence", route.name));
            });
        }
    }
    while let Some(ended) = conversations.join_next().await {
        ended.unwrap();
    }
    let versions = ProtocolVersion::ALL.len();
    assert_eq!((socks5.targets().len(), http.targets().len()), (4 * versions, 4 * versions));
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_proxy_of_the_wrong_kind_that_waits_is_ended_by_the_connect_timeout() {
    let limit = Duration::from_millis(200);
    // Each waits for what the other kind never sends: the end of an HTTP head, more methods of SOCKS5.
    let [socks5, http] = [TestProxy::socks5(None).await, TestProxy::http(None).await];
    let swapped = [socks5.url().replace("socks5", "http"), http.url().replace("http", "socks5")];
    for proxy in swapped {
        let options = ConnectOptions::new("mqtt://broker.test").unwrap().connect_timeout(limit);
        let attempt = Client::connect(options.proxy(Proxy::new(&proxy).unwrap()));
        let error = timeout(DEADLINE, attempt).await.expect("it ends by itself").unwrap_err();
        let ConnectError::TimedOut { waiting_for: ConnectStage::Proxy, .. } = error else {
            panic!("{proxy}: {error}")
        };
        assert!(error.to_string().contains("check that the proxy is of the kind"), "{error}");
    }
    assert!(socks5.targets().is_empty() && http.targets().is_empty());
}
