//! How connections end: the close handshake of both roles, and peers that break the rules.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

/// The code of the CLOSE that comes next.
async fn close_code(peer: &mut Peer) -> Option<u16> {
    match peer.next().await.unwrap().unwrap() {
        Message::Close(frame) => frame.map(|frame| frame.code.into()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_shutdown_is_a_close_that_the_peer_answers() {
    let (mut client, mut server) = open().await;
    send(&mut client, b"bye").await;
    client.shutdown().await.unwrap();
    let mut read = Vec::new();
    server.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"bye");
    server.shutdown().await.unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    client.shutdown().await.unwrap();
    let error = client.write(b"x").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn both_may_close_at_once() {
    let (mut client, mut server) = open().await;
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_and_a_client_close_with_1000_and_get_the_same_back() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    server.shutdown().await.unwrap();
    assert_eq!(close_code(&mut peer).await, Some(1000));
    peer.flush().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    drop(server);
    assert!(peer.next().await.is_none(), "closed as it should be");

    let (mut client, mut peer) = open_client(WebSocketClientOptions::default()).await;
    client.shutdown().await.unwrap();
    assert_eq!(close_code(&mut peer).await, Some(1000));
    let _ = peer.flush().await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_server_sends_before_it_answers_a_close_is_read() {
    let (mut client, mut peer) = open_client(WebSocketClientOptions::default()).await;
    client.shutdown().await.unwrap();
    peer.send(Message::binary(&b"late"[..])).await.unwrap();
    assert_eq!(receive(&mut client, 4).await, b"late");
    assert_eq!(close_code(&mut peer).await, Some(1000));
    let _ = peer.flush().await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_close_of_the_peer_is_answered_even_if_we_only_read() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    peer.send(Message::binary(&b"last"[..])).await.unwrap();
    peer.close(Some(CloseFrame { code: CloseCode::Away, reason: "tab closed".into() })).await.unwrap();
    assert_eq!(receive(&mut server, 4).await, b"last");
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    drop(server);
    assert_eq!(close_code(&mut peer).await, Some(1001));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_peer_that_says_nothing() {
    let (_peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    timeout(Duration::from_secs(1), server.shutdown()).await.unwrap().unwrap();
    let (mut client, _peer) = open_client(WebSocketClientOptions::default()).await;
    timeout(Duration::from_secs(1), client.shutdown()).await.unwrap().unwrap();
    // Only who reads waits for its answer.
    assert!(timeout(Duration::from_secs(1), client.read(&mut [0])).await.is_err());
}

#[tokio::test]
async fn a_peer_that_just_goes_is_at_its_end() {
    let (client, mut server) = open().await;
    drop(client);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn text_is_refused_with_1003() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    peer.send(Message::binary(&b"good"[..])).await.unwrap();
    peer.send(Message::text("bad")).await.unwrap();
    assert_eq!(receive(&mut server, 4).await, b"good");
    let error = server.read(&mut [0]).await.unwrap_err();
    assert!(matches!(failure(&error), WebSocketFailure::TextFrame), "{error}");
    assert_eq!(close_code(&mut peer).await, Some(1003));
    assert!(server.read(&mut [0]).await.is_err(), "the error stays");

    let (mut client, mut peer) = open_client(WebSocketClientOptions::default()).await;
    peer.send(Message::text("bad")).await.unwrap();
    let error = client.read(&mut [0]).await.unwrap_err();
    assert!(matches!(failure(&error), WebSocketFailure::TextFrame), "{error}");
    assert_eq!(close_code(&mut peer).await, Some(1003));
}

#[tokio::test]
async fn a_message_above_the_bound_is_refused_with_1009() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default().max_message_size(10)).await;
    peer.send(Message::binary(&b"0123456789"[..])).await.unwrap();
    assert_eq!(receive(&mut server, 10).await, b"0123456789");
    peer.send(Message::binary(&b"0123456789-"[..])).await.unwrap();
    let error = server.read(&mut [0; 20]).await.unwrap_err();
    assert!(matches!(failure(&error), WebSocketFailure::MessageTooLarge { limit: 10 }), "{error}");
    assert_eq!(close_code(&mut peer).await, Some(1009));
}

#[tokio::test]
async fn a_broken_frame_is_refused_with_1002() {
    let (mut client, server) = accepted(WebSocketServerOptions::default());
    client.write_all(request(&[]).as_bytes()).await.unwrap();
    let mut server = server.handshake().await.unwrap();
    read_head(&mut client).await;
    // Not masked.
    client.write_all(b"\x82\x01x").await.unwrap();
    let error = server.read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().contains("does not mask"), "{error}");
    assert_eq!(receive(&mut client, 4).await, [0x88, 2, 0x03, 0xEA]);
}
