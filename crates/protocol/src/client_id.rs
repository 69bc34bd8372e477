//! Client identifiers: the names of sessions.
//!
//! Relates to: CONNECT, which may leave the id empty, and the server, which then makes one. Leaves out: sessions.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::version::ProtocolVersion;

/// The name of a client and its session. Not empty, no U+0000, at most 65,535 bytes; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Takes a text as client id.
    ///
    /// # Errors
    ///
    /// The text is empty, too long or contains U+0000.
    pub fn new(text: impl AsRef<str>) -> Result<Self, ClientIdError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(ClientIdError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(ClientIdError::TooLong { length: text.len() });
        }
        if text.as_bytes().contains(&0) {
            return Err(ClientIdError::NullCharacter);
        }
        Ok(Self(text.into()))
    }

    /// An id that no other client has, for those that brought none.
    pub fn random() -> Self {
        // The keys of a `RandomState` come from the operating system; two of them give the bits of an id.
        let random = || u128::from(RandomState::new().hash_one(0_u8));
        Self::from_random(random() << 64 | random())
    }

    /// Makes an id from a random number of the caller.
    ///
    /// It is `gantline` and fifteen letters and digits: 23 characters of those that every server must accept
    /// [MQTT-3.1.3-5]. Of the number, 75 bits are used.
    pub fn from_random(random: u128) -> Self {
        let mut text = String::with_capacity(MAXIMUM_CHARACTERS);
        text.push_str(GENERATED_PREFIX);
        for index in 0..MAXIMUM_CHARACTERS - GENERATED_PREFIX.len() {
            let digit = (random >> (5 * index)) as usize % DIGITS.len();
            text.push(char::from(DIGITS[digit]));
        }
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a connection of this version may use it: 3.1 allows 23 characters, the later versions as many as fit.
    pub fn fits(&self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::V3_1 => self.0.chars().nth(MAXIMUM_CHARACTERS).is_none(),
            ProtocolVersion::V3_1_1 | ProtocolVersion::V5_0 => true,
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for ClientId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<&str> for ClientId {
    type Error = ClientIdError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for ClientId {
    type Error = ClientIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

/// Why a text is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIdError {
    /// It is empty.
    #[error("the client id is empty")]
    Empty,
    /// It has more than 65,535 bytes.
    #[error("the client id has {length} bytes, at most 65535 are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It contains U+0000 [MQTT-1.5.4-2].
    #[error("the client id contains U+0000")]
    NullCharacter,
}

/// The length that 3.1 allows and that every later server must accept.
const MAXIMUM_CHARACTERS: usize = 23;
const GENERATED_PREFIX: &str = "gantline";
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_long_and_null_are_refused() {
        assert_eq!(ClientId::new(""), Err(ClientIdError::Empty));
        assert_eq!(ClientId::new("a\0"), Err(ClientIdError::NullCharacter));
        assert!(ClientId::new("x".repeat(65_535)).is_ok());
        assert_eq!(ClientId::new("x".repeat(65_536)), Err(ClientIdError::TooLong { length: 65_536 }));
    }

    #[test]
    fn the_first_version_counts_characters() {
        let id = ClientId::new("ü".repeat(23)).unwrap();
        assert!(id.fits(ProtocolVersion::V3_1));
        let id = ClientId::new("u".repeat(24)).unwrap();
        assert!(!id.fits(ProtocolVersion::V3_1));
        assert!(id.fits(ProtocolVersion::V3_1_1));
    }

    #[test]
    fn generated_ids_fit_everywhere_and_differ() {
        let ids = [
            ClientId::from_random(1),
            ClientId::from_random(u128::MAX),
            ClientId::random(),
            ClientId::random(),
        ];
        for (position, id) in ids.iter().enumerate() {
            assert!(!ids[..position].contains(id));
            assert!(id.fits(ProtocolVersion::V3_1));
            assert!(id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
