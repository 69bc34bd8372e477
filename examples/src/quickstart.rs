//! The whole job in one program: a server, a 3.1.1 and a 5.0 subscriber, and a publisher, over TCP.
//!
//! `cargo run --release --example quickstart`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, time::Duration};

use gantline::{
    Client, ConnectOptions, Message, ProtocolVersion, QoS, ReasonCode, Server, ServerOptions, Subscription,
};

/// What each subscriber gets: a retained message, one for each QoS, and a will.
const EXPECTED: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await?;
    let url = server.local_addresses()[0].to_string();
    println!("server on {url}");

    // A retained message waits for those who subscribe later.
    let publisher = Client::connect(ConnectOptions::new(&url)?.client_id("publisher")?).await?;
    let light = Message::new("home/kitchen/light", "on")?.qos(QoS::AtLeastOnce).retain(true);
    publisher.publish(light).await?;

    // Each subscriber speaks its own version; neither notices the other's.
    let mut subscribers = Vec::new();
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        let options = ConnectOptions::new(&url)?.client_id(format!("subscriber-{version}"))?.version(version);
        let client = Client::connect(options).await?;
        let messages = client.subscribe("home/#", QoS::ExactlyOnce).await?;
        subscribers.push(tokio::spawn(print(version, messages)));
    }

    // Returns when the flow of the quality of service is complete.
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publisher.publish(Message::new("home/kitchen/temperature", "21.5")?.qos(qos)).await?;
    }

    // A client that goes without a proper goodbye leaves its will.
    let will = Message::new("home/cellar/sensor", "gone")?.qos(QoS::AtLeastOnce);
    let sensor = Client::connect(ConnectOptions::new(&url)?.client_id("sensor")?.will(will)).await?;
    sensor.disconnect().reason(ReasonCode::DisconnectWithWillMessage).await?;

    for subscriber in subscribers {
        tokio::time::timeout(Duration::from_secs(10), subscriber).await???;
    }
    publisher.disconnect().await?;
    server.shutdown(Duration::from_secs(5)).await;
    println!("done");
    Ok(())
}

/// Prints messages until all that are expected have come.
async fn print(version: ProtocolVersion, mut messages: Subscription) -> Result<(), String> {
    for _ in 0..EXPECTED {
        let message = messages.next().await.ok_or("the connection ended early")?;
        let payload = message.payload_str().map_err(|error| error.to_string())?;
        let retained = if message.is_retained() { ", retained" } else { "" };
        println!("{version:>5}  {} = {payload} ({:?}{retained})", message.topic(), message.qos_level());
    }
    Ok(())
}
