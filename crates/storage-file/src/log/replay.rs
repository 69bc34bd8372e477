//! Replay: reading the segments of a log in order, whatever has become of them.
//!
//! Relates to: `owner.rs`, which replays at the start; `compaction.rs`, which sets damaged lines aside when it leaves them
//! out. Leaves out: repair. A file is never changed, only replaced.

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
    pub bytes: usize,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The file ends in the middle of it: the change was being written when the process or the system ended. Its batch
    /// was not reported as applied.
    Torn,
    /// The checksum is wrong: the file was changed by the medium or by hand.
    Checksum,
    /// The checksum is right and the record is none of ours; the text says why.
    Unreadable(String),
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
    /// A line that cannot be used, as it is.
    Damaged(&'a [u8]),
}

/// Reads a segment from its beginning and gives `found` what is in it, until that says no.
pub(crate) fn replay<C: Change>(
    directory: &Directory,
    segment: &Segment,
    report: &mut LoadReport,
    mut found: impl FnMut(Found<'_, C>) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let name = segment.name();
    let failed = |error| directory.error("read", &name, error);
    let file = File::open(directory.file(&name)).map_err(failed)?;
    let mut lines = Lines::new(BufReader::with_capacity(BUFFER, file));
    while let Some((offset, line)) = lines.next().map_err(failed)? {
        let (bytes, kind) = match line {
            Line::Whole(line) => match C::read(&line[PREFIX..]) {
                Ok(change) => {
                    report.changes += 1;
                    if !found(Found::Change { change, offset, bytes: line.len() })? {
                        return Ok(false);
                    }
                    continue;
                }
                Err(error) => (line, DamageKind::Unreadable(error.to_string())),
            },
            Line::Damaged(bytes) => (bytes, DamageKind::Checksum),
            Line::Torn(bytes) => (bytes, DamageKind::Torn),
        };
        report.add(Damage { file: directory.file(&name), offset, bytes: bytes.len(), kind });
        if !found(Found::Damaged(bytes))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How much is read at once.
pub(crate) const BUFFER: usize = 256 << 10;
/// How many damages are remembered one by one.
const DAMAGES_TOLD: usize = 100;
