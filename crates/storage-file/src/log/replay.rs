//! Replay: reading the segments of a log in order, whatever has become of them.
//!
//! Relates to: `owner.rs`, which replays at the start; `compaction.rs`, which sets damaged lines aside when it leaves
//! them out. Leaves out: repair. A file is never changed, only replaced.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use gantline_protocol::StoreError;

use super::Change;
use super::directory::{Directory, Segment};
use super::line::{Line, Lines, PREFIX};

/// What was found when a store was loaded.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// How many changes were read, those that others have overwritten included.
    pub changes: u64,
    /// How many lines were damaged and left out.
    pub damaged: u64,
    /// What is known of them; the first hundred.
    pub damages: Vec<Damage>,
}

/// A line that cannot be used. It is set aside in a `.damaged` file with the next compaction, which follows soon.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it the line begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The file ends in the middle of it: the change was being written when the process or the system ended. After the
    /// end of a process its batch was not reported as applied; after a power cut it may have been, unless the policy is
    /// [`Fsync::EachBatch`](crate::Fsync::EachBatch).
    Torn,
    /// The checksum is wrong: the file was changed by the medium or by hand.
    Checksum,
    /// The checksum is right and the record is none of ours; the text says why.
    Unreadable(String),
    /// It is longer than [`FileStoreOptions::longest_line`](crate::FileStoreOptions::longest_line): line feeds were
    /// lost, or the option was larger when it was written.
    TooLong,
}

impl LoadReport {
    fn add(&mut self, damage: Damage) {
        self.damaged += 1;
        if self.damages.len() < DAMAGES_TOLD {
            self.damages.push(damage);
        }
    }

    /// Says in the log what was damaged.
    pub(crate) fn log(&self) {
        for Damage { file, offset, bytes, kind } in &self.damages {
            tracing::warn!(file = %file.display(), offset, bytes, ?kind, "a line is damaged and left out");
        }
        let more = self.damaged - self.damages.len() as u64;
        if more > 0 {
            tracing::warn!(more, "more lines are damaged and left out");
        }
    }
}

/// Something that stands in a segment.
pub(crate) enum Found<'a, C> {
    /// A change, with the place of its line, line feed not counted.
    Change { change: C, offset: u64, bytes: usize },
    /// A line that cannot be used, as it is, or a part of one that does not fit into memory.
    Damaged { text: &'a [u8], is_end: bool },
}

/// Reads a segment from its beginning and gives `found` what is in it, until that says no.
pub(crate) fn replay<C: Change>(
    directory: &Directory,
    segment: &Segment,
    longest: u32,
    report: &mut LoadReport,
    mut found: impl FnMut(Found<'_, C>) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let name = segment.name();
    let failed = |error| directory.error("read", &name, error);
    let file = File::open(directory.file(&name)).map_err(failed)?;
    let mut lines = Lines::new(BufReader::with_capacity(BUFFER, file), longest);
    while let Some((offset, line)) = lines.next().map_err(failed)? {
        let (text, damage) = match line {
            Line::Whole(line) => match C::read(&line[PREFIX..]) {
                Ok(change) => {
                    report.changes += 1;
                    if !found(Found::Change { change, offset, bytes: line.len() })? {
                        return Ok(false);
                    }
                    continue;
                }
                Err(error) => (line, Some((line.len() as u64, DamageKind::Unreadable(error.to_string())))),
            },
            Line::Damaged(text) => (text, Some((text.len() as u64, DamageKind::Checksum))),
            Line::Torn(text) => (text, Some((text.len() as u64, DamageKind::Torn))),
            Line::Part { text, of } => (text, of.map(|bytes| (bytes, DamageKind::TooLong))),
        };
        let is_end = damage.is_some();
        if let Some((bytes, kind)) = damage {
            report.add(Damage { file: directory.file(&name), offset, bytes, kind });
        }
        if !found(Found::Damaged { text, is_end })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How much is read at once.
pub(crate) const BUFFER: usize = 256 << 10;
/// How many damages are remembered one by one.
const DAMAGES_TOLD: usize = 100;
