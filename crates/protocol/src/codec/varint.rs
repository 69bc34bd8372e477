//! Variable byte integers: one to four bytes, seven bits each, the lowest first, in the shortest form only.
//!
//! Relates to: the remaining length of the fixed header, property lengths and subscription identifiers.

use crate::error::Rule;

/// The largest number that can be expressed: 268,435,455.
pub const MAX: u32 = 0x0FFF_FFFF;

/// Reads a number from the front of `bytes` and says how many bytes it took. `None` if more bytes are needed.
///
/// # Errors
///
/// More than four bytes, or more than the number needs [MQTT-1.5.5-1].
#[inline]
pub fn read(bytes: &[u8]) -> Result<Option<(u32, usize)>, Rule> {
    match bytes {
        [] => Ok(None),
        [byte, ..] if byte & MORE == 0 => Ok(Some((u32::from(*byte), 1))),
        _ => read_longer(bytes),
    }
}

/// The cases of more than one byte, which are rarer.
fn read_longer(bytes: &[u8]) -> Result<Option<(u32, usize)>, Rule> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & !MORE) << (7 * index);
        if byte & MORE == 0 {
            return if byte == 0 { Err(Rule::VarintNotMinimal) } else { Ok(Some((value, index + 1))) };
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Rule::VarintTooLong) }
}

/// Appends a number. Above [`MAX`] there is no form; callers have checked.
#[inline]
pub fn write(mut value: u32, out: &mut Vec<u8>) {
    debug_assert!(value <= MAX);
    while value > 0x7F {
        out.push(value as u8 | MORE);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes a number takes: 1 to 4.
#[inline]
pub const fn len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The bit that says that another byte follows.
const MORE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [(u32, usize); 8] =
        [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4), (MAX, 4)];

    #[test]
    fn numbers_round_trip_at_the_edges_of_each_length() {
        for (value, length) in EDGES {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!((out.len(), len(value)), (length, length));
            assert_eq!(read(&out), Ok(Some((value, length))));
            out.push(0xFF);
            assert_eq!(read(&out), Ok(Some((value, length))), "what follows does not matter");
        }
    }

    #[test]
    fn an_unfinished_number_asks_for_more() {
        for bytes in [&[][..], &[0x80], &[0xFF, 0xFF], &[0xFF, 0xFF, 0xFF]] {
            assert_eq!(read(bytes), Ok(None));
        }
    }

    #[test]
    fn a_fifth_byte_is_refused_before_it_comes() {
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80]), Err(Rule::VarintTooLong));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), Err(Rule::VarintTooLong));
    }

    #[test]
    fn only_the_shortest_form_is_accepted() {
        for bytes in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(read(bytes), Err(Rule::VarintNotMinimal));
        }
    }
}
