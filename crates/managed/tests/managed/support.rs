//! A server that can be stopped and started, one that is scripted, and shorthands.

use std::time::Duration;

use gantline_client::ConnectOptions;
use gantline_managed::{ManagedClient, ManagedEvent, ManagedEvents, ManagedOptions, Message, Outcome, QoS};
use gantline_protocol::packet::ConnAck;
use gantline_server::{RunningServer, Server, ServerOptions};
use gantline_transport::{AcceptBackoff, Address, BindOptions, Listener, accept, bind};

use crate::peer::Peer;

/// The URL of a server of this name, of which a test has one.
pub(crate) fn url(name: &str) -> String {
    format!("memory://{name}")
}

pub(crate) async fn server(name: &str) -> RunningServer {
    Server::new(ServerOptions::default()).listen(url(name)).start().await.unwrap()
}

pub(crate) async fn shut_down(server: RunningServer) {
    server.shutdown(Duration::from_secs(1)).await;
}

pub(crate) fn connect(name: &str) -> ConnectOptions {
    ConnectOptions::new(url(name)).unwrap().client_id("managed").unwrap()
}

/// As `connect`, with a session that is kept.
pub(crate) fn lasting(name: &str) -> ConnectOptions {
    connect(name).session_expiry(Duration::from_secs(3600))
}

pub(crate) fn options(name: &str) -> ManagedOptions {
    ManagedOptions::new(connect(name))
}

pub(crate) async fn started(options: ManagedOptions) -> ManagedClient {
    let client = ManagedClient::new(options);
    client.start().await.unwrap();
    client
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written as they are")]
pub(crate) fn message(topic: &str, payload: impl ToString) -> Message {
    Message::new(topic, payload.to_string()).unwrap().qos(QoS::AtLeastOnce)
}

/// Publishes, and takes the first step only.
pub(crate) async fn queue(client: &ManagedClient, message: Message) -> gantline_managed::Delivery {
    client.publish(message).queued().await
}

pub(crate) async fn delivered(delivery: gantline_managed::Delivery) {
    let outcome = delivery.await;
    assert!(outcome.is_delivered(), "{outcome:?}");
}

/// A server that does what the test says.
pub(crate) struct Script {
    listener: Box<dyn Listener>,
}

impl Script {
    pub(crate) async fn new(name: &str) -> Self {
        let address = Address::new(url(name)).unwrap();
        Self { listener: bind(&address, &BindOptions::default()).await.unwrap() }
    }

    /// The next connection, before its CONNECT.
    pub(crate) async fn peer(&mut self) -> Peer {
        Peer::over(accept(&mut *self.listener, &mut AcceptBackoff::default()).await.unwrap())
    }

    /// The next connection, answered with this.
    pub(crate) async fn accept(&mut self, connack: ConnAck) -> Peer {
        let mut peer = self.peer().await;
        peer.accept(connack).await;
        peer
    }
}

/// The next event that this finds something in.
pub(crate) async fn find<T>(
    events: &mut ManagedEvents,
    mut find: impl FnMut(ManagedEvent) -> Option<T>,
) -> T {
    loop {
        if let Some(found) = find(events.next().await.unwrap()) {
            return found;
        }
    }
}

/// The outcome, if there is one already.
pub(crate) async fn now(delivery: &mut gantline_managed::Delivery) -> Option<Outcome> {
    tokio::time::timeout(Duration::ZERO, delivery).await.ok()
}
