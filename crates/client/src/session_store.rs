//! Where a client's session is kept beyond the life of its process: the trait of a store, and what it is told.
//!
//! A store is a log of changes, not a picture of the session: what is in flight changes with every packet. Relates to:
//! `journal.rs`, which calls the store in a task of its own, so that it may take its time; `gantline-storage-file`,
//! which has one on disk. Leaves out: subscriptions, which the server keeps and the application makes its streams for
//! again; messages that were accepted and not sent.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use gantline_protocol::{ClientId, Message, PacketId, StoreError, async_trait};

/// A store of what a client must not forget (section 4.1): the messages of QoS 1 and 2 that it sent and that are not
/// acknowledged completely, and the packet ids of QoS 2 messages that it took and that are not released.
/// [`ConnectOptions::session_store`](crate::ConnectOptions::session_store) takes one. Without one the session is in
/// memory only.
///
/// A store has the session of one client id and belongs to one client at a time. The client calls it from one task, one
/// call at a time: `load` once, when it connects for the first time, then `apply`. The calls run on the runtime of the
/// client, so a store that blocks (files, most databases) should do that in `tokio::task::spawn_blocking` or a thread
/// of its own. It is closed by dropping it.
///
/// ```
/// use std::sync::Mutex;
///
/// use gantline_client::{SessionChange, SessionStore, StoreError, async_trait};
///
/// /// Keeps the log in memory, however long it gets; a store that lasts leaves out what later changes have undone.
/// #[derive(Default)]
/// struct InMemory(Mutex<Vec<SessionChange>>);
///
/// #[async_trait]
/// impl SessionStore for InMemory {
///     async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
///         self.0.lock().unwrap().iter().cloned().for_each(found);
///         Ok(())
///     }
///
///     async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
///         self.0.lock().unwrap().extend(changes);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Gives what is kept to `found`, in the order in which it was applied. Of changes that undo each other both or
    /// none may be given, so a log may give its changes as they are.
    ///
    /// # Errors
    ///
    /// Nothing can be read. Then the client does not connect, because it would use packet ids that are in use. What is
    /// damaged in single changes is better reported and left out.
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError>;

    /// Keeps changes, in this order. When it returns, they are as durable as the store promises.
    ///
    /// A change may say what is so already, or undo what the store does not have: that is no error.
    ///
    /// # Errors
    ///
    /// Some of the changes may not have been kept. The connection ends, and all of them come again, before anything
    /// new, when the client connects again. It makes no difference if some have been kept already. After a
    /// [permanent](StoreError::permanent) error, which is logged, the connection goes on, and these changes do not come
    /// again.
    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError>;
}

/// A store that the application keeps a handle of.
#[async_trait]
impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        (**self).load(found).await
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        (**self).apply(changes).await
    }
}

/// What has changed in the session of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// A session of this client id begins: everything before this is void.
    Begin(ClientId),
    /// A message of QoS 1 or 2 is about to be sent with this packet id, behind all others. It takes the place of
    /// another one with this id.
    Sent {
        /// Its packet id.
        id: PacketId,
        /// The message, without its message expiry interval.
        message: Message,
        /// When it expires; `None` if it does not.
        expires: Option<SystemTime>,
        /// What its publisher calls it: see [`Publish::across_restarts`](crate::Publish::across_restarts).
        name: Option<u64>,
    },
    /// PUBREC came for the message that was sent with this id: it is not to be sent again. PUBREL is, in the order of
    /// these changes.
    Released {
        /// Its packet id.
        id: PacketId,
        /// What its publisher calls it, as when it was sent.
        name: Option<u64>,
    },
    /// The message that was sent with this id is acknowledged completely.
    Completed(PacketId),
    /// The application took a message of QoS 2 that came with this id: one that comes with it again is a duplicate.
    Received(PacketId),
    /// PUBREL came for this id: the next message with it is a new one.
    Freed(PacketId),
}

/// When a client goes on after a change of its session. See
/// [`ConnectOptions::session_store`](crate::ConnectOptions::session_store).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A packet leaves when the store has what must not be forgotten once it has left. Whenever the process ends, what
    /// was sent is sent again, and neither end takes a message of QoS 2 for what it is not, as far as the store keeps
    /// what it has confirmed. The default.
    ///
    /// Changes that come meanwhile share the next call of the store, so a slow one costs latency rather than
    /// throughput.
    #[default]
    BeforeSend,
    /// Packets leave at once and the store follows, at most so many bytes of messages and changes behind; above that,
    /// packets wait.
    ///
    /// If the process is killed, the last messages may be lost; those of QoS 2 may come twice, or not at all because
    /// the other end takes them for duplicates. As long as the process ends in order
    /// ([`Client::disconnect`](crate::Client::disconnect)) there is no difference.
    WriteBehind {
        /// The bytes; 1 MiB is a good value.
        most: usize,
    },
}

/// A store as the options hold it.
#[derive(Clone)]
pub(crate) struct Store(pub(crate) Arc<dyn SessionStore>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionStore")
    }
}
