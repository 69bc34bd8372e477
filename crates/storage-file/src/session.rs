//! The store of a client's session: a log of what was sent, taken, and acknowledged.
//!
//! Lines are `{"begin":"client id"}`, `{"sent":{"id":7,"message":{…}}}`, `{"released":7}`, `{"completed":7}`,
//! `{"received":9}` and `{"freed":9}`, as in [`SessionChange`]; of a message that has a name `"name":12` behind the id,
//! and `{"released_as":[7,12]}`. Relates to: [`SessionStore`], which this implements;
//! `message.rs`, what a message is. Leaves out: files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use gantline_client::{ClientId, PacketId, SessionChange, SessionStore, async_trait};
use gantline_protocol::StoreError;
use serde::{Deserialize, Serialize};

use crate::log::{Change, LoadReport, Log, OpenError, Place};
use crate::message::{MessageRecord, RecordError, value};
use crate::options::FileStoreOptions;

/// The session of a client in a directory. The crate's page says what its files are.
///
/// What changes is appended to a log; lines that do not count any more are left out by a compaction in the background,
/// during which appending goes on. Damage to a file costs what the damaged lines say and nothing else: they are left
/// out, reported ([`load_report`](Self::load_report) and the log) and set aside, and the store opens.
///
/// What a client was told to be kept survives the end of its process. Whether it survives a power cut is said by
/// [`Fsync`](crate::Fsync), of which only `EachBatch` keeps the promises of QoS 2 through one.
///
/// A store that was not [closed](Self::close) is when it is dropped, which blocks the thread for what is still to be
/// written and one sync: milliseconds, or as long as a disk that hangs.
///
/// ```no_run
/// use std::time::Duration;
///
/// use gantline_client::{Client, ConnectOptions};
/// use gantline_storage_file::FileSessionStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ConnectOptions::new("mqtt://localhost")?
///     .client_id("kitchen")?
///     .clean_start(false)
///     .session_expiry(Duration::from_secs(86_400))
///     .session_store(FileSessionStore::open("kitchen.session")?);
/// let client = Client::connect(options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileSessionStore {
    log: Log<SessionChange>,
}

impl FileSessionStore {
    /// Opens the store in a directory, with default options; see [`FileStoreOptions`]. The directory is made if it is
    /// not there. It lists the directory and reads nothing else.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        FileStoreOptions::default().open_session(directory)
    }

    pub(crate) fn with_options(path: &Path, options: FileStoreOptions) -> Result<Self, OpenError> {
        Ok(Self { log: Log::open(path, options)? })
    }

    /// What was found when the session was last loaded; `None` before.
    pub fn load_report(&self) -> Option<Arc<LoadReport>> {
        self.log.load_report()
    }

    /// Leaves out what does not count any more, now, and returns when that is done. The store does so by itself.
    ///
    /// # Errors
    ///
    /// The snapshot cannot be written; then everything is as before. Or the store is closed.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.log.compact().await
    }

    /// Syncs, unless the policy is [`Fsync::Never`](crate::Fsync::Never), and gives the directory free. What is still
    /// to be written comes first. Cancel safe: it happens all the same.
    ///
    /// # Errors
    ///
    /// What was applied may not survive a power cut.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.log.close().await
    }
}

#[async_trait]
impl SessionStore for FileSessionStore {
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        self.log.load(found).await
    }

    /// Carried out also if it is dropped.
    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        self.log.apply(changes).await
    }
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum About {
    Session,
    Outgoing(PacketId),
    Incoming(PacketId),
}

impl Change for SessionChange {
    const NAME: &'static str = "session";

    type Key = About;

    fn write(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let record = match self {
            Self::Begin(client_id) => Record::Begin(client_id.as_str().into()),
            Self::Sent { id, message, expires, name } => Record::Sent(Sent {
                id: id.get(),
                name: *name,
                message: MessageRecord::of(message, *expires)?,
            }),
            Self::Released { id, name: None } => Record::Released(id.get()),
            Self::Released { id, name: Some(name) } => Record::ReleasedAs(id.get(), *name),
            Self::Completed(id) => Record::Completed(id.get()),
            Self::Received(id) => Record::Received(id.get()),
            Self::Freed(id) => Record::Freed(id.get()),
        };
        Ok(serde_json::to_writer(out, &record)?)
    }

    fn instead(&self) -> Option<Self> {
        match self {
            Self::Sent { id, .. } => Some(Self::Completed(*id)),
            _ => None,
        }
    }

    fn read(json: &[u8]) -> Result<Self, RecordError> {
        let id = |number: u16| PacketId::new(number).ok_or_else(|| value("id", number));
        Ok(match serde_json::from_slice(json)? {
            Record::Begin(text) => Self::Begin(ClientId::new(&*text).map_err(|error| value("begin", error))?),
            Record::Sent(Sent { id: number, name, message }) => {
                let (message, expires) = message.message()?;
                Self::Sent { id: id(number)?, message, expires, name }
            }
            Record::Released(number) => Self::Released { id: id(number)?, name: None },
            Record::ReleasedAs(number, name) => Self::Released { id: id(number)?, name: Some(name) },
            Record::Completed(number) => Self::Completed(id(number)?),
            Record::Received(number) => Self::Received(id(number)?),
            Record::Freed(number) => Self::Freed(id(number)?),
        })
    }

    fn settle(self, place: Place, places: &mut HashMap<About, Place>, _: SystemTime) {
        match self {
            Self::Begin(_) => {
                places.clear();
                places.insert(About::Session, place);
            }
            // In flight until it is acknowledged, also if it has expired.
            Self::Sent { id, .. } | Self::Released { id, .. } => {
                places.insert(About::Outgoing(id), place);
            }
            Self::Completed(id) => drop(places.remove(&About::Outgoing(id))),
            Self::Received(id) => drop(places.insert(About::Incoming(id), place)),
            Self::Freed(id) => drop(places.remove(&About::Incoming(id))),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Begin(client_id) => format!("the session of {:?}", client_id.as_str()),
            Self::Sent { id, message, .. } => format!("message {id} to {}", message.topic()),
            Self::Released { id, .. } | Self::Completed(id) => format!("what became of message {id}"),
            Self::Received(id) | Self::Freed(id) => format!("the received id {id}"),
        }
    }
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way to or from a line")]
enum Record<'a> {
    #[serde(borrow)]
    Begin(Cow<'a, str>),
    #[serde(borrow)]
    Sent(Sent<'a>),
    Released(u16),
    /// With its name.
    ReleasedAs(u16, u64),
    Completed(u16),
    Received(u16),
    Freed(u16),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    id: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<u64>,
    #[serde(borrow)]
    message: MessageRecord<'a>,
}
