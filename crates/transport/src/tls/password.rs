//! The password of a private key or of a PKCS#12 file.
//!
//! Relates to: [`PrivateKey::password`](super::PrivateKey::password), [`TlsIdentity::pfx`](super::TlsIdentity::pfx).
//! Leaves out: the passwords of MQTT, which are options of the client.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::TlsOptionsError;

/// The password of a private key or of a PKCS#12 file. It is erased from memory after use, and `Debug` does not show
/// it.
#[derive(Clone)]
pub struct KeyPassword(Kind);

#[derive(Clone)]
enum Kind {
    Text(Arc<Zeroizing<String>>),
    File(PathBuf),
}

impl KeyPassword {
    /// This password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Kind::Text(Arc::new(Zeroizing::new(text.into()))))
    }

    /// The password in a file, without the line break at its end. It is read whenever it is needed.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// The file, if it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Text(_) => None,
            Kind::File(path) => Some(path),
        }
    }

    pub(super) fn read(&self) -> Result<Zeroizing<String>, TlsOptionsError> {
        match &self.0 {
            Kind::Text(text) => Ok(Zeroizing::clone(text)),
            Kind::File(path) => {
                let mut text = fs::read_to_string(path).map(Zeroizing::new).map_err(|cause| {
                    TlsOptionsError::File { origin: path.display().to_string(), cause: Arc::new(cause) }
                })?;
                let length = text.trim_end_matches(['\r', '\n']).len();
                text.truncate(length);
                Ok(text)
            }
        }
    }
}

impl From<&str> for KeyPassword {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for KeyPassword {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Text(_) => f.write_str("***"),
            Kind::File(path) => write!(f, "{}", path.display()),
        }
    }
}
