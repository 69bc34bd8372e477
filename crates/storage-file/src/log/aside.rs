//! Lines that cannot be used, set aside for people to look at.
//!
//! Relates to: `compaction.rs`, which leaves such lines out of the snapshot that it writes. Leaves out: what is wrong
//! with them, which the report of a load says.

use std::fs::File;
use std::io::Write;

use gantline_protocol::StoreError;

use super::directory::Directory;

/// The `.damaged` file of a compaction, which is made with the first line.
pub(crate) struct Aside<'a> {
    directory: &'a Directory,
    name: String,
    /// With its length before. An earlier compaction may have made it.
    file: Option<(File, u64)>,
}

impl<'a> Aside<'a> {
    /// That of the snapshot with this number.
    pub(crate) fn new(directory: &'a Directory, number: u64) -> Self {
        Self { directory, name: format!("{number:08}.damaged"), file: None }
    }

    /// Appends a line or a part of one, and a line feed at its end.
    pub(crate) fn append(&mut self, text: &[u8], is_end: bool) -> Result<(), StoreError> {
        let failed = |error| self.directory.error("write", &self.name, error);
        let file = match &mut self.file {
            Some((file, _)) => file,
            None => {
                let file = self.directory.append(&self.name)?;
                let before = file.metadata().map_err(failed)?.len();
                &mut self.file.insert((file, before)).0
            }
        };
        file.write_all(text).map_err(failed)?;
        if is_end { file.write_all(b"\n").map_err(failed) } else { Ok(()) }
    }

    /// Forces it to the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let Some((file, _)) = &self.file else { return Ok(()) };
        tracing::warn!(file = %self.directory.file(&self.name).display(), "damaged lines are set aside");
        file.sync_all().map_err(|error| self.directory.error("write", &self.name, error))
    }

    /// Takes back what was appended, because the lines stay where they are: the next compaction finds them again.
    pub(crate) fn undo(self) {
        match self.file {
            None => {}
            Some((_, 0)) => self.directory.remove(&self.name),
            // If it fails the lines are there twice.
            Some((file, before)) => drop(file.set_len(before)),
        }
    }
}
