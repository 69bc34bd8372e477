//! Writing fields and whole packets.
//!
//! Relates to: packets and properties, which append themselves to a vector. What MQTT cannot carry is refused here, so
//! that nobody else checks lengths. Leaves out: PUBLISH and acknowledgements on the hot path, which know their lengths
//! beforehand.

use super::varint;
use crate::error::EncodeError;

/// Appends a two byte integer.
#[inline]
pub fn u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a four byte integer.
#[inline]
pub fn u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends binary data behind its length.
///
/// # Errors
///
/// It has more than 65,535 bytes.
#[inline]
pub fn binary(field: &'static str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let Ok(length) = bytes.len().try_into() else {
        return Err(EncodeError::TooLong { field, length: bytes.len() });
    };
    u16(length, out);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a string behind its length.
///
/// # Errors
///
/// It has more than 65,535 bytes or contains U+0000.
#[inline]
pub fn string(field: &'static str, text: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    check_string(field, text)?;
    binary(field, text.as_bytes(), out)
}

/// Appends a whole packet: the first byte, the length of what `body` appends, and that.
///
/// # Errors
///
/// The body fails or is longer than 268,435,455 bytes. Then nothing is appended.
pub fn packet(
    first: u8,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    // Most bodies are shorter than 128 bytes; the others are moved to make room for their longer length.
    out.extend_from_slice(&[first, 0]);
    let body_start = out.len();
    if let Err(error) = body(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = out.len() - body_start;
    if length > varint::MAX as usize {
        out.truncate(start);
        return Err(EncodeError::TooLarge { length });
    }
    let mut value = length as u32;
    let mut index = start + 1;
    while value > 0x7F {
        out.insert(index, value as u8 | 0x80);
        value >>= 7;
        index += 1;
    }
    out[index] = value as u8;
    Ok(())
}

/// Whether a string can be sent.
#[inline]
pub(crate) fn check_string(field: &'static str, text: &str) -> Result<(), EncodeError> {
    check_length(field, text.as_bytes())?;
    if text.as_bytes().contains(&0) { Err(EncodeError::NullCharacter { field }) } else { Ok(()) }
}

/// Whether binary data can be sent.
#[inline]
pub(crate) const fn check_length(field: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > u16::MAX as usize {
        return Err(EncodeError::TooLong { field, length: bytes.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::FixedHeader;

    #[test]
    fn a_packet_gets_the_length_of_its_body() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut out = vec![0xEE];
            packet(0x30, &mut out, |out| {
                out.resize(out.len() + length, 7);
                Ok(())
            })
            .unwrap();
            let header = FixedHeader::parse(&out[1..]).unwrap().unwrap();
            assert_eq!(header.remaining_length as usize, length);
            assert_eq!(header.frame_len() + 1, out.len());
            assert!(out[1 + usize::from(header.header_len)..].iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn a_failed_packet_leaves_nothing_behind() {
        let mut out = vec![1, 2];
        let result = packet(0x10, &mut out, |out| {
            out.push(3);
            string("User Name", "a\0b", out)
        });
        assert_eq!(result, Err(EncodeError::NullCharacter { field: "User Name" }));
        assert_eq!(out, [1, 2]);
    }

    #[test]
    fn fields_that_do_not_fit_are_refused() {
        let mut out = Vec::new();
        assert_eq!(string("Topic Name", &"x".repeat(65_535), &mut out), Ok(()));
        assert_eq!(
            string("Topic Name", &"x".repeat(65_536), &mut out),
            Err(EncodeError::TooLong { field: "Topic Name", length: 65_536 })
        );
    }
}
