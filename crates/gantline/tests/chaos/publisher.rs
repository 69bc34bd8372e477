//! The publisher: numbered messages of QoS 1 and 2, one after the other, and what became of each.
//!
//! It writes down which numbers it is about to publish, publishes them, and writes down that they were accepted. A
//! number whose acceptance is not written down may have been accepted or not; the next process leaves it alone.
//! Outcomes are taken from the events, because those of messages of an earlier process come there only; that the
//! future of each publish resolves too is seen at the end.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantline::managed::{ManagedEvent, MessageId};
use gantline::storage_file::FileStoreOptions;
use gantline::{ConnectOptions, ManagedClient, ManagedOptions, Message, Outcome, QoS};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ledger::{Entry, Ledger};
use crate::process::{Report, orders};

/// The highest number of each QoS is in the ledger; the last message says so in its payload.
pub(crate) const LAST: &str = "last";

pub(crate) async fn run(directory: &Path, url: &str) {
    let (ledger, former) = Ledger::open(&directory.join("publisher.ledger"));
    let book = Arc::new(Book::new(ledger, &former));
    let client = ManagedClient::new(options(directory, url));
    let mut events = client.events();
    let listener = Arc::clone(&book);
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                ManagedEvent::Processed { id, outcome } => listener.ended(id, &outcome),
                ManagedEvent::Skipped { id: Some(id), reason } => {
                    listener.ended(id, &Outcome::Dropped(reason))
                }
                ManagedEvent::StoreFailed(error) => panic!("{error}"),
                _ => {}
            }
            assert_eq!(events.missed(), 0, "events");
        }
    });
    client.start().await.unwrap();
    let orders = orders();
    let mut next = next_numbers(&former);
    let mut deliveries = JoinSet::new();
    let mut last = false;
    while !last {
        book.until_fewer_than(MOST_OPEN).await;
        while deliveries.try_join_next().is_some() {}
        last = *orders.borrow();
        publish(&client, &book, &mut next, &mut deliveries, last).await;
    }
    book.until_fewer_than(1).await;
    client.stop().drain(Duration::from_secs(30)).await;
    assert_eq!(client.counters().pending_messages, 0);
    // The events have told of all of them, so this does not wait for anybody.
    let unresolved = async { while deliveries.join_next().await.is_some() {} };
    let resolved = timeout(Duration::from_secs(10), unresolved).await;
    assert!(resolved.is_ok(), "{} publishes with an outcome do not resolve", deliveries.len());
}

fn options(directory: &Path, url: &str) -> ManagedOptions {
    // Small, so that there are compactions all the time.
    let files = || FileStoreOptions::default().compact_from(64_000);
    let connect = connect_options(url, "publisher")
        .session_store(files().open_session(directory.join("publisher.session")).unwrap());
    ManagedOptions::new(connect)
        .backoff(Duration::from_millis(2), Duration::from_millis(20))
        .outbox_store(files().open_outbox(directory.join("outbox")).unwrap())
}

/// What both clients have in common.
pub(crate) fn connect_options(url: &str, client_id: &str) -> ConnectOptions {
    ConnectOptions::new(url)
        .unwrap()
        .client_id(client_id)
        .unwrap()
        .clean_start(false)
        .session_expiry(Duration::from_secs(3600))
        .keep_alive(Duration::from_secs(1))
        .connect_timeout(Duration::from_secs(1))
        .receive_maximum(RECEIVE_MAXIMUM)
}

/// Publishes some messages of both kinds.
async fn publish(
    client: &ManagedClient,
    book: &Book,
    next: &mut HashMap<QoS, u64>,
    deliveries: &mut JoinSet<()>,
    last: bool,
) {
    let count = if last { 1 } else { AT_ONCE };
    let mut numbers = Vec::new();
    for _ in 0..count {
        for qos in QOS {
            let number = next.entry(qos).or_default();
            numbers.push((qos, *number));
            *number += 1;
        }
    }
    book.write(&numbers.iter().map(|&(qos, number)| Entry::Intend(qos, number)).collect::<Vec<_>>());
    let mut accepted = Vec::new();
    for (qos, number) in numbers {
        let filling = "x".repeat((number % 200) as usize);
        let text = format!("{number} {}", if last { LAST } else { &filling });
        let message = Message::new(topic(qos), text).unwrap().qos(qos);
        let delivery = client.publish(message).queued().await;
        accepted.push((qos, number, delivery.id().unwrap()));
        deliveries.spawn(async move { drop(delivery.await) });
    }
    book.accept(&accepted);
}

pub(crate) const fn topic(qos: QoS) -> &'static str {
    match qos {
        QoS::ExactlyOnce => "chaos/once",
        QoS::AtMostOnce | QoS::AtLeastOnce => "chaos/at-least-once",
    }
}

/// Behind all that an earlier process may have published.
fn next_numbers(former: &[Entry]) -> HashMap<QoS, u64> {
    let mut next = HashMap::new();
    for entry in former {
        if let Entry::Intend(qos, number) = entry {
            next.insert(*qos, number + 1);
        }
    }
    next
}

/// The ledger, and which outcomes are missing.
struct Book {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    ledger: Ledger,
    /// Of all processes.
    names: HashMap<u64, (QoS, u64)>,
    /// Those that have an outcome in the ledger.
    ended: HashSet<(QoS, u64)>,
    /// Accepted by this process and without an outcome.
    open: HashSet<u64>,
    /// Outcomes that came before their acceptance was written down.
    early: HashMap<u64, String>,
    /// Of which this process has heard.
    heard: HashSet<u64>,
}

impl Book {
    fn new(ledger: Ledger, former: &[Entry]) -> Self {
        let (mut names, mut ended) = (HashMap::new(), HashSet::new());
        for entry in former {
            match entry {
                // An id that comes again is one of a message that is done with.
                Entry::Accept(qos, number, id) => drop(names.insert(*id, (*qos, *number))),
                Entry::Outcome(qos, number, _) => drop(ended.insert((*qos, *number))),
                _ => {}
            }
        }
        let (open, early, heard) = (HashSet::new(), HashMap::new(), HashSet::new());
        let state = Mutex::new(State { ledger, names, ended, open, early, heard });
        Self { state, changed: Notify::new() }
    }

    fn write(&self, entries: &[Entry]) {
        self.state.lock().unwrap().ledger.write(entries);
    }

    /// These were accepted now.
    fn accept(&self, accepted: &[(QoS, u64, MessageId)]) {
        let mut state = self.state.lock().unwrap();
        let mut entries = Vec::new();
        for &(qos, number, id) in accepted {
            let id = id.value();
            entries.push(Entry::Accept(qos, number, id));
            state.names.insert(id, (qos, number));
            match state.early.remove(&id) {
                Some(outcome) => entries.push(state.outcome((qos, number), outcome)),
                None => drop(state.open.insert(id)),
            }
        }
        state.ledger.write(&entries);
        drop(state);
        self.changed.notify_waiters();
    }

    fn ended(&self, id: MessageId, outcome: &Outcome) {
        let id = id.value();
        let said = match outcome {
            Outcome::Delivered(_) => "Delivered".to_owned(),
            Outcome::Rejected(why) => format!("Rejected: {why}"),
            Outcome::Dropped(why) => format!("Dropped: {why}"),
            Outcome::Indeterminate(why) => format!("Indeterminate: {why}"),
        };
        let mut state = self.state.lock().unwrap();
        assert!(state.heard.insert(id), "message {id} ends twice in one process, now as {said}");
        state.open.remove(&id);
        match state.names.get(&id).copied() {
            Some(name) => {
                let entry = state.outcome(name, said);
                state.ledger.write(&[entry]);
            }
            None => drop(state.early.insert(id, said)),
        }
        drop(state);
        self.changed.notify_waiters();
        if outcome.is_delivered() {
            Report::Progress.say();
        }
    }

    /// Waits until fewer messages of this process have no outcome.
    async fn until_fewer_than(&self, most: usize) {
        loop {
            let changed = self.changed.notified();
            if self.state.lock().unwrap().open.len() < most {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    fn outcome(&mut self, (qos, number): (QoS, u64), outcome: String) -> Entry {
        if self.ended.insert((qos, number)) {
            Entry::Outcome(qos, number, outcome)
        } else {
            Entry::OutcomeAgain(qos, number, outcome)
        }
    }
}

pub(crate) const QOS: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];
/// How many messages either client may have in flight towards it.
pub(crate) const RECEIVE_MAXIMUM: u16 = 16;
/// How many messages of each QoS share an entry in the ledger.
const AT_ONCE: usize = 4;
/// How many messages without an outcome there may be before more are published.
const MOST_OPEN: usize = 48;
