//! TLS at the door: strangers who do not finish their handshake, wrong protocols on a port, certificates that are
//! missing.

use std::time::Duration;

use gantline_protocol::ProtocolVersion;
use gantline_protocol::packet::Packet;
use gantline_server::{
    Certificates, PrivateKey, ReasonCode, RunningServer, Server, ServerOptions, StartError, TlsServerOptions,
    TransportError,
};
use gantline_test_support::certificates::Authority;
use gantline_transport::{Address, DialOptions, TlsClientOptions, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::peer::{Peer, clean, encoded, goodbye};

fn options(ca: &Authority) -> TlsServerOptions {
    let identity = ca.server(&["localhost"]);
    TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key))
}

async fn peer(server: &RunningServer, ca: &Authority) -> Peer {
    let tls = TlsClientOptions::default().ca(Certificates::pem(ca.pem()));
    let address = Address::new(format!("mqtts://localhost:{}", port(server))).unwrap();
    Peer::over(connect(&address, &DialOptions::default().tls(tls)).await.unwrap())
}

fn port(server: &RunningServer) -> u16 {
    server.local_addresses()[0].port().unwrap()
}

/// Both ends of each connection are in this process.
fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    }
}

#[tokio::test]
async fn a_thousand_half_open_handshakes_hold_nobody_up_and_end_in_time() {
    const STRANGERS: usize = 1000;
    raise_descriptor_limit();
    let ca = Authority::new("ca");
    let limits = ServerOptions::default().connect_timeout(Duration::from_secs(4));
    let server = Server::new(limits).listen("mqtts://localhost:0").tls(options(&ca)).start().await.unwrap();
    let mut strangers = Vec::new();
    for number in 0..STRANGERS {
        let mut tcp = TcpStream::connect(("localhost", port(&server))).await.unwrap();
        // Nothing at all, the head of a record, or most of a ClientHello.
        let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 400]].concat();
        tcp.write_all(&hello[..[0, 5, hello.len()][number % 3]]).await.unwrap();
        strangers.push(tcp);
    }
    let mut peer = peer(&server, &ca).await;
    assert_eq!(peer.introduce(clean("friend")).await.reason, ReasonCode::Success);
    peer.ping().await;
    assert_eq!(server.metrics().connections, STRANGERS + 1, "nobody had to go for that");

    for mut stranger in strangers {
        let end = timeout(Duration::from_secs(30), stranger.read(&mut [0])).await.expect("it ends by itself");
        assert!(matches!(end, Ok(0) | Err(_)), "nothing is said to it");
    }
    peer.ping().await;
    assert_eq!(server.metrics().connections, 1);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn handshakes_end_when_the_server_stops() {
    let ca = Authority::new("ca");
    let server = Server::new(ServerOptions::default().connect_timeout(Duration::from_secs(3600)))
        .listen("mqtts://localhost:0")
        .tls(options(&ca))
        .start()
        .await
        .unwrap();
    let mut stranger = TcpStream::connect(("localhost", port(&server))).await.unwrap();
    peer(&server, &ca).await.introduce(clean("behind-it")).await;
    timeout(Duration::from_secs(20), server.shutdown(Duration::from_secs(5)))
        .await
        .expect("nothing is waited for");
    assert_eq!(stranger.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_tls_address_needs_a_certificate_and_a_certificate_an_address() {
    let ca = Authority::new("ca");
    let error =
        Server::new(ServerOptions::default()).listen("mqtts://localhost:0").start().await.unwrap_err();
    assert!(matches!(error, StartError::Listen(TransportError::TlsMissing { .. })), "{error}");
    let server = Server::new(ServerOptions::default()).listen("mqtt://localhost:0").tls(options(&ca));
    let error = server.start().await.unwrap_err();
    assert!(matches!(error, StartError::TlsUnused), "{error}");
    let (one, other) = (ca.server(&["a"]), ca.server(&["b"]));
    let mixed = TlsServerOptions::new(Certificates::pem(one.certificate), PrivateKey::pem(other.key));
    let server = Server::new(ServerOptions::default()).listen("mqtts://localhost:0").tls(mixed);
    let error = server.start().await.unwrap_err();
    assert!(error.to_string().contains("does not fit the certificate"), "{error}");
}

#[tokio::test]
async fn tls_on_a_port_without_it_is_closed_and_counted() {
    let server = Server::new(ServerOptions::default()).listen("mqtt://localhost:0").start().await.unwrap();
    let mut tcp = TcpStream::connect(("localhost", port(&server))).await.unwrap();
    tcp.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).await.unwrap();
    assert!(matches!(tcp.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(server.metrics().violations, 1);
}

/// What the server answers to these bytes, over TLS; an end without close_notify is an error to rustls.
async fn said_over_tls(server: &RunningServer, ca: &Authority, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    use gantline_transport::rustls::{ClientConnection, StreamOwned};
    use std::io::{Read, Write};

    let config = TlsClientOptions::default().ca(Certificates::pem(ca.pem())).rustls_config().unwrap();
    let port = port(server);
    let conversation = tokio::task::spawn_blocking(move || {
        let tls = ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(tls, std::net::TcpStream::connect(("localhost", port)).unwrap());
        stream.write_all(&bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| answer)
    });
    timeout(Duration::from_secs(20), conversation).await.unwrap().unwrap()
}

#[tokio::test]
async fn tls_is_closed_in_its_own_words() {
    let ca = Authority::new("ca");
    let server = Server::new(ServerOptions::default()).listen("mqtts://localhost:0").tls(options(&ca));
    let server = server.start().await.unwrap();
    // Who leaves in the same breath is answered.
    let packets = [Packet::Connect(Box::new(clean("a"))), Packet::Disconnect(goodbye())];
    let answer = said_over_tls(&server, &ca, encoded(packets, ProtocolVersion::default())).await.unwrap();
    assert_eq!(answer[0], 0x20, "CONNACK: {answer:?}");
    // Who does not speak MQTT is not, but hears that it is the server which closes.
    let request = format!("GET / HTTP/1.1\r\nUser-Agent: {}\r\n\r\n", "x".repeat(80));
    for garbage in [&[0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..], &[0xC0, 0], request.as_bytes()] {
        let answer = said_over_tls(&server, &ca, garbage.to_vec()).await;
        assert!(answer.as_ref().is_ok_and(Vec::is_empty), "{garbage:?}: {answer:?}");
    }
    assert_eq!(server.metrics().violations, 3);
    server.shutdown(Duration::from_secs(5)).await;
}
