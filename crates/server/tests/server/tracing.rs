//! What the server logs: names and fields that stay, for those who look for them.

use std::fmt;
use std::sync::{Arc, Mutex};

use gantline_server::{QoS, ReasonCode, ServerOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use crate::peer::{client, server_with};

/// Notes down names, with the client if there is one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// As long as the second lives, the first gets what this thread logs.
    fn begin() -> (Self, (DefaultGuard, Dispatch)) {
        let log = Self::default();
        // With one subscriber alone, what other tests log meanwhile would be taken for what nobody wants.
        let other = Dispatch::new(Self::default());
        (log.clone(), (tracing::subscriber::set_default(log), other))
    }

    fn note(&self, metadata: &Metadata<'_>, client: &Client) {
        if metadata.target().starts_with("gantline_server") {
            self.0.lock().unwrap().push(format!("{}{}", metadata.name(), client.0));
        }
    }

    fn has(&self, line: &str) -> bool {
        self.0.lock().unwrap().iter().any(|noted| noted == line)
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut client = Client::default();
        span.record(&mut client);
        self.note(span.metadata(), &client);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut client = Client::default();
        event.record(&mut client);
        self.note(event.metadata(), &client);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The field `client`, behind a blank.
#[derive(Default)]
struct Client(String);

impl Visit for Client {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "client" {
            self.0 = format!(" {value:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_clients_has_names_and_fields() {
    let (log, _guard) = Log::begin();
    let options =
        ServerOptions::default().max_topic_levels(1).max_subscriptions_per_client(0).max_message_rate(1);
    let server = server_with(options.max_retained_messages(0)).await;
    let mut peer = client(&server, "a").await;
    peer.publish("a/b", "", QoS::AtLeastOnce).await;
    peer.publish_retained("t", "x", QoS::AtLeastOnce).await;
    assert_eq!(peer.subscribe("t", QoS::AtLeastOnce).await, ReasonCode::QuotaExceeded);
    peer.goes().await;
    server.shutdown(std::time::Duration::from_secs(1)).await;
    for line in [
        "handshake",
        "client.connected a",
        "client.turn a",
        "publish.refused a",
        "retained.full a",
        "client.throttled a",
        "subscribe.refused a",
        "client.disconnected a",
        "server.stopped",
    ] {
        assert!(log.has(line), "{line} is not among {:?}", log.0.lock().unwrap());
    }
}
