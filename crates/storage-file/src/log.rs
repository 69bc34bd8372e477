//! A log of changes in a directory, whatever they are changes of: what all stores of this crate are made of.
//!
//! [`Log`] is a handle of the thread that has the files (`owner.rs`). Changes are appended to segments (`directory.rs`)
//! as lines with checksums (`line.rs`); what does not count any more is left out by a compaction (`compaction.rs`).
//! Relates to: the stores, each of which is a log and a [`Change`]. Leaves out: what the changes are.

mod aside;
mod compaction;
mod directory;
mod line;
mod owner;
mod replay;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use gantline_protocol::StoreError;
use tokio::sync::{mpsc as asynchronous, oneshot};

use self::directory::Directory;
pub use self::directory::OpenError;
use self::owner::{Answer, Command, Owner, closed};
pub use self::replay::{Damage, DamageKind, LoadReport};
use crate::message::RecordError;
use crate::options::FileStoreOptions;

/// What stands on the lines of a log.
pub(crate) trait Change: Sized + Send + 'static {
    /// What is kept, in one word: for the names of threads, for people, and so that a directory is not taken for
    /// another kind of store.
    const NAME: &'static str;

    /// Names what a later change replaces or undoes.
    type Key: Hash + Eq;

    /// Appends the JSON of the change, without a line feed.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), RecordError>;

    /// What is written in the place of a change that cannot be, so that what it replaces does not come back.
    fn instead(&self) -> Option<Self>;

    /// The change of a JSON.
    fn read(json: &[u8]) -> Result<Self, RecordError>;

    /// Says what counts once this change has come, which stands at `place`. A compaction keeps the lines at the places
    /// that are left in the end, in their order.
    fn settle(self, place: Place, places: &mut HashMap<Self::Key, Place>, now: SystemTime);

    /// Names the change where it cannot be written.
    fn name(&self) -> String;
}

/// Where a line stands, line feed not counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    source: u32,
    bytes: u32,
    offset: u64,
}

/// A log that is open.
pub(crate) struct Log<C> {
    path: PathBuf,
    commands: Sender<Command<C>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    report: Mutex<Option<Arc<LoadReport>>>,
}

impl<C: Change> Log<C> {
    /// Opens the log in a directory, which is made if it is not there. It lists the directory and reads nothing else.
    pub(crate) fn open(path: &Path, options: FileStoreOptions) -> Result<Self, OpenError> {
        let directory = Directory::open(path, C::NAME)?;
        let segments = directory.segments()?;
        let (sender, receiver) = mpsc::channel();
        let owner = Owner::<C>::new(directory, segments, options, receiver, sender.clone());
        let thread = thread::Builder::new().name(format!("{}-store", C::NAME)).spawn(|| owner.run());
        let thread = thread.map_err(|error| OpenError::Thread(Arc::new(error)))?;
        Ok(Self {
            path: path.to_owned(),
            commands: sender,
            thread: Mutex::new(Some(thread)),
            report: Mutex::new(None),
        })
    }

    /// What was found when the log was last loaded; `None` before.
    pub(crate) fn load_report(&self) -> Option<Arc<LoadReport>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives all changes to `found`, in order.
    pub(crate) async fn load(&self, found: &mut (dyn FnMut(C) + Send)) -> Result<(), StoreError> {
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

    /// Appends changes. Carried out also if it is dropped. If it fails for good, all are written that can be.
    pub(crate) async fn apply(&self, changes: Vec<C>) -> Result<(), StoreError> {
        self.call(|done| Command::Apply { changes, done }).await
    }

    /// Forces what was applied to the disk, unless the policy is [`Fsync::Never`](crate::Fsync::Never).
    #[cfg(feature = "managed")]
    pub(crate) async fn sync(&self) -> Result<(), StoreError> {
        self.call(|done| Command::Sync { done }).await
    }

    /// Leaves out what does not count any more, now.
    pub(crate) async fn compact(&self) -> Result<(), StoreError> {
        self.call(|done| Command::Compact { done }).await
    }

    /// Syncs, unless the policy is [`Fsync::Never`](crate::Fsync::Never), and gives the directory free.
    #[cfg(any(feature = "server", feature = "client"))]
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.call(|done| Command::Close { done }).await
    }

    /// Gives the owner a command and waits for its answer. Cancel safe in that the command is carried out all the same.
    async fn call<T>(&self, command: impl FnOnce(Answer<T>) -> Command<C>) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl<C> Drop for Log<C> {
    /// Closes it, if that has not happened, and waits for what is under way: the directory is free afterwards, and a
    /// process that ends now loses nothing. That blocks the thread, also one of a runtime, because a drop cannot be
    /// awaited and whoever opens the directory next relies on it.
    fn drop(&mut self) {
        let (done, _) = oneshot::channel();
        let _ = self.commands.send(Command::Close { done });
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl<C> fmt::Debug for Log<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("path", &self.path).finish_non_exhaustive()
    }
}

/// How many batches the reader may be ahead of who loads them.
const BATCHES_AHEAD: usize = 4;
