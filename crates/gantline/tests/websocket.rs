//! Our client and our server together over WebSocket: URLs, options, strangers that never finish, and the errors that
//! people see.

#![cfg(all(feature = "client", feature = "server", feature = "websocket"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use gantline::client::{ConnectError, OptionsError, TransportError, WebSocketFailure};
use gantline::server::{ConnectionRequest, Listener, Verdict};
use gantline::transport::{AddressError, BindOptions, PeerInfo, Stream, accept_over, memory};
use gantline::{
    Address, Client, ConnectOptions, Message, QoS, ReasonCode, RunningServer, Server, ServerOptions,
    StartError, WebSocketClientOptions, WebSocketServerOptions,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;

async fn serve(options: WebSocketServerOptions) -> RunningServer {
    let server =
        Server::new(ServerOptions::default()).listen("ws://localhost:0").listen("mqtt://localhost:0");
    server.websocket(options).start().await.unwrap()
}

/// The host and port of a listener.
fn place(server: &RunningServer, listener: usize) -> String {
    format!("localhost:{}", server.local_addresses()[listener].port().unwrap())
}

async fn echo(client: &Client) {
    let mut messages = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    client.publish(Message::new("t", "x").unwrap().qos(QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(messages.next().await.expect("a message").payload_str().unwrap(), "x");
}

fn failure(error: ConnectError) -> WebSocketFailure {
    match error {
        ConnectError::Unreachable(TransportError::WebSocket { failure, .. }) => *failure,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_url_needs_no_scheme() {
    let server = serve(WebSocketServerOptions::default().paths(["/mqtt"])).await;
    let client =
        Client::connect(ConnectOptions::websocket(place(&server, 0) + "/mqtt").unwrap()).await.unwrap();
    echo(&client).await;
    client.disconnect().await.unwrap();

    let shown = |url: &str| ConnectOptions::websocket(url).unwrap().address().unwrap().to_string();
    assert_eq!(shown("broker:8000/mqtt?a=b"), "ws://broker:8000/mqtt?***");
    assert_eq!(shown("broker"), "ws://broker:80/");
    assert_eq!(shown("user:secret@broker/mqtt"), "ws://broker:80/mqtt");
    assert_eq!(shown("wss://broker/mqtt"), "wss://broker:443/mqtt");
    let error = ConnectOptions::websocket("mqtt://broker").unwrap_err();
    assert!(matches!(error, OptionsError::NotOfWebSocket { .. }), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn a_url_without_a_scheme_is_secure_if_there_is_tls() {
    let tls = gantline::TlsClientOptions::default;
    let shown = |url: &str| ConnectOptions::websocket(url).unwrap().tls(tls()).address().unwrap().to_string();
    assert_eq!(shown("broker/mqtt"), "wss://broker:443/mqtt");
    assert_eq!(shown("broker:8084/mqtt"), "wss://broker:8084/mqtt");
    let error = ConnectOptions::websocket("ws://broker").unwrap().tls(tls()).check().unwrap_err();
    assert_eq!(error, OptionsError::TlsWithoutAddress);
}

#[tokio::test]
async fn the_validator_sees_the_request() {
    let validator = |client: ConnectionRequest| async move {
        let asked = client.peer().websocket().expect("WebSocket");
        let known = asked.header("authorization") == Some(b"Basic dTpw") && asked.path() == "/mqtt?room=7";
        if known { Verdict::accept() } else { Verdict::refuse(ReasonCode::NotAuthorized) }
    };
    let server = Server::new(ServerOptions::default())
        .listen("ws://localhost:0")
        .websocket(WebSocketServerOptions::default().keep_headers(["Authorization"]))
        .validate_connections(validator)
        .start()
        .await
        .unwrap();
    let options = || ConnectOptions::websocket(place(&server, 0) + "/mqtt?room=7").unwrap();
    let error = Client::connect(options()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    let credentials = WebSocketClientOptions::default().basic_credentials("u", "p");
    Client::connect(options().websocket_options(credentials)).await.unwrap();
}

#[tokio::test]
async fn schemes_that_are_mixed_up_are_told_apart() {
    let server = serve(WebSocketServerOptions::default().paths(["/mqtt"])).await;
    let connect = |url: String| Client::connect(ConnectOptions::new(url).unwrap());
    let error = connect(format!("mqtt://{}", place(&server, 0))).await.unwrap_err();
    assert!(matches!(error, ConnectError::NeedsWebSocket), "{error}");
    let failed = failure(connect(format!("ws://{}/mqtt", place(&server, 1))).await.unwrap_err());
    assert!(matches!(failed, WebSocketFailure::Closed), "{failed}");
    let failed = failure(connect(format!("ws://{}/", place(&server, 0))).await.unwrap_err());
    assert!(matches!(failed, WebSocketFailure::Refused { status: 404, .. }), "{failed}");
    let chat = WebSocketClientOptions::default().sub_protocols(["chat"]);
    let options = ConnectOptions::websocket(place(&server, 0) + "/mqtt").unwrap().websocket_options(chat);
    let failed = failure(Client::connect(options).await.unwrap_err());
    assert!(matches!(failed, WebSocketFailure::Refused { status: 400, .. }), "{failed}");
}

#[tokio::test]
async fn options_without_an_address_for_them_are_errors() {
    let options = ConnectOptions::new("mqtt://localhost").unwrap();
    let error = options.websocket_options(WebSocketClientOptions::default()).check().unwrap_err();
    assert_eq!(error, OptionsError::WebSocketWithoutAddress);
    let server = Server::new(ServerOptions::default()).listen("mqtt://localhost:0");
    let error = server.websocket(WebSocketServerOptions::default()).start().await.unwrap_err();
    assert!(matches!(error, StartError::WebSocketUnused), "{error}");
}

/// A listener at whose door streams are put.
struct Door(mpsc::UnboundedReceiver<Stream>);

impl Listener for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.0.poll_recv(cx).map(|stream| stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }

    fn local_address(&self) -> Address {
        address().unwrap()
    }
}

fn address() -> Result<Address, AddressError> {
    Address::new("ws://door/mqtt")
}

#[tokio::test(start_paused = true)]
async fn a_thousand_half_open_upgrades_neither_block_the_door_nor_outlive_their_time() {
    let (door, incoming) = mpsc::unbounded_channel();
    let server = Server::new(ServerOptions::default()).listener(Door(incoming)).start().await.unwrap();
    let knock = || {
        let (ours, theirs) = memory::pair();
        door.send(accept_over(theirs, &address().unwrap(), &BindOptions::default()).unwrap()).unwrap();
        ours
    };
    let begun = Instant::now();
    let mut half_open = Vec::new();
    for number in 0..1000 {
        let mut stream = knock();
        // One in four says nothing at all.
        if number % 4 > 0 {
            stream.write_all(b"GET /mqtt HTTP/1.1\r\nHost: door\r\n").await.unwrap();
        }
        half_open.push(stream);
    }
    let client = Client::connect_with(ConnectOptions::to(address().unwrap()), knock()).await.unwrap();
    echo(&client).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody was waited for");
    assert_eq!(server.metrics().connections, 1001);

    for stream in &mut half_open {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
    assert_eq!(begun.elapsed().as_secs(), 5, "the connect time-out");
    assert_eq!(server.metrics().connections, 1);
    echo(&client).await;
}

/// Shakes hands by hand.
async fn upgrade(stream: &mut Stream) {
    let request = "GET /mqtt HTTP/1.1\r\nHost: door\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_same_breath_is_answered_and_told_that_the_end_is_one() {
    let server = Server::new(ServerOptions::default()).start().await.unwrap();
    let (mut ours, theirs) = memory::pair();
    server.accept(theirs, &address().unwrap()).unwrap();
    upgrade(&mut ours).await;
    // One frame, of which the mask changes nothing: CONNECT and DISCONNECT of 3.1.1.
    ours.write_all(b"\x82\x91\0\0\0\0\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a\xE0\0").await.unwrap();
    let mut answer = [0; 10];
    ours.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"\x82\x04\x20\x02\0\0\x88\x02\x03\xE8", "CONNACK, and CLOSE with code 1000");
    ours.write_all(b"\x88\x82\0\0\0\0\x03\xE8").await.unwrap();
    assert_eq!(ours.read(&mut [0]).await.unwrap(), 0);
}

/// A stream that knows whether its end was told or is only to be guessed.
struct Told {
    inner: Stream,
    end: Arc<AtomicBool>,
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Told {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.store(true, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream, and whether its end will have been told.
fn watched(inner: Stream) -> (Stream, Arc<AtomicBool>) {
    let (info, end) = (PeerInfo::clone(inner.info()), Arc::new(AtomicBool::new(false)));
    (Stream::from_io(Told { inner, end: Arc::clone(&end) }, info), end)
}

#[tokio::test(start_paused = true)]
async fn both_ends_close_what_lies_below_websocket_too() {
    let server = Server::new(ServerOptions::default()).start().await.unwrap();
    let (ours, theirs) = memory::pair();
    let ((ours, told_by_us), (theirs, told_by_them)) = (watched(ours), watched(theirs));
    server.accept(theirs, &address().unwrap()).unwrap();
    let client = Client::connect_with(ConnectOptions::to(address().unwrap()), ours).await.unwrap();
    client.disconnect().await.unwrap();
    drop(client);
    server.shutdown(Duration::from_secs(5)).await;
    assert!(told_by_us.load(Ordering::Relaxed), "TLS would hear of it");
    assert!(told_by_them.load(Ordering::Relaxed), "TLS would hear of it");
}

#[tokio::test(start_paused = true)]
async fn who_breaks_websocket_is_told_by_every_layer() {
    // Frames of which the mask changes nothing: CONNECT of 3.1.1, and text.
    let connect = &b"\x82\x8F\0\0\0\0\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a"[..];
    let text = &b"\x81\x82\0\0\0\0hi"[..];
    let server = Server::new(ServerOptions::default()).start().await.unwrap();
    let (connack, close) = (&b"\x82\x04\x20\x02\0\0"[..], &b"\x88\x02\x03\xEB"[..]);
    let both = [connect, text].concat();
    // Who breaks it before CONNECT is answered gets no answer: nothing follows a CLOSE.
    for (first, answer, second) in [(text, &b""[..], &b""[..]), (connect, connack, text), (&both, b"", b"")] {
        let (mut ours, theirs) = memory::pair();
        let (theirs, told) = watched(theirs);
        server.accept(theirs, &address().unwrap()).unwrap();
        upgrade(&mut ours).await;
        ours.write_all(first).await.unwrap();
        let mut said = vec![0; answer.len()];
        ours.read_exact(&mut said).await.unwrap();
        ours.write_all(second).await.unwrap();
        ours.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, [answer, close].concat(), "CLOSE with code 1003");
        assert!(told.load(Ordering::Relaxed), "TLS would hear of it");
    }
    assert_eq!(server.metrics().violations, 3);
}
