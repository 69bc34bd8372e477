//! The outbox in a store: what survives the client, what is done with, and a store that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantline_managed::{
    Doubt, InDoubt, ManagedClient, ManagedEvent, ManagedOptions, OutboxChange, OutboxMessage, OutboxStore,
    Outcome, QoS, ReasonCode, Rejection, StoreError, async_trait,
};
use gantline_protocol::packet::{ConnAck, Packet};

use crate::support::{Script, delivered, find, message, options, queue, server, started};

/// A log in memory.
#[derive(Debug, Default)]
struct Log {
    changes: parking_lot::Mutex<Vec<OutboxChange>>,
    broken: AtomicBool,
}

impl Log {
    fn messages(&self) -> Vec<OutboxMessage> {
        let mut messages: Vec<OutboxMessage> = Vec::new();
        for change in self.changes.lock().iter() {
            match change {
                OutboxChange::Append(message) => messages.push(message.clone()),
                OutboxChange::Sent(id) => {
                    messages
                        .iter_mut()
                        .filter(|message| message.id == *id)
                        .for_each(|message| message.sent = true);
                }
                OutboxChange::Remove(id) => messages.retain(|message| message.id != *id),
            }
        }
        messages
    }

    fn texts(&self) -> Vec<String> {
        let text = |message: &OutboxMessage| message.message.payload_str().unwrap().to_owned();
        self.messages().iter().map(text).collect()
    }
}

#[async_trait]
impl OutboxStore for Log {
    async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::new("cannot read the log", "broken"));
        }
        self.changes.lock().iter().cloned().for_each(found);
        Ok(())
    }

    async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        if self.broken.load(Ordering::Relaxed) {
            // It takes its time to fail.
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Err(StoreError::new("cannot write the log", "broken"));
        }
        self.changes.lock().extend(changes);
        Ok(())
    }
}

fn with(name: &str, log: &Arc<Log>) -> ManagedOptions {
    options(name).outbox_store(Arc::clone(log))
}

#[tokio::test(start_paused = true)]
async fn what_waits_survives_the_client_and_goes_out_in_order() {
    let log = Arc::new(Log::default());
    let client = started(with("survives", &log)).await;
    let mut deliveries = Vec::new();
    for number in 0..5 {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
        deliveries.push(queue(&client, message("t", number).qos(qos)).await);
    }
    assert_eq!(log.texts(), ["0", "1", "2", "3", "4"]);
    client.stop().await;
    for delivery in deliveries {
        assert!(matches!(delivery.await, Outcome::Indeterminate(Doubt::Stored)));
    }
    drop(client);
    let server = server("survives").await;
    let mut received = server.subscribe("t", QoS::ExactlyOnce).unwrap();
    let client = started(with("survives", &log)).await;
    delivered(queue(&client, message("t", "5")).await).await;
    for text in ["0", "1", "2", "3", "4", "5"] {
        assert_eq!(received.next().await.unwrap().payload_str().unwrap(), text);
    }
    client.stop().await;
    assert!(log.texts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_at_a_stop_is_sent_again_from_the_store_and_told_of_again() {
    let mut script = Script::new("stays").await;
    let log = Arc::new(Log::default());
    let client = started(with("stays", &log)).await;
    let mut peer = script.accept(ConnAck::default()).await;
    let sent = queue(&client, message("t", "sent")).await;
    peer.expect_publish().await;
    let goodbye = async {
        peer.expect_disconnect().await;
        drop(peer);
    };
    tokio::join!(goodbye, client.stop());
    assert!(matches!(sent.await, Outcome::Indeterminate(Doubt::Stopped)));
    assert_eq!(log.texts(), ["sent"]);
    let mut events = client.events();
    client.start().await.unwrap();
    let mut peer = script.accept(ConnAck::default()).await;
    let again = peer.expect_publish().await;
    assert_eq!(again.payload, "sent");
    peer.ack(Packet::PubAck, again.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    let outcome = find(&mut events, |event| match event {
        ManagedEvent::Processed { outcome, .. } => Some(outcome),
        _ => None,
    });
    assert!(outcome.await.is_delivered());
    client.stop().await;
    assert!(log.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_once_while_the_client_stops_is_asked_again() {
    let log = Arc::new(Log::default());
    let _server = server("fails-once").await;
    let client = started(with("fails-once", &log)).await;
    client.connected().await.unwrap();
    let mut events = client.events();
    let delivery = queue(&client, message("t", "1")).await;
    log.broken.store(true, Ordering::Relaxed);
    delivered(delivery).await;
    let mend = async {
        find(&mut events, |event| matches!(event, ManagedEvent::StoreFailed(_)).then_some(())).await;
        log.broken.store(false, Ordering::Relaxed);
    };
    tokio::join!(mend, client.stop());
    assert!(log.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_accepted_when_it_is_stored_and_forgotten_when_it_is_acknowledged() {
    let log = Arc::new(Log::default());
    let _server = server("stored").await;
    let client = started(with("stored", &log)).await;
    client.connected().await.unwrap();
    let delivery = queue(&client, message("t", "1")).await;
    assert!(log.changes.lock().iter().any(|change| matches!(change, OutboxChange::Append(_))));
    delivered(delivery).await;
    client.stop().await;
    assert!(log.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn qos_2_that_an_earlier_client_has_sent_is_not_sent_as_new() {
    for in_doubt in [InDoubt::GiveUp, InDoubt::Resend] {
        let name = format!("crash-{in_doubt:?}").to_lowercase();
        let mut script = Script::new(&name).await;
        let log = Arc::new(Log::default());
        let client = started(with(&name, &log)).await;
        let mut peer = script.accept(ConnAck::default()).await;
        let _sent = queue(&client, message("t", "sent").qos(QoS::ExactlyOnce)).await;
        peer.expect_publish().await;
        // What a crash leaves behind.
        let left = Log { changes: parking_lot::Mutex::new(log.changes.lock().clone()), ..Log::default() };
        let left = Arc::new(left);
        assert!(left.messages()[0].sent);
        let successor = ManagedClient::new(with(&name, &left).in_doubt(in_doubt));
        let mut events = successor.events();
        successor.start().await.unwrap();
        let mut peer = script.accept(ConnAck::default()).await;
        if in_doubt == InDoubt::Resend {
            assert_eq!(peer.expect_publish().await.payload, "sent");
            continue;
        }
        peer.hears_nothing().await;
        let outcome = find(&mut events, |event| match event {
            ManagedEvent::Processed { outcome, .. } => Some(outcome),
            _ => None,
        });
        assert!(matches!(outcome.await, Outcome::Indeterminate(Doubt::Restarted)));
        assert!(left.messages().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_rejected_and_the_client_goes_on() {
    let log = Arc::new(Log::default());
    let client = started(with("broken", &log)).await;
    let mut events = client.events();
    log.broken.store(true, Ordering::Relaxed);
    let outcome = client.publish(message("t", "1")).await;
    assert!(matches!(outcome, Outcome::Rejected(Rejection::NotStored(_))));
    find(&mut events, |event| matches!(event, ManagedEvent::StoreFailed(_)).then_some(())).await;
    log.broken.store(false, Ordering::Relaxed);
    let _server = server("broken").await;
    delivered(queue(&client, message("t", "2")).await).await;
    client.stop().await;
    assert!(log.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_keeps_the_client_from_starting() {
    let log = Arc::new(Log::default());
    log.broken.store(true, Ordering::Relaxed);
    let client = ManagedClient::new(with("unreadable", &log));
    assert_eq!(client.start().await.unwrap_err().context(), "cannot read the log");
    assert!(client.state().is_stopped());
    log.broken.store(false, Ordering::Relaxed);
    client.start().await.unwrap();
}

/// A log that has no place for a message that says "too long".
#[derive(Default)]
struct Narrow(Log);

#[async_trait]
impl OutboxStore for Narrow {
    async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
        self.0.load(found).await
    }

    async fn apply(&self, mut changes: Vec<OutboxChange>) -> Result<(), StoreError> {
        let before = changes.len();
        changes.retain(|change| match change {
            OutboxChange::Append(message) => message.message.payload() != "too long",
            OutboxChange::Sent(_) | OutboxChange::Remove(_) => true,
        });
        let all = changes.len() == before;
        self.0.apply(changes).await?;
        if all { Ok(()) } else { Err(StoreError::new("cannot keep it", "too long").permanent()) }
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_stored_is_rejected_and_nobody_else_waits() {
    let store = Arc::new(Narrow::default());
    let client = started(options("narrow").outbox_store(Arc::clone(&store))).await;
    let began = tokio::time::Instant::now();
    let outcome = client.publish(message("t", "too long")).await;
    assert!(matches!(outcome, Outcome::Rejected(Rejection::NotStored(error)) if error.is_permanent()));
    drop(queue(&client, message("t", "1")).await);
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    client.stop().await;
    assert_eq!(store.0.texts(), ["1"]);
}

/// A store that is slow to read.
struct Slow(Duration);

#[async_trait]
impl OutboxStore for Slow {
    async fn load(&self, _: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }

    async fn apply(&self, _: Vec<OutboxChange>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_client_starts_is_a_stop() {
    let span = Duration::from_secs(10);
    for drain in [None, Some(span)] {
        let client = ManagedClient::new(options("starting").outbox_store(Slow(span)));
        let stop = async {
            tokio::time::sleep(span / 2).await;
            match drain {
                Some(longest) => client.stop().drain(longest).await,
                None => client.stop().await,
            }
        };
        let both = async { tokio::join!(client.start(), stop) };
        let (started, ()) = tokio::time::timeout(3 * span, both).await.unwrap();
        started.unwrap();
        assert!(client.state().is_stopped());
        assert!(!client.publish(message("t", "")).await.is_delivered());
    }
}

#[tokio::test(start_paused = true)]
async fn an_expiry_goes_on_in_the_store() {
    let log = Arc::new(Log::default());
    let client = started(with("expiry", &log)).await;
    drop(queue(&client, message("t", "").expiry(3600)).await);
    let expires = log.messages()[0].expires.unwrap();
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500));
}
