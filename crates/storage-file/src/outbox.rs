//! The store of a managed client's outbox: a log of what came and what is done with.
//!
//! A message is `{"append":{"id":12,"message":{…}}}`, with `"sent":true` where that is known already; later lines are
//! `{"sent":12}` and `{"remove":12}`. Relates to: [`OutboxStore`], which this implements; `message.rs`, what a message
//! is. Leaves out: files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use gantline_managed::{MessageId, OutboxChange, OutboxMessage, OutboxStore, async_trait};
use gantline_protocol::StoreError;
use serde::{Deserialize, Serialize};

use crate::log::{Change, LoadReport, Log, OpenError, Place};
use crate::message::{MessageRecord, RecordError, is_false};
use crate::options::FileStoreOptions;

/// The outbox of a managed client in a directory. The crate's page says what its files are.
///
/// A message is appended to a log, and so is its end; lines that do not count any more are left out by a compaction in
/// the background, during which appending goes on. Damage to a file costs what the damaged lines say and nothing else:
/// they are left out, reported ([`load_report`](Self::load_report) and the log) and set aside, and the store opens. A
/// damaged end of a message means that it is sent once more.
///
/// Dropping it gives the directory free, and blocks the thread for what is still to be written and one sync, of which
/// little is left when the client was stopped before: milliseconds, or as long as a disk that hangs.
#[derive(Debug)]
pub struct FileOutbox {
    log: Log<OutboxChange>,
}

impl FileOutbox {
    /// Opens the outbox in a directory, with default options; see [`FileStoreOptions`]. The directory is made if it is
    /// not there. It lists the directory and reads nothing else.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        FileStoreOptions::default().open_outbox(directory)
    }

    pub(crate) fn with_options(path: &Path, options: FileStoreOptions) -> Result<Self, OpenError> {
        Ok(Self { log: Log::open(path, options)? })
    }

    /// What was found when the outbox was last loaded; `None` before.
    pub fn load_report(&self) -> Option<Arc<LoadReport>> {
        self.log.load_report()
    }

    /// Leaves out what is done with, now, and returns when that is done. The store does so by itself.
    ///
    /// # Errors
    ///
    /// The snapshot cannot be written; then everything is as before. Or the store was closed and dropped.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.log.compact().await
    }
}

#[async_trait]
impl OutboxStore for FileOutbox {
    async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
        self.log.load(found).await
    }

    /// Carried out also if it is dropped.
    async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError> {
        self.log.apply(changes).await
    }

    /// Syncs, unless the policy is [`Fsync::Never`](crate::Fsync::Never). The directory is given free when the store is
    /// dropped, because a client that is started again goes on with it.
    async fn close(&self) -> Result<(), StoreError> {
        self.log.sync().await
    }
}

impl Change for OutboxChange {
    const NAME: &'static str = "outbox";

    /// A message, and whether it is about its having been sent.
    type Key = (MessageId, bool);

    fn write(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let record = match self {
            Self::Append(OutboxMessage { id, message, expires, sent }) => Record::Append(Appended {
                id: id.value(),
                sent: *sent,
                message: MessageRecord::of(message, *expires)?,
            }),
            Self::Sent(id) => Record::Sent(id.value()),
            Self::Remove(id) => Record::Remove(id.value()),
        };
        Ok(serde_json::to_writer(out, &record)?)
    }

    fn instead(&self) -> Option<Self> {
        None
    }

    fn read(json: &[u8]) -> Result<Self, RecordError> {
        Ok(match serde_json::from_slice(json)? {
            Record::Append(Appended { id, sent, message }) => {
                let (message, expires) = message.message()?;
                Self::Append(OutboxMessage { id: MessageId::new(id), message, expires, sent })
            }
            Record::Sent(id) => Self::Sent(MessageId::new(id)),
            Record::Remove(id) => Self::Remove(MessageId::new(id)),
        })
    }

    fn settle(self, place: Place, places: &mut HashMap<Self::Key, Place>, _: SystemTime) {
        match self {
            Self::Append(message) => drop(places.insert((message.id, false), place)),
            Self::Sent(id) if places.contains_key(&(id, false)) => drop(places.insert((id, true), place)),
            // Of a message that is not there.
            Self::Sent(_) => {}
            Self::Remove(id) => {
                places.remove(&(id, false));
                places.remove(&(id, true));
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Append(message) => format!("message {} to {}", message.id, message.message.topic()),
            Self::Sent(id) => format!("that message {id} was sent"),
            Self::Remove(id) => format!("the end of message {id}"),
        }
    }
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way to or from a line")]
enum Record<'a> {
    #[serde(borrow)]
    Append(Appended<'a>),
    Sent(u64),
    Remove(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Appended<'a> {
    id: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    sent: bool,
    #[serde(borrow)]
    message: MessageRecord<'a>,
}
