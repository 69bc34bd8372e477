//! Saving: the task that tells a store what has changed among the retained messages.
//!
//! It writes behind: publishers leave topics in `broker/unsaved.rs` and go on; this task takes them, reads what they
//! hold by now, and gives the store one batch after the other. While the store is slow, the next batch grows; while it
//! fails, the topics wait and are tried again. Relates to: [`RetainedStore`], which is user code and runs under no
//! lock. Leaves out: what a store does.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gantline_protocol::{Moment, Outbound, StoreError, TopicName};
use gantline_transport::Clock;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::broker::Broker;
use crate::broker::retained::Retained;
use crate::broker::unsaved::Unsaved;
use crate::retained_store::{RetainedChange, RetainedMessage, RetainedStore};

/// The end of the task that an application holds.
#[derive(Debug)]
pub(crate) struct Persistence {
    /// Until when the task may go on saving, once it is to end.
    finish: watch::Sender<Option<Instant>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Persistence {
    /// Starts to save what changes from now on.
    pub(crate) fn start(store: Arc<dyn RetainedStore>, broker: Arc<Broker>, clock: Clock) -> Self {
        let finish = watch::Sender::new(None);
        let (alive, ended) = mpsc::channel(1);
        let saver = Saver { store, broker, clock, finish: finish.subscribe(), failures: 0 };
        tokio::spawn(async move {
            saver.run().await;
            drop(alive);
        });
        Self { finish, ended: Mutex::new(ended) }
    }

    /// Returns when all is saved and the store is closed, or when the time for that is over. Cancel safe: called again,
    /// it goes on waiting.
    pub(crate) async fn finish(&self, time: Duration) {
        let deadline = Instant::now() + time.clamp(TIME_TO_SAVE, LONGEST_TIME_TO_SAVE);
        self.finish.send_if_modified(|finish| {
            let first = finish.is_none();
            finish.get_or_insert(deadline);
            first
        });
        self.ended.lock().await.recv().await;
    }
}

/// Fills the tree of a new broker with what a store has.
pub(crate) async fn load(store: &dyn RetainedStore, broker: &Broker, clock: Clock) -> Result<(), StoreError> {
    let (now, today) = (clock.now(), SystemTime::now());
    let (mut useless, mut expired) = (0_usize, Vec::new());
    let mut keep = |change: RetainedChange| match change {
        RetainedChange::Clear(topic) => broker.restore(topic.as_str(), None, now),
        RetainedChange::Set(RetainedMessage { message, .. })
            if message.payload().is_empty() || message.check().is_err() =>
        {
            useless += 1;
        }
        RetainedChange::Set(message) if message.is_expired(today) => {
            let topic = message.message.topic();
            broker.restore(topic.as_str(), None, now);
            expired.push(topic.clone());
        }
        RetainedChange::Set(RetainedMessage { message, expires }) => {
            let Outbound { frame, qos, expires: own, .. } = Outbound::new(&message, now);
            // In the past it would have expired.
            let left = expires.map(|expires| expires.duration_since(today).unwrap_or_default());
            let expires = left.map_or(own, |left| now.plus(left));
            broker.restore(message.topic().as_str(), Some(Retained { frame, qos, expires }), now);
        }
    };
    store.load(&mut keep).await?;
    let unsaved = broker.unsaved.get_or_init(Unsaved::default);
    // A later message of the topic may have come behind it; the value decides when it is written.
    expired.iter().for_each(|topic| unsaved.add(topic.as_str()));
    if useless > 0 {
        tracing::warn!(
            name: "store.useless", messages = useless,
            "the store has messages that cannot be retained, they are left out"
        );
    }
    tracing::info!(
        name: "store.loaded",
        messages = broker.retained.read().count(),
        "retained messages loaded"
    );
    Ok(())
}

/// The task.
struct Saver {
    store: Arc<dyn RetainedStore>,
    broker: Arc<Broker>,
    clock: Clock,
    finish: watch::Receiver<Option<Instant>>,
    /// How many times the store has failed in a row.
    failures: u32,
}

impl Saver {
    async fn run(mut self) {
        let mut finish = self.finish.clone();
        let in_time = tokio::select! {
            () = self.save_until_asked_to_end() => true,
            () = time_is_over(&mut finish) => false,
        };
        let left = self.unsaved().map_or(0, Unsaved::len);
        if left > 0 {
            tracing::error!(
                name: "store.unsaved",
                topics = left,
                in_time,
                "retained messages are not saved, the store failed"
            );
        }
        let deadline = finish.borrow().unwrap_or_else(Instant::now).max(Instant::now() + TIME_TO_CLOSE);
        let store = Arc::clone(&self.store);
        match timeout_at(deadline, guarded(async move { store.close().await })).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(
                    name: "store.close_failed",
                    %error,
                    "the store of retained messages failed at its end"
                )
            }
            Err(_) => {
                tracing::error!(
                    name: "store.close_failed",
                    "the store of retained messages did not close in time"
                )
            }
        }
    }

    async fn save_until_asked_to_end(&mut self) {
        let broker = Arc::clone(&self.broker);
        let Some(unsaved) = broker.unsaved.get() else { return };
        let mut finish = self.finish.clone();
        loop {
            let ends = finish.borrow_and_update().is_some() || finish.has_changed().is_err();
            let saved = self.save(unsaved).await;
            self.note(&saved);
            match (saved, ends) {
                (Ok(()), true) => return,
                // Without an owner there is nobody who set a time.
                (Err(_), true) if finish.has_changed().is_err() => return,
                (Err(_), true) => sleep(RETRY_AT_THE_END).await,
                (Err(_), false) => until(sleep(self.pause()), &mut finish).await,
                (Ok(()), false) => {
                    until(unsaved.arrived().notified(), &mut finish).await;
                    until(sleep(GATHER), &mut finish).await;
                }
            }
        }
    }

    /// Saves what has changed, until nothing is left.
    async fn save(&self, unsaved: &Unsaved) -> Result<(), StoreError> {
        loop {
            let mut topics = unsaved.take();
            if topics.is_empty() {
                return Ok(());
            }
            while !topics.is_empty() {
                let (changes, count) = self.changes(&topics);
                let store = Arc::clone(&self.store);
                match guarded(async move { store.apply(changes).await }).await {
                    Ok(()) => {}
                    Err(error) if error.is_permanent() => {
                        self.broker.counters.store_failures.add(1);
                        tracing::error!(
                            name: "store.refused",
                            %error,
                            "a retained message cannot be saved, the store is left without it"
                        );
                    }
                    Err(error) => {
                        unsaved.put_back(topics);
                        return Err(error);
                    }
                }
                topics.truncate(topics.len() - count);
                unsaved.saved(count);
            }
        }
    }

    /// What topics from the end of the list hold by now, and how many topics that are.
    fn changes(&self, topics: &[Box<str>]) -> (Vec<RetainedChange>, usize) {
        let (now, today) = (self.clock.now(), SystemTime::now());
        let (mut changes, mut count, mut bytes) = (Vec::new(), 0, 0);
        for topics in topics.rchunks(TOPICS_UNDER_A_LOCK) {
            let values = self.broker.retained_values(topics, now);
            for (topic, value) in topics.iter().zip(values) {
                bytes += topic.len() + value.as_ref().map_or(0, |value| value.frame.weight());
                changes.extend(change(topic, value.as_ref(), now, today));
            }
            count += topics.len();
            if count >= TOPICS_OF_A_BATCH || bytes >= BYTES_OF_A_BATCH {
                break;
            }
        }
        (changes, count)
    }

    /// Counts and logs how it went.
    fn note(&mut self, saved: &Result<(), StoreError>) {
        match saved {
            Ok(()) if self.failures > 0 => {
                tracing::info!(
                    name: "store.recovered",
                    failures = mem::take(&mut self.failures),
                    "retained messages are saved again"
                );
            }
            Ok(()) => {}
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.broker.counters.store_failures.add(1);
                let topics = self.unsaved().map_or(0, Unsaved::len);
                tracing::error!(
                    name: "store.failed",
                    %error,
                    topics,
                    failures = self.failures,
                    "retained messages cannot be saved, they are kept in memory and tried again"
                );
            }
        }
    }

    /// How long the store is left alone after it failed.
    fn pause(&self) -> Duration {
        let doubled = self.failures.saturating_sub(1).min(16);
        (FIRST_RETRY * (1 << doubled)).min(LAST_RETRY)
    }

    fn unsaved(&self) -> Option<&Unsaved> {
        self.broker.unsaved.get()
    }
}

/// One change as a store is told of it. A topic of the tree always is one.
fn change(topic: &str, value: Option<&Retained>, now: Moment, today: SystemTime) -> Option<RetainedChange> {
    let Some(Retained { frame, qos, expires }) = value else {
        return TopicName::new(topic).ok().map(RetainedChange::Clear);
    };
    let message = frame.to_message(*qos, true, None, &[]);
    let expires = (*expires != Moment::NEVER).then(|| today.checked_add(expires.since(now))).flatten();
    Some(RetainedMessage { message, expires }.into())
}

/// Runs a call of the store in a task of its own, so that a panic ends there. If this is dropped, the call is too.
async fn guarded(
    call: impl Future<Output = Result<(), StoreError>> + Send + 'static,
) -> Result<(), StoreError> {
    let call = tokio::spawn(call);
    let _end = AbortOnDrop(call.abort_handle());
    call.await
        .unwrap_or_else(|gone| Err(StoreError::new("the store did not end its work (fix the store)", gone)))
}

/// Ends a task that nobody waits for any more.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for something, but no longer than until the task is to end.
async fn until(event: impl Future<Output = ()>, finish: &mut watch::Receiver<Option<Instant>>) {
    tokio::select! {
        () = event => {}
        // An error says that the owner is gone.
        _ = finish.wait_for(Option::is_some) => {}
    }
}

/// Waits until the time at the end is over.
async fn time_is_over(finish: &mut watch::Receiver<Option<Instant>>) {
    let deadline = finish.wait_for(Option::is_some).await.ok().and_then(|finish| *finish);
    sleep_until(deadline.unwrap_or_else(|| Instant::now() + TIME_TO_SAVE)).await;
}

/// Changes that come within this time share a batch.
const GATHER: Duration = Duration::from_millis(10);
/// The batch is closed at so many topics, or bytes.
const TOPICS_OF_A_BATCH: usize = 4_096;
const BYTES_OF_A_BATCH: usize = 4 << 20;
/// Publishers of retained messages wait meanwhile: a fraction of a millisecond.
const TOPICS_UNDER_A_LOCK: usize = 256;
/// How soon a store that failed is tried again; doubled each time, up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);
const RETRY_AT_THE_END: Duration = Duration::from_millis(100);
/// What there is at least for the last changes; and at most, a number that can be added to the present.
const TIME_TO_SAVE: Duration = Duration::from_secs(5);
const LONGEST_TIME_TO_SAVE: Duration = Duration::from_secs(1 << 25);
/// What a store gets to close even if there is no time left.
const TIME_TO_CLOSE: Duration = Duration::from_secs(1);
