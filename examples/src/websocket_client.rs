//! A client over WebSocket, with what gateways in front of a server may ask for: headers, a cookie, a user name and
//! password.
//!
//! `cargo run --example websocket_client` brings a server along that asks for all of it; or, with a server that is
//! there: `cargo run --example websocket_client -- broker.example:8080/mqtt`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, time::Duration};

use gantline::server::{ConnectionRequest, Verdict};
use gantline::{
    Client, ConnectOptions, Message, QoS, ReasonCode, RunningServer, Server, ServerOptions, StartError,
    WebSocketClientOptions, WebSocketServerOptions,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(url) = env::args().nth(1) {
        return talk(ConnectOptions::websocket(url)?).await;
    }
    let server = serve().await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;

    // Without a scheme it is ws://, or wss:// as soon as there are options of TLS.
    let options = ConnectOptions::websocket(format!("localhost:{port}/mqtt?room=7"))?;
    match Client::connect(options.clone()).await {
        Err(error) => println!("without them: {error}"),
        Ok(_) => return Err("the server let everybody in".into()),
    }
    let asked_for = WebSocketClientOptions::default()
        .header("X-Device", "kitchen")
        .cookie("session", "41f6")
        .basic_credentials("ada", "secret");
    talk(options.websocket_options(asked_for)).await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// A server that looks at the request which a connection began with.
async fn serve() -> Result<RunningServer, StartError> {
    let websocket = WebSocketServerOptions::default().keep_headers(["X-Device", "Cookie", "Authorization"]);
    let server = Server::new(ServerOptions::default()).listen("ws://localhost:0/mqtt").websocket(websocket);
    let server = server.validate_connections(|client: ConnectionRequest| async move {
        let Some(request) = client.peer().websocket() else {
            return Verdict::refuse(ReasonCode::NotAuthorized);
        };
        println!("the server is asked for {}", request.path());
        let has = |name: &str, value: &str| request.header(name) == Some(value.as_bytes());
        // `Authorization` is what the user name and password come to in HTTP.
        let known = has("X-Device", "kitchen")
            && has("Cookie", "session=41f6")
            && has("Authorization", "Basic YWRhOnNlY3JldA==");
        if known { Verdict::accept() } else { Verdict::refuse(ReasonCode::NotAuthorized) }
    });
    server.start().await
}

async fn talk(options: ConnectOptions) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(options).await?;
    let mut echo = client.subscribe("gantline/example", QoS::AtLeastOnce).await?;
    client.publish(Message::new("gantline/example", "over WebSocket")?.qos(QoS::AtLeastOnce)).await?;
    if let Some(message) = echo.next().await {
        println!("{}: {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    Ok(())
}
