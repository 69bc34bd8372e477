//! Lines with checksums: how records stand in a file.
//!
//! JSON has no raw line feed, so the end of a line is the end of a record, and behind a damaged one the next is found
//! at once. Relates to: [`Change`](super::Change), which says what the JSON is. Leaves out: files.

use std::io::{self, BufRead, Read};

use crate::message::RecordError;

/// Appends the line of a record, whose JSON `write` appends. If that fails, nothing is appended.
pub(crate) fn append(
    out: &mut Vec<u8>,
    longest: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let start = out.len();
    out.extend_from_slice(&[b' '; PREFIX]);
    let written = write(out).and_then(|()| {
        let bytes = out.len() - start;
        if bytes as u64 > u64::from(longest) { Err(RecordError::TooLong { bytes, longest }) } else { Ok(()) }
    });
    if written.is_err() {
        out.truncate(start);
        return written;
    }
    let checksum = format!("{:08x}", crc32fast::hash(&out[start + PREFIX..]));
    out[start..start + checksum.len()].copy_from_slice(checksum.as_bytes());
    out.push(b'\n');
    Ok(())
}

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// It is as it was written; the JSON begins behind the [`PREFIX`].
    Whole(&'a [u8]),
    /// It is not what was written.
    Damaged(&'a [u8]),
    /// The end of the file comes before the end of the line.
    Torn(&'a [u8]),
    /// A part of a line that is longer than any that was written; the last one says how long.
    Part { text: &'a [u8], of: Option<u64> },
}

/// The lines of a file.
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// How many bytes a line may have.
    longest: u32,
    /// Where the line begins.
    start: u64,
    /// What was read of it already, because it is too long.
    before: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) const fn new(reader: R, longest: u32) -> Self {
        Self { reader, line: Vec::new(), longest, start: 0, before: 0 }
    }

    /// The next line, or part of one that is too long, and where the line begins; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        if self.line.capacity() > LARGE {
            self.line = Vec::new();
        }
        self.line.clear();
        // With its line feed.
        let most = u64::from(self.longest) + 1;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.line)? as u64;
        let bytes = self.before + read;
        if bytes == 0 {
            return Ok(None);
        }
        let (text, is_ended) = match self.line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (self.line.as_slice(), false),
        };
        let start = self.start;
        if read == most && !is_ended {
            self.before = bytes;
            return Ok(Some((start, Line::Part { text, of: None })));
        }
        self.start += bytes;
        if std::mem::take(&mut self.before) > 0 {
            return Ok(Some((start, Line::Part { text, of: Some(bytes - u64::from(is_ended)) })));
        }
        // A whole record of which only the line feed is missing is as good as any.
        let line = match (is_whole(text), is_ended) {
            (true, _) => Line::Whole(text),
            (false, true) => Line::Damaged(text),
            (false, false) => Line::Torn(text),
        };
        Ok(Some((start, line)))
    }
}

/// Whether the checksum of a line without its line feed is right.
fn is_whole(line: &[u8]) -> bool {
    let Some((prefix, json)) = line.split_at_checked(PREFIX) else { return false };
    let digits = prefix.strip_suffix(b" ").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
    let checksum = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    checksum == Some(crc32fast::hash(json))
}

/// The checksum and a space.
pub(crate) const PREFIX: usize = 9;
/// The memory for a longer line is given back.
const LARGE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        lines_up_to(100, bytes)
    }

    fn lines_up_to(longest: u32, bytes: &[u8]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::new(bytes, longest), Vec::new());
        while let Some((offset, line)) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(line) => format!("{offset} {}", str::from_utf8(&line[PREFIX..]).unwrap()),
                Line::Damaged(bytes) => format!("{offset} damaged {}", bytes.len()),
                Line::Torn(bytes) => format!("{offset} torn {}", bytes.len()),
                Line::Part { text, of } => format!("{offset} part {} of {of:?}", text.len()),
            });
        }
        found
    }

    fn two() -> Vec<u8> {
        let mut out = Vec::new();
        for json in ["{}", "{\"a\":1}"] {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(json.as_bytes());
                Ok(())
            };
            append(&mut out, 16, write).unwrap();
        }
        out
    }

    #[test]
    fn a_line_is_a_checksum_and_a_record() {
        let two = two();
        assert_eq!(two, b"a3a6bf43 {}\n561bacaf {\"a\":1}\n".as_slice());
        assert_eq!(lines(&two), ["0 {}", "12 {\"a\":1}"]);
    }

    #[test]
    fn a_file_that_ends_early_has_a_torn_line() {
        let two = two();
        assert_eq!(lines(&two[..two.len() - 2]), ["0 {}", "12 torn 15"]);
        assert_eq!(lines(&two[..two.len() - 1]), ["0 {}", "12 {\"a\":1}"], "only the line feed is missing");
    }

    #[test]
    fn behind_a_damaged_line_the_next_one_is_found() {
        let mut two = two();
        two[10] ^= 1;
        assert_eq!(lines(&two), ["0 damaged 11", "12 {\"a\":1}"]);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_parts() {
        let two = two();
        assert_eq!(lines_up_to(16, &two), ["0 {}", "12 {\"a\":1}"], "16 bytes are allowed");
        assert_eq!(lines_up_to(15, &two), ["0 {}", "12 part 16 of None", "12 part 0 of Some(16)"]);
        assert_eq!(lines_up_to(15, &two[..two.len() - 1]).len(), 3, "at the end of the file");
        let long = [&[b'x'; 25][..], b"\n", &two].concat();
        let found = lines_up_to(16, &long);
        assert_eq!(found, ["0 part 17 of None", "0 part 8 of Some(25)", "26 {}", "38 {\"a\":1}"]);
        assert_eq!(lines_up_to(7, &[0; 20]).len(), 3);
    }

    #[test]
    fn a_record_that_cannot_be_written_leaves_nothing() {
        let mut out = Vec::new();
        assert!(matches!(append(&mut out, 16, |_| Err(RecordError::Payload)), Err(RecordError::Payload)));
        let eight = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"123456\"");
            Ok(())
        };
        let error = append(&mut out, 16, eight).unwrap_err();
        assert!(matches!(error, RecordError::TooLong { bytes: 17, longest: 16 }), "{error}");
        assert!(out.is_empty());
    }
}
