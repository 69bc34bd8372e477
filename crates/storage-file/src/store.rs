//! The store that a server is given: a handle of the thread that has the files.
//!
//! Relates to: `owner.rs`, that thread; [`RetainedStore`], which this implements. Leaves out: files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use gantline_server::{RetainedChange, RetainedMessage, RetainedStore, StoreError, async_trait};
use tokio::sync::{mpsc as asynchronous, oneshot};

use crate::directory::{Directory, OpenError};
use crate::options::FileStoreOptions;
use crate::owner::{Answer, Command, Owner, closed};
use crate::replay::LoadReport;

/// Retained messages in a directory. The crate's page says what its files are.
///
/// A change is appended to a log; what is overwritten is left out by a compaction in the background, during which
/// appending goes on. Damage to a file costs the messages on the damaged lines and nothing else: they are left out,
/// reported ([`load_report`](Self::load_report) and the log) and set aside, and the store opens.
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
pub struct FileStore {
    path: PathBuf,
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    report: Mutex<Option<Arc<LoadReport>>>,
}

impl FileStore {
    /// Opens the store in a directory, with default options; see [`FileStoreOptions`]. The directory is made if it is not
    /// there. It lists the directory and reads nothing else.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        FileStoreOptions::default().open(directory)
    }

    pub(crate) fn with_options(path: &Path, options: FileStoreOptions) -> Result<Self, OpenError> {
        let directory = Directory::open(path)?;
        let segments = directory.segments()?;
        let (sender, receiver) = mpsc::channel();
        let owner = Owner::new(directory, segments, options, receiver, sender.clone());
        let thread = thread::Builder::new().name("retained-store".to_owned()).spawn(|| owner.run());
        let thread = thread.map_err(|error| OpenError::Thread(Arc::new(error)))?;
        Ok(Self {
            path: path.to_owned(),
            commands: sender,
            thread: Mutex::new(Some(thread)),
            report: Mutex::new(None),
        })
    }

    /// What was found when the store was last loaded; `None` before.
    pub fn load_report(&self) -> Option<Arc<LoadReport>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The messages in the store, in the order of their topics, without those that have expired. For tools; it reads all
    /// files.
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
        self.call(|done| Command::Compact { done }).await
    }

    /// Gives the owner a command and waits for its answer. Cancel safe in that the command is carried out all the same.
    async fn call<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

#[async_trait]
impl RetainedStore for FileStore {
    async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError> {
        let (batches, mut loaded) = asynchronous::channel(BATCHES_AHEAD);
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Load { batches, done }).map_err(|_| closed())?;
        while let Some(batch) = loaded.recv().await {
            batch.into_iter().for_each(&mut *found);
        }
        let report = answer.await.unwrap_or_else(|_| Err(closed()))?;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(report));
        Ok(())
    }

    /// Carried out also if it is dropped.
    async fn apply(&self, changes: Vec<RetainedChange>) -> Result<(), StoreError> {
        self.call(|done| Command::Apply { changes, done }).await
    }

    /// Syncs, unless the policy is [`Fsync::Never`](crate::Fsync::Never), and gives the directory free.
    async fn close(&self) -> Result<(), StoreError> {
        self.call(|done| Command::Close { done }).await
    }
}

impl Drop for FileStore {
    /// Closes it, if that has not happened, and waits for what is under way: the directory is free afterwards.
    fn drop(&mut self) {
        let (done, _) = oneshot::channel();
        let _ = self.commands.send(Command::Close { done });
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// How many batches the reader may be ahead of who loads them.
const BATCHES_AHEAD: usize = 4;
