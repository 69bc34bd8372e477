//! Publishes one message and waits until the server has it.
//!
//! `cargo run --example publish -- mqtt://localhost sensors/kitchen/temperature 21.5`

use std::{env, error::Error};

use gantline::{Client, ConnectOptions, Message, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [url, topic, payload] = arguments.try_into().map_err(|_| "expected: URL TOPIC PAYLOAD")?;

    let client = Client::connect(ConnectOptions::new(&url)?).await?;
    client.publish(Message::new(topic, payload)?.qos(QoS::AtLeastOnce)).await?;
    client.disconnect().await?;
    Ok(())
}
