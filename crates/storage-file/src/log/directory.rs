//! The directory of a store: its lock, and which files in it count.
//!
//! Relates to: [`Segment`], one file of changes. Leaves out: what is in the files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantline_protocol::StoreError;

/// Why a store cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store, of this process or another, has the directory.
    #[error("{} is in use by another store: close that one, or choose another directory", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory has something else in it, such as the outbox of a client where retained messages were expected.
    #[error("{} is a store of another kind ({kind}, not {expected}): choose another directory", .directory.display())]
    OtherKind {
        /// The directory.
        directory: PathBuf,
        /// What its `lock` file says that it keeps: `retained`, `session` or `outbox`.
        kind: String,
        /// What this store keeps.
        expected: &'static str,
    },
    /// The system refused the directory or something in it.
    #[error("cannot use {} as a store: {source}", .path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The system refused the thread that a store needs.
    #[error("cannot start the thread of a store: {0}")]
    Thread(Arc<io::Error>),
}

/// A directory that is ours as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

/// A file with changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// Its place in the order of files.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
}

/// What a segment stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Changes that come after those of the files before it.
    Log,
    /// Everything up to its number: files up to there do not count any more.
    Snapshot,
}

impl Segment {
    /// The name of its file.
    pub(crate) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Log => "log",
            Kind::Snapshot => "snapshot",
        };
        format!("{:08}.{kind}", self.number)
    }

    fn parse(name: &str) -> Option<(u64, Kind)> {
        let (number, kind) = name.split_once('.')?;
        let kind = match kind {
            "log" => Kind::Log,
            "snapshot" => Kind::Snapshot,
            _ => return None,
        };
        let number = number.parse().ok().filter(|number| *number <= LAST)?;
        // There are other ways to write a number, which are not ours.
        (Self { number, kind, bytes: 0 }.name() == name).then_some((number, kind))
    }
}

impl Directory {
    /// Takes a directory for a kind of store. It is made if it is not there.
    pub(crate) fn open(path: &Path, expected: &'static str) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source: Arc::new(source) }
        };
        if !path.is_dir() {
            create_directory(path).map_err(failed(path))?;
        }
        let lock_path = path.join("lock");
        let lock = private()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { directory: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(&lock_path)(error)),
        }
        let directory = Self { path: path.to_owned(), lock };
        let kind = directory.kind(expected).map_err(failed(&lock_path))?;
        if kind == expected {
            return Ok(directory);
        }
        Err(OpenError::OtherKind { directory: path.to_owned(), kind, expected })
    }

    /// What kind of store it is by the lock file, which is told if it does not say.
    fn kind(&self, expected: &str) -> io::Result<String> {
        let mut said = Vec::new();
        (&self.lock).take(LONGEST_KIND).read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said);
        // A power cut may have left zeros.
        let kind = said.trim_matches(|character: char| character == '\0' || character.is_whitespace());
        if !kind.is_empty() {
            return Ok(kind.to_owned());
        }
        (&self.lock).rewind()?;
        (&self.lock).write_all(format!("{expected}\n").as_bytes())?;
        Ok(expected.to_owned())
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The segments that count, in order. Those that do not, and what was left half done, are removed.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, OpenError> {
        let failed = |source| OpenError::Io { path: self.path.clone(), source: Arc::new(source) };
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some((number, kind)) = Segment::parse(name) {
                segments.push(Segment { number, kind, bytes: entry.metadata().map_err(failed)?.len() });
            } else if name == UNFINISHED {
                self.remove(name);
            }
        }
        segments.sort();
        let newest = segments.iter().rposition(|segment| segment.kind == Kind::Snapshot).unwrap_or(0);
        segments.drain(..newest).for_each(|superseded| self.remove(&superseded.name()));
        Ok(segments)
    }

    /// Makes a file to append to.
    pub(crate) fn create(&self, name: &str) -> Result<File, StoreError> {
        let file = private().create_new(true).append(true).open(self.file(name));
        file.map_err(|error| self.error("create", name, error))
    }

    /// Opens a file to append to, which may be there.
    pub(crate) fn append(&self, name: &str) -> Result<File, StoreError> {
        let file = private().create(true).append(true).open(self.file(name));
        file.map_err(|error| self.error("open", name, error))
    }

    /// Forces a file to the disk.
    pub(crate) fn sync_file(&self, name: &str) -> Result<(), StoreError> {
        // Elsewhere it has to be open for writing.
        let file = File::options().read(true).append(cfg!(not(unix))).open(self.file(name));
        file.and_then(|file| file.sync_data()).map_err(|error| self.error("sync", name, error))
    }

    /// Puts a finished snapshot in its place. Durable when the directory is synced.
    pub(crate) fn publish(&self, snapshot: &Segment) -> Result<(), StoreError> {
        let name = snapshot.name();
        fs::rename(self.file(UNFINISHED), self.file(&name))
            .map_err(|error| self.error("create", &name, error))
    }

    /// Removes a file that is not needed. One that stays does no harm, and goes with the next start.
    pub(crate) fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.file(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.file(name).display(), %error, "a file that is not needed cannot be removed");
        }
    }

    /// Forces names to the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        sync_directory(&self.path)
            .map_err(|error| StoreError::new(format!("cannot sync {}", self.path.display()), error))
    }

    /// An error about a file.
    pub(crate) fn error(&self, verb: &str, name: &str, error: io::Error) -> StoreError {
        StoreError::new(format!("cannot {verb} {}", self.file(name).display()), error)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing the file would not do if this process is just starting another one, which has it too for a moment.
        let _ = self.lock.unlock();
    }
}

/// Options for files that only their owner may read.
fn private() -> OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a directory and those above it, durably: a file is lost with the name of its directory.
fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let path = std::path::absolute(path)?;
    let made: Vec<_> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    builder.recursive(true).create(&path)?;
    made.iter().filter_map(|made| made.parent()).try_for_each(|parent| match sync_directory(parent) {
        // One may write to a directory without being allowed to open it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened, and the file systems keep names by themselves.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// As much as is read of what a lock file says.
const LONGEST_KIND: u64 = 64;

/// Higher numbers are not ours. There are more behind it than any store can use.
const LAST: u64 = u64::MAX / 2;

/// The name of a snapshot that is being written.
pub(crate) const UNFINISHED: &str = "snapshot.unfinished";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        let segment = Segment { number: 7, kind: Kind::Snapshot, bytes: 0 };
        assert_eq!(segment.name(), "00000007.snapshot");
        assert_eq!(Segment::parse("00000007.snapshot"), Some((7, Kind::Snapshot)));
        assert_eq!(Segment::parse("123456789.log"), Some((123_456_789, Kind::Log)));
        let foreign = ["+0000007.log", "000000007.log", "18446744073709551615.log", "00000007.log.log"];
        for other in ["lock", "7.log", "00000007.damaged", "0000000x.log", UNFINISHED].iter().chain(&foreign)
        {
            assert_eq!(Segment::parse(other), None, "{other}");
        }
    }
}
