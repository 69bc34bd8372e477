//! Looking whether the files of a server's TLS have changed.
//!
//! It compares contents, not times: files that are replaced through links, or twice within a second, are noticed, and
//! certificates are small. Relates to: [`TlsAcceptor`](super::TlsAcceptor), which reads the files again.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use zeroize::Zeroizing;

/// What was in some files, told apart by their hash; without those that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents(Vec<(PathBuf, Option<u64>)>);

impl Contents {
    pub(super) fn of(files: Vec<PathBuf>) -> Self {
        Self(files.into_iter().map(|path| (hash(&path), path)).map(|(hash, path)| (path, hash)).collect())
    }
}

fn hash(path: &PathBuf) -> Option<u64> {
    // It may be a key.
    let bytes = Zeroizing::new(fs::read(path).ok()?);
    let mut hasher = DefaultHasher::new();
    (*bytes).hash(&mut hasher);
    Some(hasher.finish())
}
