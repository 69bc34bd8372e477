//! The PROXY protocol on listeners: who has to send a header, who must not, and that everything behind it is left
//! alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::SocketAddr;

use gantline_transport::{
    AcceptBackoff, Address, BindOptions, Endpoint, HandshakeError, PeerInfo, ProxyHeaderError, ProxyProtocol,
    Scheme, Stream, TransportError, accept, accept_over, bind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 52311 1883\r\n";
/// Version 2, LOCAL.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";

fn trusting(networks: &[&str]) -> BindOptions {
    let networks = networks.iter().map(|network| network.parse().unwrap());
    BindOptions::default().proxy_protocol(ProxyProtocol::from_networks(networks))
}

/// What becomes of a connection whose client sends this, and the address of that client.
async fn accepted(
    listening: &str,
    options: &BindOptions,
    sent: &[u8],
) -> (Result<Stream, HandshakeError>, SocketAddr, TcpStream) {
    let mut listener = bind(&Address::new(listening).unwrap(), options).await.unwrap();
    let port = listener.local_address().port().unwrap();
    assert_eq!(listener.local_address().scheme(), Scheme::Mqtt);
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(sent).await.unwrap();
    let stream = accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap();
    (stream.handshake().await, client.local_addr().unwrap(), client)
}

async fn begins_with_connect(stream: &mut Stream) {
    let mut read = vec![0; CONNECT.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, CONNECT, "not a byte behind the header was taken");
}

#[tokio::test]
async fn a_trusted_load_balancer_tells_the_address_of_the_client() {
    // The last one shows its peers as IPv6 addresses.
    for listening in ["mqtt://127.0.0.1:0", "mqtt://0.0.0.0:0", "mqtt://:0"] {
        let options = trusting(&["10.0.0.0/8", "127.0.0.0/8"]);
        let (stream, _, _client) = accepted(listening, &options, &[LINE, CONNECT].concat()).await;
        let mut stream = stream.unwrap();
        assert_eq!(stream.info().to_string(), "mqtt://192.0.2.1:52311");
        begins_with_connect(&mut stream).await;
    }
}

#[tokio::test]
async fn a_header_without_an_address_changes_nothing() {
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let options = trusting(&["127.0.0.1"]);
        let (stream, peer, _client) =
            accepted("mqtt://127.0.0.1:0", &options, &[header, CONNECT].concat()).await;
        let mut stream = stream.unwrap();
        assert_eq!(stream.info().peer(), &Endpoint::from(peer));
        begins_with_connect(&mut stream).await;
    }
}

#[tokio::test]
async fn who_is_trusted_has_to_send_one() {
    let options = trusting(&["127.0.0.1"]);
    let (stream, ..) = accepted("mqtt://127.0.0.1:0", &options, CONNECT).await;
    let error = stream.unwrap_err();
    assert!(matches!(error, HandshakeError::ProxyProtocol(ProxyHeaderError::Missing)), "{error}");
}

#[tokio::test]
async fn who_is_not_trusted_is_a_client_and_cannot_claim_an_address() {
    let options = trusting(&["10.0.0.0/8"]);
    let (stream, peer, _client) = accepted("mqtt://127.0.0.1:0", &options, CONNECT).await;
    let mut stream = stream.unwrap();
    assert_eq!(stream.info().peer(), &Endpoint::from(peer));
    begins_with_connect(&mut stream).await;
    for header in [LINE, LOCAL] {
        let (stream, ..) = accepted("mqtt://127.0.0.1:0", &options, &[header, CONNECT].concat()).await;
        let error = stream.unwrap_err();
        assert!(matches!(error, HandshakeError::ProxyProtocol(ProxyHeaderError::Untrusted)), "{error}");
    }
}

#[tokio::test]
async fn streams_of_ones_own_may_begin_with_one() {
    let address = Address::new("mqtt://broker.test").unwrap();
    for (peer, trusted) in
        [(Endpoint::from("a tunnel"), true), (Endpoint::from(SocketAddr::from(([10, 0, 0, 1], 1))), true)]
    {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let stream = Stream::from_io(theirs, PeerInfo::new(Scheme::Mqtt, peer, ""));
        let stream = accept_over(stream, &address, &trusting(&["10.0.0.0/8"])).unwrap();
        ours.write_all(&[LINE, CONNECT].concat()).await.unwrap();
        let mut stream = stream.handshake().await.unwrap();
        assert_eq!(stream.info().to_string() == "mqtt://192.0.2.1:52311", trusted);
        begins_with_connect(&mut stream).await;
    }
}

#[tokio::test]
async fn what_has_no_tcp_has_no_load_balancer() {
    for url in [
        "memory://balanced",
        #[cfg(unix)]
        "unix:///tmp/gantline-balanced.sock",
    ] {
        let Err(error) = bind(&Address::new(url).unwrap(), &trusting(&["::/0"])).await else { panic!() };
        assert!(matches!(error, TransportError::OptionUnused { option: "proxy_protocol", .. }), "{error}");
    }
}

#[cfg(feature = "tls")]
mod over_tls {
    use gantline_test_support::certificates::Authority;
    use gantline_transport::{
        Certificates, DialOptions, PrivateKey, TlsAcceptor, TlsClientOptions, TlsServerOptions, connect_over,
    };

    use super::*;

    #[tokio::test]
    async fn the_header_stands_before_the_handshake() {
        let ca = Authority::new("ca");
        let identity = ca.server(&["localhost"]);
        let tls =
            TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key));
        let options = trusting(&["127.0.0.1"]).tls(TlsAcceptor::new(tls).unwrap());
        let mut listener = bind(&Address::new("mqtts://127.0.0.1:0").unwrap(), &options).await.unwrap();
        let port = listener.local_address().port().unwrap();
        let accepting = tokio::spawn(async move {
            accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await.unwrap()
        });
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tcp.write_all(LINE).await.unwrap();
        let stream = Stream::from_io(tcp, PeerInfo::new(Scheme::Mqtt, "balancer", ""));
        let trust = DialOptions::default().tls(TlsClientOptions::default().ca(Certificates::pem(ca.pem())));
        let address = Address::new("mqtts://localhost").unwrap();
        let mut client = connect_over(stream, &address, &trust).await.unwrap();
        let mut server = accepting.await.unwrap();
        assert_eq!(server.info().to_string(), "mqtts://192.0.2.1:52311");
        assert!(server.info().tls().is_some());
        client.write_all(CONNECT).await.unwrap();
        client.flush().await.unwrap();
        begins_with_connect(&mut server).await;
    }
}
