//! Our client against somebody else's broker: each version, each QoS, a retained message, a will, a session.
//!
//! `cargo run --example interop_client -- mqtt://localhost`. Prints a line for each check, ends at the first
//! surprise. See `docs/interop.md`.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, time::Duration};

use gantline::{Client, ConnectOptions, Message, ProtocolVersion, QoS, ReasonCode, Subscription};
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn Error>>;

const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let url = env::args().nth(1).ok_or("expected: URL")?;
    for version in ProtocolVersion::ALL {
        let broker = Broker { url: url.clone(), version };
        broker.each_qos().await?;
        println!("{version}: QoS 0, 1 and 2");
        broker.large().await?;
        println!("{version}: 1 MiB");
        broker.retained().await?;
        println!("{version}: retained, and cleared");
        broker.will().await?;
        println!("{version}: will");
        broker.resumed_session().await?;
        println!("{version}: resumed session");
    }
    Ok(())
}

/// A broker, and the version to speak with it.
struct Broker {
    url: String,
    version: ProtocolVersion,
}

impl Broker {
    fn options(&self, role: &str) -> Result<ConnectOptions, Box<dyn Error>> {
        let id = format!("interop-{role}-{}", self.version);
        Ok(ConnectOptions::new(&self.url)?.client_id(id)?.version(self.version))
    }

    fn topic(&self, last: &str) -> String {
        format!("interop-client/{}/{last}", self.version)
    }

    async fn each_qos(&self) -> Outcome {
        let client = Client::connect(self.options("a")?).await?;
        let mut messages = client.subscribe(self.topic("+"), QoS::ExactlyOnce).await?;
        for qos in EACH_QOS {
            client.publish(Message::new(self.topic("live"), format!("{qos:?}"))?.qos(qos)).await?;
            expect(&mut messages, &format!("{qos:?}"), qos, false).await?;
        }
        Ok(client.disconnect().await?)
    }

    async fn large(&self) -> Outcome {
        let client = Client::connect(self.options("a")?).await?;
        let mut messages = client.subscribe(self.topic("large"), QoS::ExactlyOnce).await?;
        let payload = "0123456789abcdef".repeat(65_536);
        client.publish(Message::new(self.topic("large"), payload.clone())?.qos(QoS::ExactlyOnce)).await?;
        expect(&mut messages, &payload, QoS::ExactlyOnce, false).await?;
        Ok(client.disconnect().await?)
    }

    async fn retained(&self) -> Outcome {
        let client = Client::connect(self.options("a")?).await?;
        let message = |text: &str| {
            Message::new(self.topic("kept"), text.to_owned()).map(|it| it.qos(QoS::AtLeastOnce).retain(true))
        };
        client.publish(message("kept")?).await?;
        let mut messages = client.subscribe(self.topic("kept"), QoS::AtLeastOnce).await?;
        expect(&mut messages, "kept", QoS::AtLeastOnce, true).await?;
        drop(messages);

        client.publish(message("")?).await?;
        let mut messages = client.subscribe(self.topic("kept"), QoS::AtLeastOnce).await?;
        client.publish(Message::new(self.topic("kept"), "live")?.qos(QoS::AtLeastOnce)).await?;
        expect(&mut messages, "live", QoS::AtLeastOnce, false).await?;
        Ok(client.disconnect().await?)
    }

    async fn will(&self) -> Outcome {
        let watcher = Client::connect(self.options("a")?).await?;
        let mut messages = watcher.subscribe(self.topic("will"), QoS::AtLeastOnce).await?;
        let will = Message::new(self.topic("will"), "gone")?.qos(QoS::AtLeastOnce);
        let client = Client::connect(self.options("b")?.will(will)).await?;
        client.disconnect().reason(ReasonCode::DisconnectWithWillMessage).await?;
        expect(&mut messages, "gone", QoS::AtLeastOnce, false).await?;
        Ok(watcher.disconnect().await?)
    }

    async fn resumed_session(&self) -> Outcome {
        let options = self.options("b")?.clean_start(false);
        let options = if self.version.has_properties() {
            options.session_expiry(Duration::from_secs(300))
        } else {
            options
        };
        let client = Client::connect(options.clone()).await?;
        let _messages = client.subscribe(self.topic("parked"), QoS::ExactlyOnce).await?;
        client.disconnect().await?;

        let publisher = Client::connect(self.options("a")?).await?;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish(Message::new(self.topic("parked"), format!("{qos:?}"))?.qos(qos)).await?;
        }
        publisher.disconnect().await?;

        let mut messages = client.messages();
        client.reconnect().await?;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let message = timeout(PATIENCE, messages.next()).await?.ok_or("the connection ended")?;
            check(&message, &format!("{qos:?}"), qos, false)?;
        }
        client.disconnect().await?;
        // Leaves nothing behind on the broker.
        Ok(Client::connect(self.options("b")?).await?.disconnect().await?)
    }
}

async fn expect(messages: &mut Subscription, payload: &str, qos: QoS, retained: bool) -> Outcome {
    let message = timeout(PATIENCE, messages.next()).await?.ok_or("the connection ended")?;
    check(&message, payload, qos, retained)
}

fn check(message: &Message, payload: &str, qos: QoS, retained: bool) -> Outcome {
    let shown = |text: &str| text.chars().take(40).collect::<String>();
    let found = (message.payload_str()?, message.qos_level(), message.is_retained());
    if found == (payload, qos, retained) {
        return Ok(());
    }
    let text = shown(found.0);
    Err(format!(
        "{}: got {text:?} {found:?}, expected {:?} {qos:?} {retained}",
        message.topic(),
        shown(payload)
    )
    .into())
}

const PATIENCE: Duration = Duration::from_secs(10);
