//! The endpoint without axum: as a service of hyper, and over connections that cannot be upgraded.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::SocketAddr;

use gantline_client::{Client, ConnectOptions};
use gantline_server::{RunningServer, Server, ServerOptions};
use gantline_transport::http::{Request, header};
use gantline_web::MqttEndpoint;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

async fn broker() -> RunningServer {
    Server::new(ServerOptions::default()).start().await.unwrap()
}

/// A web server that is nothing but the endpoint; where it listens.
async fn serve(mqtt: MqttEndpoint) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service = TowerToHyperService::new(mqtt.clone());
            let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

#[tokio::test]
async fn hyper_alone_is_enough() {
    let server = broker().await;
    let place = serve(MqttEndpoint::new(&server)).await;
    let client = Client::connect(ConnectOptions::websocket(place.to_string()).unwrap()).await.unwrap();
    client.ping().await.unwrap();
    client.disconnect().await.unwrap();
    assert_eq!(server.metrics().connected, 1);
}

#[tokio::test]
async fn a_connection_that_cannot_be_upgraded_is_not_promised_to_be() {
    let server = broker().await;
    let mut request = Request::get("/")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
        .header(header::SEC_WEBSOCKET_PROTOCOL, "mqtt")
        .body(())
        .unwrap();
    assert_eq!(MqttEndpoint::new(&server).answer(&mut request, "me").status(), 501);
}
