//! A server inside an application: it publishes and subscribes without a client, and ends with it.
//!
//! `cargo run --example server -- mqtt://127.0.0.1:1883`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, time::Duration};

use gantline::{Message, QoS, Server, ServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let server = Server::new(ServerOptions::default()).listen(url).start().await?;
    for address in server.local_addresses() {
        println!("listening on {address}, Ctrl-C ends");
    }

    server.publish(Message::new("announcements", "up")?.retain(true)).await?;
    let mut commands = server.subscribe("commands/#", QoS::AtLeastOnce)?;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            Some(command) = commands.next() => println!("{}: {:?}", command.topic(), command.payload()),
        }
    }
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
