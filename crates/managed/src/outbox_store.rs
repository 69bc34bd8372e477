//! Where the outbox is kept beyond the life of a client: the trait of a store, and what it is told.
//!
//! A store is a log of changes, not a picture of the queue: one record for a message that came, one when it is sent for
//! the first time if that matters, one when it is done with. Relates to: `journal.rs`, which calls the store in a task
//! of its own; `gantline-storage-file`, which has one on disk. Leaves out: subscriptions, which the application makes
//! again, and the session of the client, which has a store of its own.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use gantline_protocol::{Message, StoreError, async_trait};

/// A store of messages that are not delivered yet.
/// [`ManagedOptions::outbox_store`](crate::ManagedOptions::outbox_store) takes one. Without one the outbox is in memory
/// only.
///
/// The client calls it from one task, one call at a time: `load` once, when it is started for the first time, `apply`
/// as long as it runs, `close` when it is stopped or gone; after a close more calls of `apply` may follow, if it is
/// started again. A message is accepted, and may be sent, once `apply` has returned. The calls run on the runtime of
/// the client, so a store that blocks (files, most databases) should do that in `tokio::task::spawn_blocking` or a
/// thread of its own.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use gantline_managed::{MessageId, OutboxChange, OutboxMessage, OutboxStore, StoreError, async_trait};
///
/// #[derive(Default)]
/// struct InMemory(Mutex<BTreeMap<MessageId, OutboxMessage>>);
///
/// #[async_trait]
/// impl OutboxStore for InMemory {
///     async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
///         self.0.lock().unwrap().values().cloned().for_each(|message| found(OutboxChange::Append(message)));
///         Ok(())
///     }
///
///     async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError> {
///         let mut messages = self.0.lock().unwrap();
///         for change in changes {
///             match change {
///                 OutboxChange::Append(message) => drop(messages.insert(message.id, message)),
///                 OutboxChange::Sent(id) => {
///                     if let Some(message) = messages.get_mut(&id) {
///                         message.sent = true;
///                     }
///                 }
///                 OutboxChange::Remove(id) => drop(messages.remove(&id)),
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Gives what is kept to `found`. What it gives is applied in the order of giving, and messages are sent in the
    /// order of their ids; a log may give its changes as they are. Messages that have expired may be among it; the
    /// client leaves them out.
    ///
    /// # Errors
    ///
    /// Nothing can be read. Then the client does not start, because it would give ids that are in use. What is damaged
    /// in single messages is better reported and left out.
    async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError>;

    /// Keeps changes, in this order. When it returns, they are as durable as the store promises.
    ///
    /// The id of an appended message is above all before it. A change may name an id that the store does not have, or
    /// bring one that it has already: that is no error and changes nothing but what it says.
    ///
    /// # Errors
    ///
    /// Some of the changes may not have been kept. Messages that were to be appended are refused and then removed; the
    /// rest comes again with the next call. It makes no difference if some have been kept already. After a
    /// [permanent](StoreError::permanent) error the next call does not wait.
    async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError>;

    /// The client is stopped: flushes, and releases what others may want to have. Does nothing by default.
    ///
    /// # Errors
    ///
    /// What was applied may not be durable. The client tells it as an event.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that the application keeps a handle of.
#[async_trait]
impl<S: OutboxStore + ?Sized> OutboxStore for Arc<S> {
    async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
        (**self).load(found).await
    }

    async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError> {
        (**self).apply(changes).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// What has changed in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxChange {
    /// This message came; it is behind all others.
    Append(OutboxMessage),
    /// This message of QoS 2 is about to be sent for the first time: from now on the server may have it, so whoever
    /// loads it must not take it for a new one. If the session has a store too, it comes when that has the message.
    /// It may come behind the end of the message.
    Sent(MessageId),
    /// This message is done with: delivered, rejected, dropped, or not to be sent again.
    Remove(MessageId),
}

/// A message as it waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Its place in the order of sending.
    pub id: MessageId,
    /// The message as it was published. Its message expiry interval, if it has one, counts from when it was published.
    pub message: Message,
    /// When it expires; `None` if it does not.
    pub expires: Option<SystemTime>,
    /// Of QoS 2: it may have been sent already. See [`OutboxChange::Sent`].
    pub sent: bool,
}

/// Names a message of an outbox: later messages have higher ids, and those in the outbox at the same time have
/// different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u64);

impl MessageId {
    /// The id with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The id behind it.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
