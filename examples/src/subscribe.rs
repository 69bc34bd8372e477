//! Prints the messages of a topic filter until the connection ends.
//!
//! `cargo run --example subscribe -- mqtt://localhost 'sensors/#'`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error};

use gantline::{Client, ConnectOptions, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [url, filter] = arguments.try_into().map_err(|_| "expected: URL FILTER")?;

    let client = Client::connect(ConnectOptions::new(&url)?).await?;
    let mut messages = client.subscribe(filter, QoS::AtLeastOnce).await?;
    while let Some(message) = messages.next().await {
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }
    Ok(())
}
