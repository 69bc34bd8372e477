//! MQTT on a route of axum: clients beside other routes, what the server knows of them, and who is sent away.

#![cfg(feature = "axum")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use gantline_client::{
    Client, ConnectError, ConnectOptions, Message, QoS, ReasonCode, TransportError, WebSocketClientOptions,
    WebSocketFailure,
};
use gantline_server::{ConnectionRequest, RunningServer, Server, ServerOptions, Verdict};
use gantline_transport::Scheme;
use gantline_web::{MqttEndpoint, WebSocketServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn broker() -> RunningServer {
    Server::new(ServerOptions::default()).start().await.unwrap()
}

/// A web server with two routes; where it listens.
async fn serve(mqtt: MqttEndpoint) -> SocketAddr {
    let app: Router = Router::new().route("/hello", get(|| async { "hello" })).route("/mqtt", mqtt.route());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

fn options(place: SocketAddr, path: &str) -> ConnectOptions {
    ConnectOptions::websocket(format!("{place}{path}")).unwrap()
}

/// The answer to a request that ends the connection.
async fn request(place: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(place).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn converse(client: &Client, payload: Vec<u8>) {
    let mut messages = client.subscribe("t", QoS::ExactlyOnce).await.unwrap();
    let message = Message::new("t", payload.clone()).unwrap().qos(QoS::ExactlyOnce);
    client.publish(message).await.unwrap();
    assert_eq!(messages.next().await.expect("a message").payload()[..], payload);
}

#[tokio::test]
async fn clients_and_other_requests_share_a_port() {
    let server = broker().await;
    let place = serve(MqttEndpoint::new(&server)).await;
    let client = Client::connect(options(place, "/mqtt")).await.unwrap();
    assert!(request(place, "/hello", "").await.ends_with("\r\n\r\nhello"));
    converse(&client, vec![7; 300_000]).await;
    client.disconnect().await.unwrap();
    assert_eq!(server.metrics().connected, 1);
}

#[tokio::test]
async fn the_server_knows_address_path_and_headers() {
    let validator = |client: ConnectionRequest| async move {
        let (peer, request) = (client.peer(), client.peer().websocket().expect("WebSocket"));
        let is_local = peer.peer().socket().is_some_and(|socket| socket.ip().is_loopback());
        let asked = request.path() == "/mqtt?room=7" && request.header("cookie") == Some(b"session=41f6");
        let known = is_local && asked && peer.scheme() == Scheme::Wss && request.header("x-other").is_none();
        if known { Verdict::accept() } else { Verdict::refuse(ReasonCode::NotAuthorized) }
    };
    let server = Server::new(ServerOptions::default()).validate_connections(validator).start().await.unwrap();
    let websocket = WebSocketServerOptions::default().keep_headers(["cookie"]);
    let place = serve(MqttEndpoint::with_options(&server, websocket).unwrap().secure()).await;
    let request = WebSocketClientOptions::default().cookie("session", "41f6").header("X-Other", "1");
    Client::connect(options(place, "/mqtt?room=7").websocket_options(request)).await.unwrap();
    let error = Client::connect(options(place, "/mqtt?room=7")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
}

#[tokio::test]
async fn who_does_not_ask_for_mqtt_is_told_what_to_ask_for() {
    let server = broker().await;
    let websocket = WebSocketServerOptions::default().allowed_origins(["https://app.example"]);
    let place = serve(MqttEndpoint::with_options(&server, websocket).unwrap()).await;
    assert!(request(place, "/mqtt", "").await.starts_with("HTTP/1.1 426 "));
    let status = async |path: &str, options: WebSocketClientOptions| {
        let error = Client::connect(self::options(place, path).websocket_options(options)).await.unwrap_err();
        let ConnectError::Unreachable(TransportError::WebSocket { failure, .. }) = error else {
            panic!("{error}")
        };
        let WebSocketFailure::Refused { status, .. } = *failure else { panic!("{failure}") };
        status
    };
    let usual = WebSocketClientOptions::default;
    assert_eq!(status("/mqtt", usual().sub_protocols(["chat"])).await, 400);
    assert_eq!(status("/mqtt", usual().origin("https://evil.example")).await, 403);
    assert_eq!(status("/elsewhere", usual()).await, 404);
    assert_eq!(server.metrics().connections, 0);
}

#[tokio::test]
async fn options_that_cannot_be_meant_are_errors() {
    let options = WebSocketServerOptions::default().keep_headers(["a b"]);
    let error = MqttEndpoint::with_options(&broker().await, options).unwrap_err();
    assert!(error.to_string().contains("\"a b\""), "{error}");
}

#[tokio::test]
async fn other_routes_outlive_the_mqtt_server() {
    let server = broker().await;
    let place = serve(MqttEndpoint::new(&server)).await;
    let client = Client::connect(options(place, "/mqtt")).await.unwrap();
    server.shutdown(Duration::from_secs(5)).await;
    client.ping().await.unwrap_err();
    let error = Client::connect(options(place, "/mqtt")).await.unwrap_err();
    assert!(matches!(error, ConnectError::ClosedByServer), "{error}");
    assert!(request(place, "/hello", "").await.ends_with("hello"));
}
