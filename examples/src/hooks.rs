//! A server that judges what its clients do: who may publish where, what messages become, and who gets to see them.
//!
//! `cargo run --example hooks` needs nothing else: server and clients are in this program.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, time::Duration};

use gantline::server::{
    Access, Action, DeliveryAttempt, Outcome, Permission, PublishAttempt, SubscribeAttempt,
};
use gantline::{Client, ConnectOptions, Message, QoS, ReasonCode, Server, ServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::new(ServerOptions::default())
        .listen("mqtt://127.0.0.1:0")
        // Devices publish below their own name, and read what they want.
        .authorize(|access: &Access<'_>| {
            let own = format!("devices/{}/", access.client().client_id());
            match access.action() {
                Action::Publish { topic, .. } if !topic.starts_with(&own) => Permission::Deny,
                _ => Permission::Allow,
            }
        })
        // What they measure is looked up somewhere else before anybody gets it; only this device waits for that.
        .intercept_publishes(|publish: &PublishAttempt<'_>| {
            let message = publish.to_message();
            async move {
                match calibrate(&message).await {
                    Some(calibrated) => Outcome::Replace(message.with_payload(calibrated)),
                    None => Outcome::Drop,
                }
            }
        })
        .intercept_subscriptions(|subscribe: &SubscribeAttempt<'_>| {
            match subscribe.subscription().filter.as_str() {
                "#" => Outcome::Refuse(ReasonCode::NotAuthorized),
                _ => Outcome::Forward,
            }
        })
        .intercept_deliveries(|delivery: &DeliveryAttempt<'_>| {
            let secret = delivery.topic().ends_with("/secret");
            let staff = delivery.receiver().user_name() == Some("staff");
            if secret && !staff { Outcome::Drop } else { Outcome::Forward }
        })
        .on_undelivered(|publish: &PublishAttempt<'_>| println!("nobody wants {}", publish.topic()))
        .start()
        .await?;
    let options = |id: &str| ConnectOptions::new(server.local_addresses()[0].to_string())?.client_id(id);

    let reader = Client::connect(options("reader")?).await?;
    match reader.subscribe("#", QoS::AtLeastOnce).await {
        Err(error) => println!("not everything: {error}"),
        Ok(_) => return Err("the hook did not refuse".into()),
    }
    let mut readings = reader.subscribe("devices/+/+", QoS::AtLeastOnce).await?;

    let device = Client::connect(options("scale")?).await?;
    let publish = async |topic: &'static str, payload: &'static str| {
        device.publish(Message::new(topic, payload)?.qos(QoS::AtLeastOnce)).await?;
        Ok::<_, Box<dyn Error>>(())
    };
    if let Err(error) = publish("devices/other/weight", "1").await {
        println!("not below another name: {error}");
    }
    publish("devices/scale/secret", "42").await?;
    publish("devices/scale/weight", "no number").await?;
    publish("devices/scale/weight", "70").await?;
    if let Some(reading) = readings.next().await {
        println!("{}: {}", reading.topic(), reading.payload_str()?);
    }

    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Stands for a question to another service.
async fn calibrate(message: &Message) -> Option<String> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let raw: f64 = message.payload_str().ok()?.parse().ok()?;
    Some(format!("{:.1}", raw * 1.01))
}
