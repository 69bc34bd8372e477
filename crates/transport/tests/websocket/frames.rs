//! Bytes in frames: how they are cut means nothing to the reader, and a batch is one frame to the peer.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gantline_transport::Framed;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;

/// Bytes that are not all the same.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

/// One frame of a message.
fn piece(opcode: Data, is_final: bool, payload: &[u8]) -> Message {
    Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(opcode), is_final))
}

/// The next PUBLISH or other packet.
async fn packet(framed: &mut Framed) -> Vec<u8> {
    let mut packet = Vec::new();
    framed.next_frame(&mut packet).await.unwrap();
    packet
}

#[tokio::test]
async fn bytes_go_both_ways_whatever_their_number() {
    let (mut client, mut server) = open().await;
    for len in [1, 2, 125, 126, 127, 65_535, 65_536, 65_537, 300_000, 10 << 20] {
        let bytes = pattern(len);
        let (came, ()) = tokio::join!(receive(&mut server, len), send(&mut client, &bytes));
        assert!(came == bytes, "{len} bytes to the server");
        let (came, ()) = tokio::join!(receive(&mut client, len), send(&mut server, &bytes));
        assert!(came == bytes, "{len} bytes to the client");
    }
}

#[tokio::test]
async fn a_packet_may_be_split_over_frames_and_frames_may_hold_several() {
    let publish = [0x30, 5, 0, 1, b't', b'h', b'i'];
    let (mut peer, server) = open_server(WebSocketServerOptions::default()).await;
    let mut server = Framed::new(server, 1000);
    for byte in publish {
        peer.send(Message::binary(vec![byte])).await.unwrap();
    }
    assert_eq!(packet(&mut server).await, publish);
    peer.send(Message::binary([publish, publish].concat())).await.unwrap();
    peer.send(piece(Data::Binary, false, &publish[..3])).await.unwrap();
    peer.send(Message::Ping(Bytes::from_static(b"between"))).await.unwrap();
    peer.send(piece(Data::Continue, false, &[])).await.unwrap();
    peer.send(piece(Data::Continue, true, &publish[3..])).await.unwrap();
    for _ in 0..3 {
        assert_eq!(packet(&mut server).await, publish);
    }
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"between")));

    let (client, mut peer) = open_client(WebSocketClientOptions::default()).await;
    let mut client = Framed::new(client, 1000);
    peer.send(Message::binary([&publish[..], &publish[..4]].concat())).await.unwrap();
    peer.send(Message::binary(publish[4..].to_vec())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(packet(&mut client).await, publish);
    }
}

#[tokio::test]
async fn what_is_flushed_together_is_one_binary_frame() {
    let (mut peer, server) = open_server(WebSocketServerOptions::default()).await;
    let (client, mut other_peer) = open_client(WebSocketClientOptions::default()).await;
    for (framed, peer) in [(server, &mut peer), (client, &mut other_peer)] {
        let mut framed = Framed::new(framed, 1000);
        for len in [100, 100_000, 3 << 20] {
            let (small, large) = (pattern(len), Bytes::from(pattern(2 * len)));
            framed.out().extend_from_slice(&small);
            framed.push_shared(large.clone());
            framed.out().extend_from_slice(&small);
            let expected = [&small[..], &large, &small].concat();
            let (message, flushed) = tokio::join!(peer.next(), framed.flush());
            flushed.unwrap();
            let message = message.unwrap().unwrap();
            assert!(message.is_binary());
            assert!(message.into_data() == expected, "one message with everything of {len}");
        }
    }
}

#[tokio::test]
async fn pings_are_answered_while_somebody_reads() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    peer.send(Message::Ping(Bytes::from_static(b"a"))).await.unwrap();
    peer.send(Message::Pong(Bytes::from_static(b"unasked"))).await.unwrap();
    let mut byte = [0];
    assert!(poll_fn(|cx| Poll::Ready(server.poll_read(cx, &mut byte))).await.is_pending());
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"a")));
}

#[tokio::test]
async fn a_ping_in_the_middle_of_our_frame_is_answered_behind_it() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    let bytes = pattern(200_000);
    let cx = &mut Context::from_waker(Waker::noop());
    // More than the pipe holds: the frame has begun and waits.
    let Poll::Ready(Ok(first)) = server.poll_write(cx, &bytes) else { panic!("nothing is written") };
    assert!(server.poll_write(cx, &bytes[first..]).is_pending());
    peer.send(Message::Ping(Bytes::from_static(b"now"))).await.unwrap();
    assert!(server.poll_read(cx, &mut [0]).is_pending());
    let writing = async {
        server.write_all(&bytes[first..]).await.unwrap();
        server.flush().await.unwrap();
    };
    let reading = async { (peer.next().await.unwrap().unwrap(), peer.next().await.unwrap().unwrap()) };
    let ((), (message, pong)) = tokio::join!(writing, reading);
    assert!(message.into_data() == bytes);
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"now")));
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_by_its_last_and_held_nowhere() {
    let (mut peer, mut server) = open_server(WebSocketServerOptions::default()).await;
    // The pipe to the peer is full, so no PONG gets through.
    let bytes = pattern(300_000);
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(first)) = server.poll_write(cx, &bytes) else { panic!("nothing is written") };
    assert!(server.poll_write(cx, &bytes[first..]).is_pending());
    for number in 0..2000_u32 {
        peer.send(Message::Ping(number.to_be_bytes().to_vec().into())).await.unwrap();
        assert!(server.poll_read(cx, &mut [0; 1000]).is_pending());
    }
    let writing = async {
        server.write_all(&bytes[first..]).await.unwrap();
        server.flush().await.unwrap();
    };
    let reading = async { (peer.next().await.unwrap().unwrap(), peer.next().await.unwrap().unwrap()) };
    let ((), (message, pong)) = tokio::join!(writing, reading);
    assert_eq!(message.len(), bytes.len());
    assert_eq!(pong, Message::Pong(1999_u32.to_be_bytes().to_vec().into()));
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_the_writer_up() {
    let (mut client, mut server) = open().await;
    let bytes = pattern(64 << 10);
    for stream in [&mut client, &mut server] {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut taken = 0;
        while let Poll::Ready(written) = stream.poll_write(cx, &bytes) {
            taken += written.unwrap();
            assert!(taken <= 64 << 10, "no more than the pipe holds");
        }
    }
}
