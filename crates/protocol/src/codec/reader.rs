//! Reading fields: bounds-checked, in place, without allocation.
//!
//! Relates to: packets and properties, which are read through it. Its errors name no packet; whoever knows the packet
//! adds it with [`Violation::in_packet`].

use super::{varint, words};
use crate::error::{Rule, Violation};

/// Reads fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first byte on.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// One byte.
    ///
    /// # Errors
    ///
    /// As for all reads: [`Rule::IncompletePacket`] if the bytes end before the field does.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Violation> {
        match self.bytes.split_first() {
            Some((&byte, rest)) => {
                self.bytes = rest;
                Ok(byte)
            }
            None => Err(incomplete()),
        }
    }

    /// A two byte integer.
    ///
    /// # Errors
    ///
    /// The bytes end too early.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    /// A four byte integer.
    ///
    /// # Errors
    ///
    /// The bytes end too early.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer.
    ///
    /// # Errors
    ///
    /// The bytes end too early, or the number is too long or not in its shortest form.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, Violation> {
        match varint::read(self.bytes) {
            Ok(Some((value, len))) => {
                self.bytes = &self.bytes[len..];
                Ok(value)
            }
            Ok(None) => Err(incomplete()),
            Err(rule) => Err(Violation::new(rule)),
        }
    }

    /// So many bytes.
    ///
    /// # Errors
    ///
    /// There are fewer.
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        match self.bytes.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.bytes = rest;
                Ok(bytes)
            }
            None => Err(incomplete()),
        }
    }

    /// Binary data behind its two byte length.
    ///
    /// # Errors
    ///
    /// The bytes end too early.
    #[inline]
    pub fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// A string behind its two byte length.
    ///
    /// # Errors
    ///
    /// The bytes end too early, are not UTF-8 [MQTT-1.5.4-1] or contain U+0000 [MQTT-1.5.4-2].
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, Violation> {
        text(self.binary()?)
    }

    /// Checks a string and steps over it: cheaper than to read it, if its characters are ASCII.
    ///
    /// # Errors
    ///
    /// As for [`string`](Self::string).
    #[inline]
    pub fn skip_string(&mut self) -> Result<(), Violation> {
        let bytes = self.binary()?;
        if words::any(bytes, words::zero_or_foreign_bits) { check_text(bytes) } else { Ok(()) }
    }

    /// Everything that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Whether everything was read.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are left.
    #[inline]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`Rule::TrailingBytes`] if something is left.
    #[inline]
    pub const fn finish(self) -> Result<(), Violation> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Violation::new(Rule::TrailingBytes)) }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        match self.bytes.split_first_chunk() {
            Some((chunk, rest)) => {
                self.bytes = rest;
                Ok(*chunk)
            }
            None => Err(incomplete()),
        }
    }
}

#[inline]
fn text(bytes: &[u8]) -> Result<&str, Violation> {
    let text = str::from_utf8(bytes).map_err(|_| Violation::new(Rule::StringNotUtf8))?;
    if words::any(bytes, words::zero_bits) { Err(Violation::new(Rule::StringContainsNull)) } else { Ok(text) }
}

#[cold]
fn check_text(bytes: &[u8]) -> Result<(), Violation> {
    text(bytes).map(drop)
}

#[cold]
const fn incomplete() -> Violation {
    Violation::new(Rule::IncompletePacket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 0x80, 1, 0, 2, 7, 8, 0, 1, b'x', 9, 10]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.varint(), Ok(128));
        assert_eq!(reader.binary(), Ok(&[7, 8][..]));
        assert_eq!(reader.string(), Ok("x"));
        assert_eq!(reader.bytes(1), Ok(&[9][..]));
        assert_eq!(reader.finish().unwrap_err().rule, Rule::TrailingBytes);
        assert_eq!(reader.rest(), [10]);
        assert!(reader.is_empty() && reader.finish().is_ok());
    }

    #[test]
    fn each_field_refuses_to_read_beyond_the_end() {
        fn refuses<T: std::fmt::Debug>(
            bytes: &[u8],
            read: impl FnOnce(&mut Reader<'_>) -> Result<T, Violation>,
        ) {
            assert_eq!(read(&mut Reader::new(bytes)).unwrap_err().rule, Rule::IncompletePacket);
        }
        refuses(&[], |reader| reader.u8());
        refuses(&[1], |reader| reader.u16());
        refuses(&[1, 2, 3], |reader| reader.u32());
        refuses(&[0x80], |reader| reader.varint());
        refuses(&[0, 3, 1], |reader| reader.binary().map(drop));
        refuses(&[0, 3, 1], |reader| reader.string().map(drop));
        refuses(&[1], |reader| reader.bytes(usize::MAX).map(drop));
    }

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut reader = Reader::new(&[0x80]);
        assert!(reader.u16().is_err() && reader.varint().is_err() && reader.bytes(2).is_err());
        assert_eq!(reader.len(), 1);
    }

    #[test]
    fn strings_are_strict() {
        let rule = |bytes: &[u8]| Reader::new(bytes).string().unwrap_err().rule;
        assert_eq!(rule(&[0, 1, 0]), Rule::StringContainsNull);
        assert_eq!(rule(&[0, 2, 0xC0, 0x80]), Rule::StringNotUtf8, "overlong");
        assert_eq!(rule(&[0, 3, 0xED, 0xA0, 0x80]), Rule::StringNotUtf8, "surrogate");
        assert_eq!(rule(&[0, 1, 0xFF]), Rule::StringNotUtf8);
        // A byte order mark is a character like others [MQTT-1.5.4-3].
        assert_eq!(Reader::new(&[0, 3, 0xEF, 0xBB, 0xBF]).string(), Ok("\u{FEFF}"));
        assert_eq!(Reader::new(&[0, 0]).string(), Ok(""));
    }

    #[test]
    fn a_string_that_is_stepped_over_is_judged_like_one_that_is_read() {
        let texts: [&[u8]; 9] = [
            b"",
            b"a",
            b"a longer text with\x01 in it",
            b"\0",
            b"a\0b",
            b"\xC0\x80",
            "ä€𝄞 and more".as_bytes(),
            b"\xED\xA0\x80",
            b"cut off \xE2\x82",
        ];
        for text in texts {
            let mut bytes = vec![0, text.len() as u8];
            bytes.extend_from_slice(text);
            bytes.push(7);
            for end in 0..=bytes.len() {
                let (mut read, mut stepped) = (Reader::new(&bytes[..end]), Reader::new(&bytes[..end]));
                assert_eq!(read.string().map(drop), stepped.skip_string(), "{text:?} {end}");
                assert_eq!(read.len(), stepped.len(), "{text:?} {end}");
            }
        }
    }
}
