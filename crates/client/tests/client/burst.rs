//! Bursts of QoS 0 over TCP: an application that takes its messages as fast as it can loses none of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use gantline_client::{Client, ConnectOptions, OnFull};

const BURST: u32 = 100_000;

/// A server that answers CONNECT and then publishes numbers as fast as the socket takes them.
fn flood() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut connect = [0; 1024];
        assert!(stream.read(&mut connect).unwrap() > 0);
        let mut bytes = vec![0x20, 3, 0, 0, 0];
        for number in 0..BURST {
            bytes.extend([0x30, 8, 0, 1, b'a', 0]);
            bytes.extend(number.to_be_bytes());
        }
        stream.write_all(&bytes).unwrap();
        // Until the client has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (port, server)
}

async fn loses_nothing(options: impl FnOnce(ConnectOptions) -> ConnectOptions) {
    let (port, server) = flood();
    let client = Client::new(options(ConnectOptions::at("127.0.0.1", port).unwrap()));
    let mut messages = client.messages();
    client.reconnect().await.unwrap();
    for expected in 0..BURST {
        let message = messages.next().await.unwrap();
        assert_eq!(message.payload()[..], expected.to_be_bytes(), "{} are lost", messages.dropped());
    }
    assert_eq!(messages.dropped(), 0);
    client.disconnect().await.unwrap();
    server.join().unwrap();
}

#[tokio::test]
async fn nothing_is_lost_with_the_default_bounds() {
    loses_nothing(|options| options).await;
}

#[tokio::test]
async fn nothing_is_lost_with_small_bounds() {
    loses_nothing(|options| options.stream_bounds(3, 1 << 20)).await;
    loses_nothing(|options| options.stream_bounds(1024, 20)).await;
}

#[tokio::test]
async fn nothing_is_lost_where_the_oldest_may_be_dropped() {
    loses_nothing(|options| options.on_full(OnFull::DropOldest)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_threads() {
    loses_nothing(|options| options).await;
}
