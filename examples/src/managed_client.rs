//! A client that stays connected: it reconnects, subscribes again and sends what waits. Needs no set-up, because it
//! starts its own server, and stops it now and then.
//!
//! ```sh
//! cargo run --example managed_client
//! ```

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::Duration;

use gantline::managed::{ManagedEvent, State};
use gantline::{
    ConnectOptions, ManagedClient, ManagedOptions, Message, QoS, RunningServer, Server, ServerOptions,
};

const URL: &str = "memory://managed-client";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let connect = ConnectOptions::new(URL)?.client_id("kitchen")?;
    let options = ManagedOptions::new(connect)
        .backoff(Duration::from_millis(100), Duration::from_secs(2))
        .max_pending(1_000, 1 << 20);
    let client = ManagedClient::new(options);
    client.on_event(|event| async move { tell(&event) });

    // Nobody listens yet; both are wishes for later.
    let mut readings = client.subscribe("sensors/#", QoS::AtLeastOnce).await?;
    client.start().await?;
    let reading = Message::new("sensors/kitchen", "21.5")?.qos(QoS::AtLeastOnce);
    let first = client.publish(reading).queued().await;

    for round in 1..=2 {
        println!("-- the server starts for the {round}. time");
        let server = start().await?;
        client.connected().await?;
        // The answer to the subscription, which is made anew on each server.
        println!("granted: {:?}", readings.granted().await?);
        server.publish(Message::new("sensors/cellar", format!("12.{round}"))?.qos(QoS::AtLeastOnce)).await?;
        let message = readings.next().await.ok_or("the stream ended")?;
        println!("{}: {}", message.topic(), message.payload_str()?);
        server.shutdown(Duration::from_secs(1)).await;
    }
    println!("the first publish: {}", first.await.into_result()?.reason);

    println!("-- the server is gone");
    client.stop().drain(Duration::from_secs(1)).await;
    println!("{:?}", client.counters());
    Ok(())
}

async fn start() -> Result<RunningServer, Box<dyn Error>> {
    Ok(Server::new(ServerOptions::default()).listen(URL).start().await?)
}

fn tell(event: &ManagedEvent) {
    match event {
        ManagedEvent::StateChanged(State::Connected(_)) => println!("   connected"),
        ManagedEvent::StateChanged(State::Waiting { delay }) => println!("   next attempt in {delay:?}"),
        ManagedEvent::StateChanged(State::Stopped(cause)) => println!("   stopped: {cause}"),
        ManagedEvent::ConnectingFailed { error, .. } => println!("   no connection: {error}"),
        ManagedEvent::Disconnected { cause } => println!("   disconnected: {cause}"),
        _ => {}
    }
}
