//! Where certificates, keys and passwords come from: a file, which is read whenever it is needed, or bytes.
//!
//! Relates to: `material.rs`, `identity.rs`, which say what the bytes mean. `Debug` shows the place, never the bytes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::TlsOptionsError;

/// Where something comes from. The bytes may be a key: they are erased from memory with the last copy.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Bytes(Arc<Zeroizing<Vec<u8>>>),
}

impl Source {
    pub(super) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(Arc::new(Zeroizing::new(bytes.into())))
    }

    /// The place in words, for errors.
    pub(super) fn origin(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes(_) => GIVEN.to_owned(),
        }
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Bytes(_) => None,
        }
    }

    pub(super) fn read(&self) -> Result<Arc<Zeroizing<Vec<u8>>>, TlsOptionsError> {
        match self {
            Self::Bytes(bytes) => Ok(Arc::clone(bytes)),
            Self::File(path) => fs::read(path)
                .map(|bytes| Arc::new(Zeroizing::new(bytes)))
                .map_err(|cause| TlsOptionsError::File { origin: self.origin(), cause: Arc::new(cause) }),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// The place of what is no file.
pub(super) const GIVEN: &str = "the given bytes";
