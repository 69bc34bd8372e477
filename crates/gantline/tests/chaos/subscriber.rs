//! The subscriber: writes down each message that it takes.
//!
//! Where it is killed it acknowledges by hand, behind that, so that nothing is lost. What it was killed with in
//! between comes again, because only the ledger knows that it was taken (see docs/adr/0020); `verdict.rs` tells such
//! a repetition from one that must not be. Elsewhere taking a message acknowledges it, and nothing may come again.

use std::path::Path;
use std::time::Duration;

use gantline::managed::{ManualStream, Subscription, Unacknowledged};
use gantline::storage_file::FileStoreOptions;
use gantline::{ManagedClient, ManagedOptions, Message, QoS, ReasonCode};
use tokio::time::timeout;

use crate::ledger::{Entry, Ledger};
use crate::process::{Report, orders};
use crate::publisher::{LAST, QOS, connect_options, topic};

/// How messages are acknowledged, as an argument.
pub(crate) const WHEN_TAKEN: &str = "when-taken";
pub(crate) const BY_HAND: &str = "by-hand";

pub(crate) async fn run(directory: &Path, url: &str, acks: &str) {
    let (mut ledger, former) = Ledger::open(&directory.join("subscriber.ledger"));
    // Small, so that there are compactions all the time.
    let store = FileStoreOptions::default().compact_from(16_000);
    let store = store.open_session(directory.join("subscriber.session")).unwrap();
    let connect = connect_options(url, "subscriber").session_store(store);
    let (shortest, longest) = (Duration::from_millis(2), Duration::from_millis(20));
    let client = ManagedClient::new(ManagedOptions::new(connect).backoff(shortest, longest));
    let mut messages = client.subscribe("chaos/#", QoS::ExactlyOnce).await.unwrap();
    client.start().await.unwrap();
    let _orders = orders();
    if former.is_empty() {
        messages.granted().await.unwrap();
        Report::Ready.say();
    }
    let mut messages = match acks {
        BY_HAND => Messages::ByHand(messages.manual_acks()),
        _ => Messages::WhenTaken(messages),
    };
    let mut lasts = 0;
    loop {
        let mut taken = vec![messages.next().await];
        // What is there already shares an entry.
        while let Ok(message) = timeout(Duration::ZERO, messages.next()).await {
            taken.push(message);
        }
        let entries: Vec<Entry> = taken.iter().map(|(message, _)| entry(message)).collect();
        ledger.write(&entries);
        for (message, unacknowledged) in taken {
            if let Some(unacknowledged) = unacknowledged {
                unacknowledged.acknowledge(ReasonCode::Success);
            }
            lasts += usize::from(message.payload_str().unwrap().ends_with(LAST));
        }
        Report::Progress.say();
        if lasts >= QOS.len() {
            Report::Last.say();
        }
    }
}

enum Messages {
    WhenTaken(Subscription),
    ByHand(ManualStream),
}

impl Messages {
    async fn next(&mut self) -> (Message, Option<Unacknowledged>) {
        match self {
            Self::WhenTaken(messages) => (messages.next().await.unwrap(), None),
            Self::ByHand(messages) => {
                let message = messages.next().await.unwrap();
                (Message::clone(&message), Some(message))
            }
        }
    }
}

fn entry(message: &Message) -> Entry {
    let text = message.payload_str().unwrap();
    let number = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap();
    let [at_least_once, exactly_once] = QOS;
    let qos = if message.topic().as_str() == topic(exactly_once) { exactly_once } else { at_least_once };
    assert_eq!(message.qos_level(), qos);
    Entry::Take(qos, number)
}
