//! Payloads: the content of a message.
//!
//! Relates to: [`Message`](crate::Message), which has one. Leaves out: what it means.

use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};

/// The content of a message: bytes that are cheap to clone.
///
/// Up to 23 bytes lie in the value itself, which costs neither memory nor a count of who shares it; most of what sensors
/// say is that short. More is a [`Bytes`].
///
/// ```
/// use gantline_protocol::Payload;
///
/// let payload = Payload::from("21.5");
/// assert_eq!(payload, *b"21.5");
/// assert_eq!(payload.len(), 4);
/// ```
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Short(Short),
    Long(Bytes),
}

/// Bytes, and in the last one how many of them count.
#[derive(Clone, Copy)]
struct Short([u8; SHORT + 1]);

/// The longest payload that lies in the value.
const SHORT: usize = 23;

impl Payload {
    /// No bytes.
    pub const EMPTY: Self = Self(Repr::Short(Short([0; SHORT + 1])));

    /// A copy of some bytes.
    #[inline]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        Self::short(bytes).unwrap_or_else(|| Self(Repr::Long(Bytes::copy_from_slice(bytes))))
    }

    /// A copy of so few bytes that they lie in the value; `None` if they are more.
    #[inline]
    pub fn short(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= SHORT).then(|| Self(Repr::Short(Short::new(bytes))))
    }

    /// The same as [`Bytes`]. Of a payload of up to 23 bytes that is a copy.
    pub fn to_bytes(&self) -> Bytes {
        self.clone().into()
    }
}

impl Short {
    /// At most [`SHORT`] bytes. Put together in registers: a value that is made in memory of small pieces is not to be
    /// had as a whole before they have all arrived there.
    #[inline]
    fn new(bytes: &[u8]) -> Self {
        let (mut words, len) = ([0_u64; 3], bytes.len());
        if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let last = u64::from_le_bytes(*last);
            words[0] = u64::from_le_bytes(*first);
            if let Some(second) = bytes.get(8..16).and_then(|second| second.first_chunk())
                && len > 16
            {
                words[1] = u64::from_le_bytes(*second);
                words[2] = last >> (8 * (24 - len));
            } else if len > 8 {
                words[1] = last >> (8 * (16 - len));
            }
        } else {
            words[0] = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        words[2] |= (len as u64) << 56;
        let mut all = [0; SHORT + 1];
        for (place, word) in all.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        Self(all)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        let [bytes @ .., len] = &self.0;
        &bytes[..usize::from(*len).min(SHORT)]
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Short(short) => short.bytes(),
            Repr::Long(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_bytes(), f)
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Payload {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Payload {}

impl From<Bytes> for Payload {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        Self::short(&bytes).unwrap_or(Self(Repr::Long(bytes)))
    }
}

impl From<BytesMut> for Payload {
    #[inline]
    fn from(bytes: BytesMut) -> Self {
        Self::short(&bytes).unwrap_or_else(|| Self(Repr::Long(bytes.freeze())))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::short(&bytes).unwrap_or_else(|| Self(Repr::Long(bytes.into())))
    }
}

impl<const N: usize> From<[u8; N]> for Payload {
    fn from(bytes: [u8; N]) -> Self {
        Self::copy_from_slice(&bytes)
    }
}

impl From<Box<[u8]>> for Payload {
    fn from(bytes: Box<[u8]>) -> Self {
        Vec::from(bytes).into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Self {
        match payload.0 {
            Repr::Short(short) => Self::copy_from_slice(short.bytes()),
            Repr::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_as_large_as_bytes() {
        assert_eq!(size_of::<Payload>(), size_of::<Bytes>());
    }

    #[test]
    fn every_length_comes_back_as_it_was() {
        for len in 0..=2 * SHORT {
            let bytes: Vec<u8> = (0..len).map(|n| 0x80 | n as u8).collect();
            let payload = Payload::from(bytes.clone());
            assert_eq!((&payload, &payload.to_bytes()), (&payload, &Bytes::from(bytes.clone())), "{len}");
            assert_eq!(payload, bytes);
            assert_eq!(matches!(payload.0, Repr::Short(_)), len <= SHORT);
        }
    }

    #[test]
    fn a_long_payload_is_shared_and_a_short_one_holds_nothing() {
        let bytes = Bytes::from(vec![1; 100]);
        let (long, short) = (Payload::from(bytes.clone()), Payload::from(bytes.slice(..SHORT)));
        assert_eq!(long.as_ptr(), bytes.as_ptr());
        drop(long);
        assert!(bytes.is_unique(), "{short:?}");
    }
}
