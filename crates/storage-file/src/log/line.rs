//! Lines with checksums: how records stand in a file.
//!
//! JSON has no raw line feed, so the end of a line is the end of a record, and behind a damaged one the next is found at
//! once. Relates to: [`Change`](super::Change), which says what the JSON is. Leaves out: files.

use std::io::{self, BufRead};

/// Appends the line of a record, whose JSON `write` appends.
pub(crate) fn append<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[b' '; PREFIX]);
    if let Err(error) = write(out) {
        out.truncate(start);
        return Err(error);
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
}

/// The lines of a file.
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Where the next line begins.
    next: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), next: 0 }
    }

    /// The next line and where it begins; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        if self.line.capacity() > LARGE {
            self.line = Vec::new();
        }
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let start = self.next;
        self.next += read as u64;
        let (text, is_ended) = match self.line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (self.line.as_slice(), false),
        };
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
        let (mut lines, mut found) = (Lines::new(bytes), Vec::new());
        while let Some((offset, line)) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(line) => format!("{offset} {}", str::from_utf8(&line[PREFIX..]).unwrap()),
                Line::Damaged(bytes) => format!("{offset} damaged {}", bytes.len()),
                Line::Torn(bytes) => format!("{offset} torn {}", bytes.len()),
            });
        }
        found
    }

    fn two() -> Vec<u8> {
        let mut out = Vec::new();
        for json in ["{}", "{\"a\":1}"] {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(json.as_bytes());
                Ok::<_, ()>(())
            };
            append(&mut out, write).unwrap();
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
    fn a_record_that_cannot_be_written_leaves_nothing() {
        let mut out = Vec::new();
        assert_eq!(append(&mut out, |_| Err("no")), Err("no"));
        assert!(out.is_empty());
    }
}
