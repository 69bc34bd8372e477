//! Handshakes that fail, as both ends tell it.

use super::*;

/// What our server answers to these bytes, and what it says about it.
async fn refused(options: WebSocketServerOptions, sent: &[u8]) -> (String, WebSocketFailure) {
    let (mut client, server) = accepted(options);
    let sending = async {
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (server, answer) = tokio::join!(server.handshake(), sending);
    (answer, of_server(server.unwrap_err()))
}

/// What our client makes of this answer, in which `101` stands for the right one.
async fn told(options: WebSocketClientOptions, answers: &str) -> WebSocketFailure {
    let (client, mut server) = memory::pair();
    let answering = async {
        let request = read_head(&mut server).await;
        let answer = match answers.strip_prefix("101") {
            Some(more) => answer(&request, more),
            None => answers.to_owned(),
        };
        server.write_all(answer.as_bytes()).await.unwrap();
        drop(server);
    };
    let (client, ()) = tokio::join!(connect(client, options), answering);
    of_client(client.unwrap_err())
}

#[tokio::test]
async fn who_does_not_offer_mqtt_is_told_400() {
    for (offer, offered) in [("X: y", ""), ("Sec-WebSocket-Protocol: chat, superchat", "chat, superchat")] {
        let (answer, failure) =
            refused(WebSocketServerOptions::default(), request(&[offer]).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("it has to ask for mqtt"), "{answer}");
        assert!(matches!(&failure, WebSocketFailure::SubProtocolUnknown { offered: own } if own == offered));
    }
}

#[tokio::test]
async fn paths_origins_and_plain_http_are_told_apart() {
    let options = WebSocketServerOptions::default().paths(["/elsewhere"]);
    let (answer, failure) = refused(options, request(&[]).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(matches!(&failure, WebSocketFailure::PathUnknown { path } if path == "/mqtt"), "{failure}");

    let options = WebSocketServerOptions::default().allowed_origins(["https://app.example"]);
    let evil = request(&["Sec-WebSocket-Protocol: mqtt", "Origin: https://evil.example"]);
    let (answer, failure) = refused(options, evil.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(matches!(failure, WebSocketFailure::OriginRefused { .. }), "{failure}");

    let options = WebSocketServerOptions::default;
    let plain = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (answer, failure) = refused(options(), plain).await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("upgrade: websocket\r\n"), "{answer}");
    assert!(matches!(failure, WebSocketFailure::NotWebSocket(_)), "{failure}");
    let (answer, _) = refused(options(), b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn other_protocols_are_known_by_their_first_byte() {
    for (sent, expected) in [
        (&b"\x10\x0c\x00\x04MQTT"[..], "it has to use ws:// or wss://"),
        (b"\x16\x03\x01\x02\x00", "it has to use ws:// instead of wss://"),
        (b"\x05\x01\x00", "does not speak HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not WebSocket"),
    ] {
        let (answer, failure) = refused(WebSocketServerOptions::default(), sent).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[tokio::test]
async fn a_head_above_the_bound_is_told_431() {
    let long = format!("X: {}", "x".repeat(20_000));
    let (answer, failure) = refused(WebSocketServerOptions::default(), request(&[&long]).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(matches!(failure, WebSocketFailure::HeadTooLarge { limit: 16_384 }), "{failure}");
    let (_, failure) =
        refused(WebSocketServerOptions::default().max_head_size(50), request(&[]).as_bytes()).await;
    assert!(matches!(failure, WebSocketFailure::HeadTooLarge { limit: 50 }), "{failure}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_told_nothing() {
    let (answer, failure) = refused(WebSocketServerOptions::default(), b"GET / HTTP/1.1\r\n").await;
    assert_eq!(answer, "");
    assert!(matches!(failure, WebSocketFailure::Closed), "{failure}");
}

#[tokio::test]
async fn a_client_says_what_the_server_said_and_what_helps() {
    for (answer, expected) in [
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "401 Unauthorized: check the credentials"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", "404 Not Found: check the path"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable: try again later"),
        ("HTTP/1.1 200 OK\r\n\r\n", "refused the upgrade to WebSocket: 200 OK"),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://sso.example/\r\n\r\n",
            "302, it is at https://sso.example/",
        ),
        ("101", "chose none of the sub-protocols \"mqtt\""),
        ("101Sec-WebSocket-Protocol: chat\r\n", "a sub-protocol that was not offered: \"chat\""),
        (
            "101Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
            "not offered",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "not WebSocket"),
        ("SSH-2.0-OpenSSH\r\n", "does not speak HTTP, so no WebSocket either: it sent \"SSH-2.0"),
        ("\x15\x03\x03\x00\x02\x02\x46", "use wss:// instead of ws://"),
        ("", "closed the connection in the WebSocket handshake"),
        ("HTTP/1.1 101", "closed the connection in the WebSocket handshake"),
    ] {
        let failure = told(WebSocketClientOptions::default(), answer).await;
        assert!(failure.to_string().contains(expected), "{answer}: {failure}");
    }
    let long = format!("101X: {}\r\n", "x".repeat(20_000));
    let failure = told(WebSocketClientOptions::default(), &long).await;
    assert!(matches!(failure, WebSocketFailure::HeadTooLarge { limit: 16_384 }), "{failure}");
}

#[tokio::test]
async fn the_error_of_a_client_names_the_server_and_hides_nothing_but_secrets() {
    let (client, mut server) = memory::pair();
    let address = Address::new("ws://user:secret@broker.example/mqtt").unwrap();
    let answering = async {
        read_head(&mut server).await;
        server.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await.unwrap();
    };
    let options = DialOptions::default();
    let (error, ()) = tokio::join!(connect_over(client, &address, &options), answering);
    let error = error.unwrap_err();
    assert!(error.to_string().starts_with("ws://broker.example:80/mqtt: "), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_head_is_bounded_whatever_the_options_say() {
    let options = WebSocketServerOptions::default().max_head_size(usize::MAX);
    let endless = request(&[&format!("X-Long: {}", "x".repeat(80 << 10))]);
    let (answer, failure) = refused(options, endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(matches!(failure, WebSocketFailure::HeadTooLarge { limit: 65_536 }), "{failure}");
}
