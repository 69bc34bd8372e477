//! The same conversation over every transport, and how listening and connecting go wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use gantline_transport::{
    AcceptBackoff, Address, BindOptions, DialOptions, Framed, FramedError, Listener, Scheme, Stream,
    TcpOptions, TransportError, accept, bind, connect, memory,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SIZES: [usize; 8] = [1, 2, 125, 4 << 10, 65_535, 65_536, 1 << 20, 10_000_000];

fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

async fn listener(text: &str) -> Box<dyn Listener> {
    bind(&address(text), &BindOptions::default()).await.unwrap()
}

async fn accepted(listener: &mut dyn Listener) -> Stream {
    accept(listener, &mut AcceptBackoff::new()).await.unwrap()
}

/// Client and server end of a fresh connection.
async fn connection(text: &str) -> (Stream, Stream) {
    let mut listener = listener(text).await;
    let client = connect(&listener.local_address(), &DialOptions::default()).await.unwrap();
    (client, accepted(&mut *listener).await)
}

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed) as u8).collect()
}

/// Sends `len` bytes and receives as many at the same time, then says that nothing more comes.
async fn talk(mut stream: Stream, seed: usize, len: usize) {
    let (own, expected) = (bytes(seed, len), bytes(1 - seed, len));
    let (mut written, mut received) = (0, Vec::new());
    let mut buffer = vec![0; 100_000];
    poll_fn(|cx| {
        while written < own.len() {
            let Poll::Ready(wrote) = stream.poll_write(cx, &own[written..]) else { break };
            written += wrote.unwrap();
        }
        while received.len() < expected.len() {
            let read = ready!(stream.poll_read(cx, &mut buffer)).unwrap();
            assert_ne!(read, 0, "the peer has more to say");
            received.extend_from_slice(&buffer[..read]);
        }
        if written < own.len() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    assert!(received == expected, "{len} bytes came unchanged and in order");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "the end of the peer comes after its bytes");
}

async fn converse(client: Stream, server: Stream, len: usize) {
    let other = tokio::spawn(talk(server, 1, len));
    talk(client, 0, len).await;
    other.await.unwrap();
}

#[tokio::test]
async fn every_size_goes_both_ways_over_tcp() {
    for len in SIZES {
        let (client, server) = connection("mqtt://127.0.0.1:0").await;
        converse(client, server, len).await;
    }
}

#[cfg(feature = "tls")]
mod over_tls {
    use gantline_test_support::certificates::Authority;
    use gantline_transport::{
        Certificates, ClientCertificates, PrivateKey, TlsAcceptor, TlsClientOptions, TlsServerOptions,
        TlsVersion,
    };

    use super::*;

    /// Client and server end of a fresh TLS connection; both have a certificate if it is mutual.
    async fn connection(version: TlsVersion, mutual: bool) -> (Stream, Stream) {
        let (ca, device) = (Authority::new("ca"), Authority::new("devices"));
        let (server, client) = (ca.server(&["localhost"]), device.client("device"));
        let mut ours = TlsClientOptions::default().ca(Certificates::pem(ca.pem())).versions(&[version]);
        let mut theirs =
            TlsServerOptions::new(Certificates::pem(server.certificate), PrivateKey::pem(server.key));
        if mutual {
            let key = PrivateKey::der(client.key_der);
            ours = ours.client_certificate(Certificates::der([client.certificate_der.clone()]), key);
            theirs = theirs
                .client_ca(Certificates::der([device.der()]))
                .client_certificates(ClientCertificates::Required);
        }
        let options = BindOptions::default().tls(TlsAcceptor::new(theirs).unwrap());
        let mut listener = bind(&address("mqtts://localhost:0"), &options).await.unwrap();
        let port = listener.local_address().port().unwrap();
        let accepting =
            tokio::spawn(async move { accepted(&mut *listener).await.handshake().await.unwrap() });
        let options = DialOptions::default().tls(ours);
        let client_end = connect(&address(&format!("mqtts://localhost:{port}")), &options).await.unwrap();
        let server_end = accepting.await.unwrap();
        for (end, certificates) in [(&client_end, 1), (&server_end, usize::from(mutual))] {
            let tls = end.info().tls().unwrap();
            assert_eq!((tls.version(), tls.peer_certificates().len()), (version, certificates));
            assert_eq!(end.info().scheme(), Scheme::Mqtts);
        }
        if mutual {
            assert_eq!(server_end.info().tls().unwrap().peer_certificates()[0], client.certificate_der);
        }
        (client_end, server_end)
    }

    #[tokio::test]
    async fn every_size_goes_both_ways_over_each_version() {
        for version in TlsVersion::ALL {
            for mutual in [false, true] {
                for len in SIZES {
                    let (client, server) = connection(version, mutual).await;
                    converse(client, server, len).await;
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_ends_may_run_in_parallel() {
        let (client, server) = connection(TlsVersion::V1_3, false).await;
        converse(client, server, 10_000_000).await;
    }

    #[tokio::test]
    async fn packets_go_both_ways() {
        for version in TlsVersion::ALL {
            let (client, server) = connection(version, false).await;
            exchange_packets(client, server).await;
        }
    }
}

#[tokio::test]
async fn every_size_goes_both_ways_in_memory() {
    for len in SIZES {
        let (client, server) = connection("memory://sizes").await;
        converse(client, server, len).await;
        let (client, server) = memory::pair();
        converse(client, server, len).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_may_run_in_parallel() {
    for text in ["mqtt://127.0.0.1:0", "memory://parallel"] {
        let (client, server) = connection(text).await;
        converse(client, server, 10_000_000).await;
    }
}

#[tokio::test]
async fn packets_go_both_ways_over_every_transport() {
    for text in ["mqtt://127.0.0.1:0", "memory://packets"] {
        let (client, server) = connection(text).await;
        exchange_packets(client, server).await;
    }
}

async fn exchange_packets(client: Stream, server: Stream) {
    let (mut client, mut server) = (Framed::new(client, 1 << 20), Framed::new(server, 1 << 20));
    let large = [&[0x30, 0x80, 0x80, 0x20][..], &bytes(0, 0x80000)].concat();
    let echo = tokio::spawn(async move {
        let mut frame = Vec::new();
        while server.next_frame(&mut frame).await.is_ok() {
            server.out().extend_from_slice(&frame);
            server.flush().await.unwrap();
        }
        server.close().await.unwrap();
    });
    let mut frame = Vec::new();
    for packet in [&[0xC0, 0x00][..], &large, &[0xC0, 0x00]] {
        client.out().extend_from_slice(packet);
        client.flush().await.unwrap();
        assert_eq!(client.heap_bytes(), 0, "nothing is held while nothing happens");
        client.next_frame(&mut frame).await.unwrap();
        assert!(frame == packet);
    }
    client.close().await.unwrap();
    assert!(matches!(client.next_frame(&mut frame).await, Err(FramedError::Closed)));
    echo.await.unwrap();
}

#[tokio::test]
async fn the_ends_know_each_other() {
    let (client, server) = connection("mqtt://127.0.0.1:0").await;
    let (ours, theirs) = (client.info(), server.info());
    assert_eq!((ours.scheme(), theirs.scheme()), (Scheme::Mqtt, Scheme::Mqtt));
    assert!(ours.peer().socket().is_some_and(|socket| socket.ip().is_loopback() && socket.port() != 0));
    assert_eq!((ours.peer(), ours.local()), (theirs.local(), theirs.peer()));
    assert_eq!(ours.to_string(), format!("mqtt://{}", ours.peer()));

    let (client, server) = connection("memory://ends").await;
    assert_eq!(client.info().to_string(), "memory://ends");
    assert!(server.info().to_string().starts_with("memory://ends#"), "{}", server.info());
}

#[tokio::test]
async fn no_host_means_this_machine() {
    let mut listener = listener("mqtt://:0").await;
    let port = listener.local_address().port().unwrap();
    for host in ["127.0.0.1", ""] {
        let client =
            connect(&address(&format!("mqtt://{host}:{port}")), &DialOptions::default()).await.unwrap();
        converse(client, accepted(&mut *listener).await, 10).await;
    }
}

#[tokio::test]
async fn options_reach_the_socket() {
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let tcp = TcpOptions::default()
        .keep_alive(Some(Duration::from_secs(60)))
        .backlog(1)
        .reuse_address(true)
        .local_address(Some(free));
    let binding = BindOptions::default().tcp(tcp.clone());
    let mut listener = bind(&address("mqtt://127.0.0.1:0"), &binding).await.unwrap();
    let client = connect(&listener.local_address(), &DialOptions::default().tcp(tcp)).await.unwrap();
    assert_eq!(client.info().local().socket().unwrap().ip(), free.ip());
    converse(client, accepted(&mut *listener).await, 10).await;
}

#[tokio::test]
async fn a_local_address_of_the_other_ip_version_reaches_nothing() {
    let tcp = TcpOptions::default().local_address(Some("[::1]:0".parse().unwrap()));
    let options = DialOptions::default().tcp(tcp);
    let error = connect(&address("mqtt://127.0.0.1:1"), &options).await.unwrap_err();
    assert!(matches!(error, TransportError::NoAddress { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_connection_says_what_was_tried() {
    let free = listener("mqtt://127.0.0.1:0").await.local_address();
    let error = connect(&free, &DialOptions::default()).await.unwrap_err();
    let TransportError::Unreachable { attempts, .. } = &error else { panic!("{error}") };
    let (tried, cause) = attempts.iter().next().unwrap();
    assert_eq!((attempts.iter().len(), cause.kind()), (1, io::ErrorKind::ConnectionRefused));
    assert_eq!(error.to_string(), format!("{free} cannot be reached: {tried}: {cause}"));
}

#[tokio::test]
async fn a_taken_port_cannot_be_listened_on() {
    let first = listener("mqtt://127.0.0.1:0").await;
    let Err(error) = bind(&first.local_address(), &BindOptions::default()).await else { panic!() };
    assert!(
        matches!(&error, TransportError::Bind { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse),
        "{error}"
    );
}

#[tokio::test]
async fn port_zero_cannot_be_connected_to() {
    let error =
        connect(&address("mqtt://user:secret@localhost:0"), &DialOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "mqtt://localhost:0 cannot be connected to: port 0 is for listening only");
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_scheme_that_was_left_out_is_named() {
    let left_out: &[(&str, &str)] = &[
        #[cfg(not(feature = "tls"))]
        ("mqtts://host", "mqtts:// is not supported by this build"),
        #[cfg(not(feature = "websocket"))]
        ("ws://host", "ws:// is not supported by this build"),
        #[cfg(not(feature = "websocket"))]
        ("wss://host", "wss:// is not supported by this build"),
        #[cfg(not(unix))]
        ("unix:///tmp/x", "unix:// is not supported by this build"),
    ];
    for &(text, expected) in left_out {
        assert_eq!(connect(&address(text), &DialOptions::default()).await.unwrap_err().to_string(), expected);
        let Err(error) = bind(&address(text), &BindOptions::default()).await else { panic!() };
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_listener_and_is_free_afterwards() {
    let (options, dialing) = (BindOptions::default(), DialOptions::default());
    let name = address("memory://one-owner");
    let unbound = || async { connect(&name, &dialing).await.unwrap_err().to_string() };
    assert_eq!(unbound().await, "nothing in this process listens on memory://one-owner");

    let first = bind(&name, &options).await.unwrap();
    let Err(error) = bind(&name, &options).await else { panic!() };
    assert_eq!(error.to_string(), "memory://one-owner is listened on already");

    drop(first);
    assert_eq!(unbound().await, "nothing in this process listens on memory://one-owner");
    let mut second = bind(&name, &options).await.unwrap();
    let client = connect(&name, &dialing).await.unwrap();
    converse(client, accepted(&mut *second).await, 10).await;
}

#[tokio::test]
async fn a_listener_that_stops_disappoints_those_who_wait() {
    let options = BindOptions::default().tcp(TcpOptions::default().backlog(1));
    let name = address("memory://stops");
    let listener = bind(&name, &options).await.unwrap();
    let mut queued = connect(&name, &DialOptions::default()).await.unwrap();
    let waiting = tokio::spawn({
        let name = name.clone();
        async move { connect(&name, &DialOptions::default()).await }
    });
    tokio::task::yield_now().await;
    drop(listener);
    assert!(matches!(waiting.await.unwrap(), Err(TransportError::NameNotBound { .. })));
    assert_eq!(queued.read(&mut [0]).await.unwrap(), 0, "a connection that nobody accepts is closed");
}

#[test]
fn a_connection_moves_to_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    for text in ["mqtt://127.0.0.1:0", "memory://moves"] {
        let (mut client, server) = first.block_on(connection(text));
        let detached = first.block_on(async { server.detach() }).unwrap();
        let expected = client.info().peer().clone();
        if let Some(local) = detached.info().local().socket() {
            assert_eq!(expected.socket(), Some(local));
        }
        let worker = std::thread::scope(|scope| {
            let echo = scope.spawn(|| {
                second.block_on(async {
                    let mut server = detached.attach().unwrap();
                    let mut buffer = [0; 5];
                    server.read_exact(&mut buffer).await.unwrap();
                    server.write_all(&buffer).await.unwrap();
                    server.shutdown().await.unwrap();
                });
            });
            first.block_on(async {
                client.write_all(b"hello").await.unwrap();
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, b"hello");
            });
            echo.join()
        });
        worker.unwrap();
    }
}

#[test]
fn what_tasks_hold_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Stream>();
    is_send::<Box<dyn Listener>>();
    is_send::<Framed>();
    is_send::<gantline_transport::Detached>();
    is_send::<TransportError>();
}
