//! Looking at eight bytes at a time, because every topic and every string comes through here.
//!
//! Relates to: `topic/name.rs` and [`Reader`](super::Reader), which look for bytes that must not be there.

/// Whether `bits` says something other than 0 of the bytes, eight at a time. Some are looked at twice, which is cheaper
/// than one by one.
#[inline]
pub(crate) fn any(bytes: &[u8], bits: impl Fn(u64) -> u64) -> bool {
    let found = if let Some(last) = bytes.last_chunk() {
        let (chunks, _) = bytes.as_chunks();
        let last = bits(u64::from_ne_bytes(*last));
        chunks.iter().fold(last, |found, chunk| found | bits(u64::from_ne_bytes(*chunk)))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        bits(joined(*first, *last))
    } else if let [first, .., last] | [first @ last] = bytes {
        let middle = bytes[bytes.len() / 2];
        let all = [*first, middle, *last, *last];
        bits(joined(all, all))
    } else {
        0
    };
    found != 0
}

#[inline]
const fn joined(first: [u8; 4], last: [u8; 4]) -> u64 {
    (u32::from_ne_bytes(first) as u64) << 32 | u32::from_ne_bytes(last) as u64
}

/// Not zero if one of the eight bytes is zero.
#[inline]
pub(crate) const fn zero_bits(word: u64) -> u64 {
    word.wrapping_sub(each(0x01)) & !word & each(0x80)
}

/// Not zero if one of the eight bytes is zero or not ASCII.
#[inline]
pub(crate) const fn zero_or_foreign_bits(word: u64) -> u64 {
    (word.wrapping_sub(each(0x01)) | word) & each(0x80)
}

/// The byte eight times.
#[inline]
pub(crate) const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_wherever_it_stands_and_no_other_is() {
        for length in 0..40 {
            for usual in 1..=0x7F {
                assert!(!any(&vec![usual; length], zero_bits), "{length} {usual}");
                assert!(!any(&vec![usual; length], zero_or_foreign_bits), "{length} {usual}");
            }
            for at in 0..length {
                let mut bytes = vec![1; length];
                bytes[at] = 0;
                assert!(any(&bytes, zero_bits) && any(&bytes, zero_or_foreign_bits), "{length} {at}");
                for foreign in 0x80..=0xFF {
                    bytes[at] = foreign;
                    assert!(!any(&bytes, zero_bits), "{length} {at} {foreign}");
                    assert!(any(&bytes, zero_or_foreign_bits), "{length} {at} {foreign}");
                }
            }
        }
    }
}
