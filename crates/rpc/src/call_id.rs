//! The name of a call: 16 bytes, as text 32 hex digits, like the GUID that MQTTnet puts there.
//!
//! Its first four bytes are the place of the call in the caller's table, so that the call of an answer is found
//! without searching; the other twelve are random, so that nobody can guess it and a place that is used again has
//! another name.

use std::fmt;

use bytes::Bytes;

/// Names one call, in a topic or as correlation data. Unique, and not to be guessed by whoever has not seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId([u8; 16]);

impl CallId {
    /// A fresh name, for a call or for whatever else a scheme names.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// A fresh name for the call at this place.
    pub(crate) fn at(place: u32) -> Self {
        let mut id = rand::random::<[u8; 16]>();
        id[..4].copy_from_slice(&place.to_be_bytes());
        Self(id)
    }

    /// The place of the call, if it is a call at all.
    pub(crate) const fn place(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The name in correlation data; `None` if it is none of ours.
    pub(crate) fn from_correlation(data: &[u8]) -> Option<Self> {
        data.try_into().ok().map(Self)
    }

    pub(crate) fn to_correlation(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

/// 32 hex digits in lower case.
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::CallId;

    #[test]
    fn a_name_is_32_digits_and_survives_as_correlation_data() {
        let id = CallId::at(0x1234);
        let text = id.to_string();
        assert!(text.len() == 32 && text.starts_with("00001234"), "{text}");
        assert!(text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{text}");
        assert_eq!(CallId::from_correlation(&id.to_correlation()), Some(id));
        assert_eq!(id.place(), 0x1234);
        assert_eq!(CallId::from_correlation(b"of another program"), None);
        assert_ne!(CallId::at(0x1234), id);
    }
}
