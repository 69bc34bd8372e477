//! MQTT on a web server: one port for pages, an API that publishes, and MQTT over WebSocket on `/mqtt`; MQTT over TCP
//! beside it.
//!
//! `cargo run --example axum_server` talks to itself and ends. `cargo run --example axum_server -- 127.0.0.1:8080` goes
//! on, and `http://127.0.0.1:8080/` shows what is said.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use gantline::web::MqttEndpoint;
use gantline::{
    Client, ConnectOptions, Message, QoS, RunningServer, Server, ServerOptions, WebSocketServerOptions,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await?;
    // Cookies that the pages of this server set come along, for a validator to look at.
    let websocket = WebSocketServerOptions::default().keep_headers(["Cookie"]);
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/rooms/{room}", post(announce))
        .with_state(broker.clone())
        .route("/mqtt", MqttEndpoint::with_options(&broker, websocket)?.route());

    let place = env::args().nth(1);
    let listener = TcpListener::bind(place.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?;
    println!("http://{address}/, ws://{address}/mqtt, {}", broker.local_addresses()[0]);
    // With connect info the broker knows who connects.
    let web = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
    let web = tokio::spawn(async move { web.await });
    if place.is_none() {
        talk(address).await?;
    } else {
        tokio::signal::ctrl_c().await?;
    }
    // Connections that were upgraded are the broker's.
    broker.shutdown(Duration::from_secs(5)).await;
    web.abort();
    Ok(())
}

/// `POST /rooms/kitchen` says its body to everybody in the kitchen.
async fn announce(State(broker): State<RunningServer>, Path(room): Path<String>, text: String) -> StatusCode {
    let Ok(message) = Message::new(format!("rooms/{room}"), text) else {
        return StatusCode::BAD_REQUEST;
    };
    match broker.publish(message).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Listens over WebSocket to what is posted over HTTP.
async fn talk(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(ConnectOptions::websocket(format!("{address}/mqtt"))?).await?;
    let mut said = client.subscribe("rooms/+", QoS::AtLeastOnce).await?;
    let mut http = TcpStream::connect(address).await?;
    let request =
        "POST /rooms/kitchen HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    http.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    http.read_to_string(&mut answer).await?;
    println!("{}", answer.lines().next().unwrap_or_default());
    if let Some(message) = said.next().await {
        println!("{}: {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    Ok(())
}

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>rooms</title><ul id="said"></ul>
<script src="https://unpkg.com/mqtt@5/dist/mqtt.min.js"></script>
<script>
  const client = mqtt.connect(`ws://${location.host}/mqtt`, { protocolVersion: 5 });
  client.on('connect', () => client.subscribe('rooms/+'));
  client.on('message', (topic, payload) => {
    said.append(Object.assign(document.createElement('li'), { textContent: `${topic}: ${payload}` }));
  });
</script>"#;
