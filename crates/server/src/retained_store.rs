//! Where retained messages are kept beyond the life of a server: the trait of a store, and what it is told.
//!
//! A store is a log of changes, not a picture of everything: each change of a topic is one [`RetainedChange`], and the
//! last one of a topic counts. Relates to: `persistence.rs`, which calls the store in a task of its own, so that it may
//! take its time; `gantline-storage-file`, which has one on disk. Leaves out: sessions, which are in memory only.

use std::sync::Arc;
use std::time::SystemTime;

use gantline_protocol::{Message, StoreError, TopicName, async_trait};

/// A store of retained messages. [`Server::retained_store`](crate::Server::retained_store) takes one.
///
/// The server calls it from one task, one call at a time: `load` once, before anybody can connect, `apply` as long as
/// it runs, `close` at the end. No client waits for any of it. The calls run on the runtime of the server, so a store
/// that blocks (files, most databases) should do that in `tokio::task::spawn_blocking` or a thread of its own.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use gantline_server::{RetainedChange, RetainedMessage, RetainedStore, StoreError, async_trait};
///
/// #[derive(Default)]
/// struct InMemory(Mutex<BTreeMap<String, RetainedMessage>>);
///
/// #[async_trait]
/// impl RetainedStore for InMemory {
///     async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError> {
///         self.0.lock().unwrap().values().cloned().for_each(|message| found(message.into()));
///         Ok(())
///     }
///
///     async fn apply(&self, changes: Vec<RetainedChange>) -> Result<(), StoreError> {
///         let mut messages = self.0.lock().unwrap();
///         for change in changes {
///             match change {
///                 RetainedChange::Set(message) => drop(messages.insert(message.message.topic().to_string(), message)),
///                 RetainedChange::Clear(topic) => drop(messages.remove(topic.as_str())),
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait RetainedStore: Send + Sync {
    /// Gives what is kept to `found`, in any order of topics. What it gives is applied in order: a log may give its
    /// changes as they are. Messages that have expired may be among it; the server leaves them out.
    ///
    /// # Errors
    ///
    /// Nothing can be read. Then the server does not start, because it would go on to overwrite what it has not seen.
    /// What is damaged in single messages is better reported and left out.
    async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError>;

    /// Keeps changes; no topic is twice among them. When it returns, they are as durable as the store promises.
    ///
    /// Dropped if the time of a [shutdown](crate::RunningServer::shutdown) is over.
    ///
    /// # Errors
    ///
    /// Some of the changes may not have been kept. The server logs and counts that, and comes again later with what
    /// their topics hold by then. It makes no difference if some have been kept already. A panic is taken for an error.
    /// After a [permanent](StoreError::permanent) error, which is logged and counted too, these changes do not come
    /// again.
    async fn apply(&self, changes: Vec<RetainedChange>) -> Result<(), StoreError>;

    /// Nothing more will come: flushes, and releases what others may want to have. Does nothing by default.
    ///
    /// # Errors
    ///
    /// What was applied may not be durable. The server logs it.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that the application keeps a handle of.
#[async_trait]
impl<S: RetainedStore + ?Sized> RetainedStore for Arc<S> {
    async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError> {
        (**self).load(found).await
    }

    async fn apply(&self, changes: Vec<RetainedChange>) -> Result<(), StoreError> {
        (**self).apply(changes).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// What has changed for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetainedChange {
    /// It has this message now.
    Set(RetainedMessage),
    /// It has none any more.
    Clear(TopicName),
}

impl RetainedChange {
    /// The topic.
    pub const fn topic(&self) -> &TopicName {
        match self {
            Self::Set(message) => message.message.topic(),
            Self::Clear(topic) => topic,
        }
    }
}

impl From<RetainedMessage> for RetainedChange {
    fn from(message: RetainedMessage) -> Self {
        Self::Set(message)
    }
}

/// A retained message as it is kept: what counts down while a server runs has become a time of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedMessage {
    /// The message: never with an empty payload, always with RETAIN, and without expiry. If a store gives one with an
    /// expiry and `expires` is `None`, that counts from the start of the server.
    pub message: Message,
    /// When it expires; `None` if it does not.
    pub expires: Option<SystemTime>,
}

impl RetainedMessage {
    /// A message that does not expire but for its own expiry, which counts from `now`.
    pub fn new(message: Message, now: SystemTime) -> Self {
        let seconds = message.properties().message_expiry_interval;
        let Some(seconds) = seconds else { return Self { message: message.retain(true), expires: None } };
        let mut properties = message.properties().clone();
        properties.message_expiry_interval = None;
        let expires = now.checked_add(std::time::Duration::from_secs(seconds.into()));
        Self { message: message.with_properties(properties).retain(true), expires }
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_expiry_becomes_a_time_of_the_calendar() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let kept = RetainedMessage::new(Message::new("t", "x").unwrap().content_type("a/b").expiry(7), now);
        assert_eq!(kept.message, Message::new("t", "x").unwrap().content_type("a/b").retain(true));
        assert_eq!(kept.expires, Some(now + Duration::from_secs(7)));
        assert!(!kept.is_expired(now) && kept.is_expired(now + Duration::from_secs(7)));
    }
}
