//! The flags of WebSocket: listeners of every kind at once, and flags that fit none of them.

#![cfg(feature = "websocket")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use support::{Running, run};

/// The status line of the answer to an upgrade.
fn status(broker: &Running, listener: usize, path: &str, more: &str) -> String {
    let place = broker.address(listener).split('/').next().unwrap();
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

#[test]
fn a_path_of_a_url_or_of_a_flag_is_what_is_served() {
    let listen = ["serve", "--listen", "ws://127.0.0.1:0", "--listen", "ws://127.0.0.1:0/mqtt"];
    let broker = Running::start(&listen, 2, "listening on ");
    assert!(broker.urls[1].ends_with("/mqtt"), "{}", broker.urls[1]);
    assert_eq!(status(&broker, 0, "/any", ""), "HTTP/1.1 101");
    assert_eq!(status(&broker, 1, "/mqtt?x=1", ""), "HTTP/1.1 101");
    assert_eq!(status(&broker, 1, "/any", ""), "HTTP/1.1 404");
    drop(broker);

    let flags =
        ["--websocket-path", "/a", "--websocket-path", "/b", "--websocket-origin", "https://app.example"];
    let broker = Running::start(&[&listen[..3], &flags].concat(), 1, "listening on ");
    assert_eq!(status(&broker, 0, "/b", "Origin: https://app.example\r\n"), "HTTP/1.1 101");
    assert_eq!(status(&broker, 0, "/b", "Origin: https://evil.example\r\n"), "HTTP/1.1 403");
    assert_eq!(status(&broker, 0, "/c", ""), "HTTP/1.1 404");
}

#[test]
fn flags_that_fit_no_listener_are_refused() {
    let output = run(&["serve", "--listen", "mqtt://127.0.0.1:0", "--websocket-path", "/mqtt"]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(log.contains("no ws:// or wss:// address"), "{log}");
    let output = run(&["serve", "--listen", "ws://127.0.0.1:0", "--websocket-path", "mqtt"]);
    assert!(String::from_utf8(output.stderr).expect("text").contains("\"mqtt\" cannot be served"));
}
