//! Clients whose processes are killed at random moments, with their sessions on disk, against our server: what QoS 2
//! says about the other end holds across their lives.
//!
//! A life is a runtime of its own that is dropped, and a store that stops working at the moment of death: before a
//! batch is written, after it was written and before the client hears of it, or between two. The test stands outside
//! and knows what the store had confirmed.

#![cfg(all(feature = "client", feature = "server", feature = "storage-file"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, process};

use gantline::client::{SessionChange, SessionStore, StoreError, async_trait};
use gantline::{
    Client, ConnectOptions, FileSessionStore, Message, QoS, RunningServer, Server, ServerOptions,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// How many messages each test sends.
const MESSAGES: u64 = 1_000;
/// How many lives end by violence.
const LIVES: u64 = 25;

/// A directory that is removed with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("gantline-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// When a life ends, as seen from the store.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// After so many batches.
    batches: u64,
    moment: Moment,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforeWriting,
    Unconfirmed,
    Confirmed,
}

impl Death {
    /// Of this life; the last ones end in peace.
    fn of(life: u64) -> Option<Self> {
        let mixed = (life + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let moment = match mixed % 3 {
            0 => Moment::BeforeWriting,
            1 => Moment::Unconfirmed,
            _ => Moment::Confirmed,
        };
        (life < LIVES).then_some(Self { batches: 1 + mixed / 3 % 17, moment })
    }
}

/// What is known outside of the lives.
#[derive(Default)]
struct Outside {
    /// The highest number that was sent, as far as the store has confirmed it or a later life has found it.
    sent: AtomicU64,
    /// How many ids of received messages the store has confirmed in this life.
    received: AtomicU64,
    /// How many messages the application has taken in this life.
    taken: AtomicU64,
    /// The highest number that it has taken ever.
    highest: AtomicU64,
}

/// A store that dies.
struct Mortal {
    files: FileSessionStore,
    outside: Arc<Outside>,
    death: Option<Death>,
    batches: AtomicU64,
    dead: AtomicBool,
    died: Notify,
}

impl Mortal {
    fn open(directory: &Path, outside: &Arc<Outside>, death: Option<Death>) -> Arc<Self> {
        Arc::new(Self {
            files: FileSessionStore::open(directory).unwrap(),
            outside: Arc::clone(outside),
            death,
            batches: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    fn dies(&self, moment: impl Fn(Moment) -> bool) -> bool {
        let dies = self.death.is_some_and(|death| {
            moment(death.moment) && self.batches.load(Ordering::SeqCst) >= death.batches
        });
        if dies {
            self.dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        self.dead.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl SessionStore for Mortal {
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        let mut note = |change: SessionChange| {
            self.outside.sent.fetch_max(number(&change), Ordering::SeqCst);
            found(change);
        };
        self.files.load(&mut note).await
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        if self.dies(|moment| matches!(moment, Moment::BeforeWriting)) {
            pending::<()>().await;
        }
        let sent = changes.iter().map(number).max().unwrap_or(0);
        let received = changes.iter().filter(|change| matches!(change, SessionChange::Received(_))).count();
        self.files.apply(changes).await?;
        if self.dies(|moment| matches!(moment, Moment::Unconfirmed)) {
            pending::<()>().await;
        }
        self.outside.sent.fetch_max(sent, Ordering::SeqCst);
        self.outside.received.fetch_add(received as u64, Ordering::SeqCst);
        self.dies(|moment| matches!(moment, Moment::Confirmed));
        Ok(())
    }
}

/// The number of a message that was sent, else 0.
fn number(change: &SessionChange) -> u64 {
    match change {
        SessionChange::Sent { message, .. } => number_of(message),
        _ => 0,
    }
}

fn number_of(message: &Message) -> u64 {
    message.payload_str().unwrap().parse().unwrap()
}

/// Runs a life to its end: its own, or its death. Everything that it had is dropped as it is.
fn live<T>(store: &Arc<Mortal>, life: impl Future<Output = T>) -> Option<T> {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            () = store.died.notified() => None,
            outcome = tokio::time::timeout(Duration::from_secs(60), life) => Some(outcome.expect("it comes in time")),
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn serve() -> RunningServer {
    Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await.unwrap()
}

fn options(server: &RunningServer, id: &str) -> ConnectOptions {
    let options = ConnectOptions::new(server.local_addresses()[0].to_string()).unwrap();
    options.client_id(id).unwrap().session_expiry(Duration::from_secs(3600)).clean_start(false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_is_killed_sends_each_message_once_and_in_order() {
    let server = serve().await;
    let subscriber = Client::connect(options(&server, "subscriber")).await.unwrap();
    let mut messages = subscriber.subscribe("numbers", QoS::ExactlyOnce).await.unwrap();
    let received = tokio::spawn(async move {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&MESSAGES) {
            numbers.push(number_of(&messages.next().await.unwrap()));
        }
        numbers
    });

    let scratch = Scratch::new("publisher");
    let options = options(&server, "publisher");
    let lives = tokio::task::spawn_blocking(move || {
        let outside = Arc::new(Outside::default());
        for life in 0.. {
            let store = Mortal::open(&scratch.0, &outside, Death::of(life));
            let options = options.clone().session_store(Arc::clone(&store));
            if live(&store, publish(options, Arc::clone(&outside))).is_some() {
                return life;
            }
        }
        unreachable!("the last lives end in peace");
    });
    let lives = lives.await.unwrap();
    let numbers = tokio::time::timeout(Duration::from_secs(60), received).await.expect("all come").unwrap();
    assert_eq!(numbers, (1..=MESSAGES).collect::<Vec<_>>(), "after {lives} deaths");
    assert!(lives >= 10, "{lives} deaths are too few to show anything");
    server.shutdown(Duration::from_secs(5)).await;
}

/// A life: goes on behind the last message that the store has, a few at a time.
async fn publish(options: ConnectOptions, outside: Arc<Outside>) {
    let client = Client::connect(options).await.unwrap();
    assert_eq!(client.connection().unwrap().lost, 0);
    let first = outside.sent.load(Ordering::SeqCst) + 1;
    let mut deliveries = Vec::new();
    for number in first..=MESSAGES {
        let message = Message::new("numbers", number.to_string()).unwrap().qos(QoS::ExactlyOnce);
        deliveries.push(client.publish(message).queued().await.unwrap());
        if number.is_multiple_of(7) {
            deliveries.drain(..).next_back().unwrap().await.unwrap();
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    client.disconnect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_killed_misses_nothing_and_gets_nothing_twice_that_the_store_has() {
    let server = serve().await;
    let scratch = Scratch::new("subscriber");
    let options = options(&server, "subscriber");
    let first = Client::connect(options.clone()).await.unwrap();
    let subscription = first.subscribe("numbers", QoS::ExactlyOnce).await.unwrap();
    first.disconnect().await.unwrap();
    // Without a connection nobody unsubscribes.
    drop((subscription, first));
    for number in 1..=MESSAGES {
        let message = Message::new("numbers", number.to_string()).unwrap().qos(QoS::ExactlyOnce);
        server.publish(message).await.unwrap();
    }

    let lives = tokio::task::spawn_blocking(move || {
        let outside = Arc::new(Outside::default());
        for life in 0.. {
            let store = Mortal::open(&scratch.0, &outside, Death::of(life));
            let options = options.clone().session_store(Arc::clone(&store));
            if live(&store, take(options, Arc::clone(&outside))).is_some() {
                return life;
            }
        }
        unreachable!("the last lives end in peace");
    });
    let lives = lives.await.unwrap();
    assert!(lives >= 10, "{lives} deaths are too few to show anything");
    server.shutdown(Duration::from_secs(5)).await;
}

/// A life: takes messages until the last one is there.
async fn take(options: ConnectOptions, outside: Arc<Outside>) {
    let client = Client::new(options);
    let mut messages = client.messages();
    client.reconnect().await.unwrap();
    let highest = outside.highest.load(Ordering::SeqCst);
    // What the last life has taken and the store had not confirmed may come again.
    let unconfirmed = outside.taken.swap(0, Ordering::SeqCst) - outside.received.swap(0, Ordering::SeqCst);
    let mut expected = highest + 1 - unconfirmed..=highest + 1;
    while outside.highest.load(Ordering::SeqCst) < MESSAGES {
        let number = number_of(&messages.next().await.unwrap());
        assert!(expected.contains(&number), "{number} is not in {expected:?}");
        expected = number + 1..=number + 1;
        outside.taken.fetch_add(1, Ordering::SeqCst);
        outside.highest.fetch_max(number, Ordering::SeqCst);
        if number.is_multiple_of(3) {
            // A moment for the client, so that there are batches to die in.
            client.ping().await.unwrap();
        }
    }
    client.disconnect().await.unwrap();
}
