//! WebSocket on both sides: who is let in, what frames mean, how connections end, and in which words it goes wrong.

#![cfg(feature = "websocket")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod closing;
mod frames;
mod refusals;
#[cfg(feature = "tls")]
mod secure;
mod upgrade;

use std::io;

use gantline_transport::{
    Address, BindOptions, DialOptions, HandshakeError, Stream, TransportError, WebSocketClientOptions,
    WebSocketFailure, WebSocketServerOptions, accept_over, connect_over, memory,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Where nobody listens: the streams are there already.
fn address() -> Address {
    Address::new("ws://broker.example:8000/mqtt?token=1").unwrap()
}

/// A stream that a `ws://` listener with these options would have accepted, and its other end.
fn accepted(options: WebSocketServerOptions) -> (Stream, Stream) {
    let (client, server) = memory::pair();
    let address = Address::new("ws://broker.example:8000").unwrap();
    (client, accept_over(server, &address, &BindOptions::default().websocket(options)).unwrap())
}

async fn connect(stream: Stream, options: WebSocketClientOptions) -> Result<Stream, TransportError> {
    connect_over(stream, &address(), &DialOptions::default().websocket(options)).await
}

/// Our client and our server, both open.
async fn open() -> (Stream, Stream) {
    let (client, server) = accepted(WebSocketServerOptions::default());
    let (client, server) =
        tokio::join!(connect(client, WebSocketClientOptions::default()), server.handshake());
    (client.unwrap(), server.unwrap())
}

/// Our server and a client that we drive by its frames.
async fn open_server(options: WebSocketServerOptions) -> (Peer, Stream) {
    let (mut client, server) = accepted(options);
    client.write_all(request(&[]).as_bytes()).await.unwrap();
    let server = server.handshake().await.unwrap();
    read_head(&mut client).await;
    (framed(client, Role::Client).await, server)
}

/// Our client and a server that we drive by its frames.
async fn open_client(options: WebSocketClientOptions) -> (Stream, Peer) {
    let (client, mut server) = memory::pair();
    let answering = async {
        let request = read_head(&mut server).await;
        let answer = answer(&request, "Sec-WebSocket-Protocol: mqtt\r\n");
        server.write_all(answer.as_bytes()).await.unwrap();
        framed(server, Role::Server).await
    };
    let (client, server) = tokio::join!(connect(client, options), answering);
    (client.unwrap(), server)
}

/// Somebody else's implementation.
type Peer = WebSocketStream<Stream>;

async fn framed(stream: Stream, role: Role) -> Peer {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    WebSocketStream::from_raw_socket(stream, role, Some(config)).await
}

/// A request, with headers beside those that have to be there.
fn request(more: &[&str]) -> String {
    let mut request =
        "GET /mqtt HTTP/1.1\r\nHost: broker.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_owned();
    for line in if more.is_empty() { &["Sec-WebSocket-Protocol: mqtt"] } else { more } {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request + "\r\n"
}

/// The right answer to a request.
fn answer(request: &str, more: &str) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// Everything up to the empty line and nothing beyond it.
async fn read_head(stream: &mut Stream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Writes and flushes.
async fn send(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

async fn receive(stream: &mut Stream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn failure(error: &io::Error) -> &WebSocketFailure {
    WebSocketFailure::of(error).unwrap_or_else(|| panic!("{error:?}"))
}

fn of_client(error: TransportError) -> WebSocketFailure {
    match error {
        TransportError::WebSocket { failure, .. } => *failure,
        error => panic!("{error}"),
    }
}

fn of_server(error: HandshakeError) -> WebSocketFailure {
    match error {
        HandshakeError::WebSocket(failure) => failure,
        error => panic!("{error}"),
    }
}
