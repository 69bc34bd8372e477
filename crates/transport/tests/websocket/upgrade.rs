//! The handshake that succeeds, and options that belong to it.

use gantline_transport::http::Request;
use gantline_transport::{Endpoint, PeerInfo, Scheme};

use super::*;

#[tokio::test]
async fn both_ends_know_what_was_agreed_on() {
    let (client, server) = accepted(WebSocketServerOptions::default().keep_headers(["X-Device"]));
    let options =
        WebSocketClientOptions::default().header("X-Device", "kitchen").sub_protocols(["chat", "mqtt"]);
    let (client, server) = tokio::join!(connect(client, options), server.handshake());
    let (client, server) = (client.unwrap(), server.unwrap());
    for stream in [&client, &server] {
        let info = stream.info().websocket().unwrap();
        assert_eq!((info.path(), info.sub_protocol()), ("/mqtt?token=1", Some("mqtt")));
        assert_eq!(stream.info().scheme(), Scheme::Ws);
    }
    assert_eq!(server.info().websocket().unwrap().header("x-device"), Some(&b"kitchen"[..]));
}

#[tokio::test]
async fn the_request_has_what_the_options_say_and_offers_no_compression() {
    let (client, mut server) = memory::pair();
    let options = WebSocketClientOptions::default()
        .header("X-Token", "1")
        .cookie("a", "b")
        .basic_credentials("u", "p")
        .origin("https://app.example");
    let client = tokio::spawn(connect(client, options));
    let request = read_head(&mut server).await;
    for line in [
        "GET /mqtt?token=1 HTTP/1.1",
        "Host: broker.example:8000",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
        "Origin: https://app.example",
        "x-token: 1",
        "cookie: a=b",
        "authorization: Basic dTpw",
    ] {
        assert!(request.lines().any(|own| own == line), "no {line} in {request}");
    }
    assert!(!request.to_lowercase().contains("extensions"), "{request}");
    server.write_all(answer(&request, "Sec-WebSocket-Protocol: mqtt\r\n").as_bytes()).await.unwrap();
    client.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let (mut client, server) = accepted(WebSocketServerOptions::default());
    let server = tokio::spawn(server.handshake());
    for byte in request(&[]).bytes() {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_comes_right_behind_a_head_is_not_lost() {
    // A server may PING at once, and a client is not to be punished for its haste.
    let (client, mut server) = memory::pair();
    let client = tokio::spawn(connect(client, WebSocketClientOptions::default()));
    let request = read_head(&mut server).await;
    let behind = [&b"\x89\x02hi"[..], b"\x82\x05MQTT!"].concat();
    let answer = [answer(&request, "Sec-WebSocket-Protocol: mqtt\r\n").into_bytes(), behind].concat();
    server.write_all(&answer).await.unwrap();
    let mut client = client.await.unwrap().unwrap();
    assert_eq!(receive(&mut client, 5).await, b"MQTT!");
    assert_eq!(receive(&mut server, 2).await, [0x8A, 0x82], "a masked PONG of two bytes");

    let (mut client, server) = accepted(WebSocketServerOptions::default());
    let hasty = [super::request(&[]).as_bytes(), b"\x82\x81\x00\x00\x00\x00x"].concat();
    client.write_all(&hasty).await.unwrap();
    let mut server = server.handshake().await.unwrap();
    assert_eq!(receive(&mut server, 1).await, b"x");
}

#[tokio::test]
async fn an_http_server_of_your_own_may_shake_hands() {
    let options = WebSocketServerOptions::default().paths(["/mqtt"]);
    let (client, mut server) = memory::pair();
    let client = tokio::spawn(connect(client, WebSocketClientOptions::default()));
    // As an HTTP server gives it.
    let head = read_head(&mut server).await;
    let mut lines = head.lines();
    let mut request = Request::get(lines.next().unwrap().split(' ').nth(1).unwrap());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let (response, agreed) = options.answer(&request.body(()).unwrap()).unwrap();
    let mut answer = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        answer.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    server.write_all((answer + "\r\n").as_bytes()).await.unwrap();

    let info =
        PeerInfo::new(Scheme::Wss, Endpoint::from("peer"), Endpoint::from("us")).with_websocket(agreed);
    let mut server = Stream::from_upgraded_websocket(server, info, &options);
    let mut client = client.await.unwrap().unwrap();
    send(&mut client, b"ping").await;
    assert_eq!(receive(&mut server, 4).await, b"ping");
    send(&mut server, b"pong").await;
    assert_eq!(receive(&mut client, 4).await, b"pong");
    assert_eq!(server.info().websocket().unwrap().path(), "/mqtt?token=1");
    assert_eq!(server.info().scheme(), Scheme::Wss);
}

#[tokio::test]
async fn websocket_options_need_an_address_of_websocket() {
    let address = Address::new("mqtt://localhost").unwrap();
    let dial = DialOptions::default().websocket(WebSocketClientOptions::default());
    let error = gantline_transport::connect(&address, &dial).await.unwrap_err();
    assert!(matches!(error, TransportError::OptionUnused { option: "websocket", .. }), "{error}");
    let options = BindOptions::default().websocket(WebSocketServerOptions::default());
    let error = gantline_transport::bind(&address, &options).await.err().unwrap();
    assert!(matches!(error, TransportError::OptionUnused { option: "websocket", .. }), "{error}");
}

#[tokio::test]
async fn wrong_options_are_found_before_anything_is_sent() {
    let (client, mut server) = memory::pair();
    let error = connect(client, WebSocketClientOptions::default().header("Upgrade", "x")).await.unwrap_err();
    assert!(matches!(error, TransportError::WebSocketOptions(_)), "{error}");
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "nothing came");
    let options = BindOptions::default().websocket(WebSocketServerOptions::default().paths(["mqtt"]));
    let error = accept_over(server, &address(), &options).unwrap_err();
    assert!(matches!(error, TransportError::WebSocketOptions(_)), "{error}");
}
