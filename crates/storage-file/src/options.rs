//! The options of a store: how durable a change is, and when the log is compacted.
//!
//! Relates to: the stores, which they open. Leaves out: names and form of the files.

use std::path::Path;
use std::time::Duration;

use crate::log::OpenError;
#[cfg(feature = "managed")]
use crate::outbox::FileOutbox;
#[cfg(feature = "client")]
use crate::session::FileSessionStore;
#[cfg(feature = "server")]
use crate::store::FileStore;

/// How a store behaves, whatever it keeps.
#[derive(Clone, Debug)]
pub struct FileStoreOptions {
    pub(crate) fsync: Fsync,
    pub(crate) compact_from: u64,
    pub(crate) longest_line: u32,
}

/// When changes are forced to the disk. Whatever it is, a change that was applied survives the end of the process, also
/// a violent one; this is about the end of the system, such as a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fsync {
    /// When the system thinks fit; some 30 seconds may be lost. The fastest.
    Never,
    /// This long after a change at the latest.
    Interval(Duration),
    /// Before a batch of changes counts as applied. Batches that come meanwhile share the next one.
    EachBatch,
}

impl FileStoreOptions {
    /// When changes are forced to the disk. Default [`Fsync::Interval`] of one second.
    #[must_use]
    pub const fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// How many bytes of changes there must be before the log is compacted; it also has to be as large as the last
    /// snapshot. So files take about three times the size of what is kept, and for a moment four times, and a byte
    /// that is written is copied about once more. Default 16 MiB.
    #[must_use]
    pub const fn compact_from(mut self, bytes: u64) -> Self {
        self.compact_from = bytes;
        self
    }

    /// How many bytes the line of a change may have, and so what a store may take of memory to read one. A change that
    /// needs more is not written, which is an error of the call that brings it; a line that has
    /// more, because a file is damaged or was written with a larger limit, is set aside. Binary payloads grow by a
    /// third, text by a little, and at most six times. Default 128 MiB, which is enough for any message of 16 MiB.
    #[must_use]
    pub const fn longest_line(mut self, bytes: u32) -> Self {
        self.longest_line = bytes;
        self
    }

    /// Opens the store of a server's retained messages in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    #[cfg(feature = "server")]
    pub fn open(self, directory: impl AsRef<Path>) -> Result<FileStore, OpenError> {
        FileStore::with_options(directory.as_ref(), self)
    }

    /// Opens the store of a client's session in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    #[cfg(feature = "client")]
    pub fn open_session(self, directory: impl AsRef<Path>) -> Result<FileSessionStore, OpenError> {
        FileSessionStore::with_options(directory.as_ref(), self)
    }

    /// Opens the store of a managed client's outbox in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another store has it.
    #[cfg(feature = "managed")]
    pub fn open_outbox(self, directory: impl AsRef<Path>) -> Result<FileOutbox, OpenError> {
        FileOutbox::with_options(directory.as_ref(), self)
    }
}

impl Default for FileStoreOptions {
    fn default() -> Self {
        Self {
            fsync: Fsync::Interval(Duration::from_secs(1)),
            compact_from: 16 << 20,
            longest_line: 128 << 20,
        }
    }
}
