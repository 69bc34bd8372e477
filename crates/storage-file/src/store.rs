//! The store of a server's retained messages: a log of them.
//!
//! Relates to: [`RetainedStore`], which this implements; `retained.rs`, what the lines are. Leaves out: files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use gantline_protocol::StoreError;
use gantline_server::{RetainedChange, RetainedMessage, RetainedStore, async_trait};

use crate::log::{LoadReport, Log, OpenError};
use crate::options::FileStoreOptions;

/// Retained messages in a directory. The crate's page says what its files are.
///
/// A change is appended to a log; what is overwritten is left out by a compaction in the background, during which
/// appending goes on. Damage to a file costs the messages on the damaged lines and nothing else: they are left out,
/// reported ([`load_report`](Self::load_report) and the log) and set aside, and the store opens.
///
/// A server closes its store when it shuts down. A store that was not closed is when it is dropped, which blocks the
/// thread for what is still to be written and one sync: milliseconds, or as long as a disk that hangs. In a runtime
/// [`close`](RetainedStore::close) it first.
///
/// ```
/// use gantline_server::{Message, Server, ServerOptions};
/// use gantline_storage_file::FileStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("gantline-doc-{}", std::process::id()));
/// let server = Server::new(ServerOptions::default()).retained_store(FileStore::open(&directory)?).start().await?;
/// server.publish(Message::new("lamp/state", "on")?.retain(true)).await?;
/// server.shutdown(std::time::Duration::from_secs(5)).await;
///
/// let server = Server::new(ServerOptions::default()).retained_store(FileStore::open(&directory)?).start().await?;
/// assert_eq!(server.metrics().retained_messages, 1);
/// # server.shutdown(std::time::Duration::ZERO).await;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileStore {
    log: Log<RetainedChange>,
}

impl FileStore {
    /// Opens the store in a directory, with default options; see [`FileStoreOptions`]. The directory is made if it is
    /// not there. It lists the directory and reads nothing else.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        FileStoreOptions::default().open(directory)
    }

    pub(crate) fn with_options(path: &Path, options: FileStoreOptions) -> Result<Self, OpenError> {
        Ok(Self { log: Log::open(path, options)? })
    }

    /// What was found when the store was last loaded; `None` before.
    pub fn load_report(&self) -> Option<Arc<LoadReport>> {
        self.log.load_report()
    }

    /// The messages in the store, in the order of their topics, without those that have expired. For tools; it reads
    /// all files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the store is closed.
    pub async fn messages(&self) -> Result<Vec<RetainedMessage>, StoreError> {
        let mut messages = BTreeMap::new();
        let mut keep = |change: RetainedChange| match change {
            RetainedChange::Set(message) => {
                drop(messages.insert(message.message.topic().to_string(), message))
            }
            RetainedChange::Clear(topic) => drop(messages.remove(topic.as_str())),
        };
        self.load(&mut keep).await?;
        let now = SystemTime::now();
        Ok(messages.into_values().filter(|message| !message.is_expired(now)).collect())
    }

    /// Leaves out what is overwritten, now, and returns when that is done. The store does so by itself.
    ///
    /// # Errors
    ///
    /// The snapshot cannot be written; then everything is as before. Or the store is closed.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.log.compact().await
    }
}

#[async_trait]
impl RetainedStore for FileStore {
    async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError> {
        self.log.load(found).await
    }

    /// Carried out also if it is dropped.
    async fn apply(&self, changes: Vec<RetainedChange>) -> Result<(), StoreError> {
        self.log.apply(changes).await
    }

    /// Syncs, unless the policy is [`Fsync::Never`](crate::Fsync::Never), and gives the directory free.
    async fn close(&self) -> Result<(), StoreError> {
        self.log.close().await
    }
}
