//! Starting and stopping: what there is of a managed client while it runs.
//!
//! Relates to: `supervisor.rs` and `journal.rs`, the two tasks. Leaves out: what they do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use gantline_client::{ConnectError, Delivery};
use gantline_protocol::{QoS, StoreError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::journal;
use crate::options::InDoubt;
use crate::outbox_store::{MessageId, OutboxChange, OutboxMessage, OutboxStore};
use crate::outcome::{Doubt, Outcome};
use crate::shared::{Shared, Wish};
use crate::state::State;
use crate::supervisor::Supervisor;

/// The tasks. Whoever starts or stops holds a lock around it.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    supervisor: Option<JoinHandle<()>>,
    loaded: bool,
}

/// Starts, if it is not running.
pub(crate) async fn start(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let mut lifecycle = shared.lifecycle.lock().await;
    let alive = lifecycle.supervisor.as_ref().is_some_and(|task| !task.is_finished());
    if alive && *shared.wish.borrow() == Wish::Run && !shared.state.borrow().is_stopped() {
        return Ok(());
    }
    lifecycle.wait().await;
    if let Some(store) = shared.options.store.as_ref().filter(|_| !lifecycle.loaded) {
        load(shared, store).await?;
        lifecycle.loaded = true;
    }
    shared.wish.send_replace(Wish::Run);
    shared.outbox.lock().accept(true);
    shared.enter(State::Connecting);
    let journal = shared.options.store.as_ref().map(|store| {
        shared.outbox.lock().close_journal(false);
        tokio::spawn(journal::keep(Arc::clone(shared), Arc::clone(store)))
    });
    lifecycle.supervisor = Some(tokio::spawn(Supervisor::new(shared, journal).run()));
    Ok(())
}

/// Has the supervisor stop, and waits until it has.
pub(crate) async fn stop(shared: &Shared, wish: Wish) {
    order(shared, wish);
    let mut lifecycle = shared.lifecycle.lock().await;
    // A start that was under way has overruled the order.
    order(shared, wish);
    lifecycle.wait().await;
}

/// Has the supervisor stop.
pub(crate) fn order(shared: &Shared, wish: Wish) {
    // From now on, not from when the supervisor hears of it.
    shared.outbox.lock().accept(false);
    shared.wish.send_if_modified(|held| {
        let goes_on = *held == Wish::Run || matches!(wish, Wish::Stop(_));
        if goes_on {
            *held = wish;
        }
        goes_on
    });
}

impl Lifecycle {
    /// Until the supervisor has ended. Cancel safe.
    async fn wait(&mut self) {
        if let Some(task) = &mut self.supervisor {
            if let Err(error) = task.await {
                tracing::error!(%error, "the supervisor of a managed client failed");
            }
            self.supervisor = None;
        }
    }
}

/// Reads the store into the outbox.
async fn load(shared: &Shared, store: &Arc<dyn OutboxStore>) -> Result<(), StoreError> {
    let from = Arc::clone(store);
    let found = journal::guarded(async move {
        let mut log = Log::default();
        from.load(&mut |change| log.apply(change)).await?;
        Ok(log)
    });
    let Log { messages, highest } = found.await?;
    let linked = shared.outbox.lock().is_linked();
    let unfinished = if linked { load_session(shared).await? } else { Vec::new() };
    if let Some(highest) = highest {
        shared.outbox.lock().know(highest);
    }
    let now = (Instant::now(), SystemTime::now());
    let mut in_doubt = Vec::new();
    let mut adopted = Vec::new();
    {
        let mut outbox = shared.outbox.lock();
        for message in messages.into_values() {
            let entry = outbox.restore(message, now);
            if entry.in_doubt && entry.message.qos_level() == QoS::ExactlyOnce {
                in_doubt.push(entry.id);
            }
        }
        for (id, delivery) in unfinished {
            outbox.know(id);
            // One that is not there is done with, and only the session has not heard of it.
            adopted.extend(outbox.take(id).map(|entry| (entry, delivery)));
        }
    }
    shared.parked.lock().adopt(shared, adopted);
    if shared.options.in_doubt == InDoubt::GiveUp {
        for id in in_doubt {
            let entry = shared.outbox.lock().take(id);
            if let Some(entry) = entry {
                shared.finish(entry, Outcome::Indeterminate(Doubt::Restarted));
            }
        }
    }
    Ok(())
}

/// The messages that the session of an earlier process delivers.
async fn load_session(shared: &Shared) -> Result<Vec<(MessageId, Delivery)>, StoreError> {
    match shared.client.load_session().await {
        Ok(found) => Ok(found.into_iter().map(|(name, delivery)| (MessageId::new(name), delivery)).collect()),
        Err(ConnectError::Store(error)) => Err(error),
        Err(error) => Err(StoreError::new("cannot use the store of the session", error)),
    }
}

/// What a store gives, put together.
#[derive(Debug, Default)]
struct Log {
    messages: BTreeMap<MessageId, OutboxMessage>,
    highest: Option<MessageId>,
}

impl Log {
    fn apply(&mut self, change: OutboxChange) {
        let id = match change {
            OutboxChange::Append(message) => {
                let id = message.id;
                self.messages.insert(id, message);
                id
            }
            OutboxChange::Sent(id) => {
                if let Some(message) = self.messages.get_mut(&id) {
                    message.sent = true;
                }
                id
            }
            OutboxChange::Remove(id) => {
                self.messages.remove(&id);
                id
            }
        };
        self.highest = self.highest.max(Some(id));
    }
}
