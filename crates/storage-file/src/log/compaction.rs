//! Compaction: what has been overwritten is left out.
//!
//! The segments up to a number become one snapshot. They are read twice: first to learn where the changes stand that
//! count, then to copy those lines as they are, in their order. It runs in a thread of its own on files that nobody
//! changes, while changes go to the next log. Relates to: `owner.rs`, which starts it and puts the result in its place.
//! Leaves out: when.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use gantline_protocol::StoreError;

use super::directory::{Directory, Kind, Segment, UNFINISHED};
use super::replay::{BUFFER, Found, LoadReport, replay};
use super::{Change, Place};

/// Writes the snapshot that stands for `sources`, whose last one gives it the number. `None` if it was told to stop.
pub(crate) fn compact<C: Change>(
    directory: &Directory,
    sources: &[Segment],
    stop: &AtomicBool,
) -> Result<Option<Segment>, StoreError> {
    let number = sources.last().map_or(0, |segment| segment.number);
    directory.remove(UNFINISHED);
    let Some(places) = find::<C>(directory, sources, number, stop)? else { return Ok(None) };
    let failed = |error| directory.error("write", UNFINISHED, error);
    let mut copy =
        Copy { out: BufWriter::with_capacity(BUFFER, directory.create(UNFINISHED)?), bytes: 0, unsynced: 0 };
    let mut left = places.as_slice();
    for (source, segment) in (0..).zip(sources) {
        let (here, behind) = left.split_at(left.partition_point(|place| place.source == source));
        left = behind;
        if !copy.lines(directory, segment, here, stop)? {
            directory.remove(UNFINISHED);
            return Ok(None);
        }
    }
    let file = copy.out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(Some(Segment { number, kind: Kind::Snapshot, bytes: copy.bytes }))
}

/// Where the changes stand that count, in the order of the files. Lines that cannot be used are set aside.
fn find<C: Change>(
    directory: &Directory,
    sources: &[Segment],
    number: u64,
    stop: &AtomicBool,
) -> Result<Option<Vec<Place>>, StoreError> {
    let now = SystemTime::now();
    let mut places: HashMap<C::Key, Place> = HashMap::new();
    let mut aside = None;
    for (source, segment) in (0..).zip(sources) {
        let going_on = replay::<C>(directory, segment, &mut LoadReport::default(), |found| {
            match found {
                Found::Damaged(line) => set_aside(directory, number, &mut aside, line)?,
                Found::Change { change, offset, bytes } => {
                    // A line has at most a few times the size of a packet, which fits.
                    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                    change.settle(Place { source, bytes, offset }, &mut places, now);
                }
            }
            Ok(!stop.load(Ordering::Relaxed))
        })?;
        if !going_on {
            return Ok(None);
        }
    }
    if let Some(file) = aside {
        file.sync_all().map_err(|error| directory.error("write", &damaged(number), error))?;
    }
    let mut places: Vec<Place> = places.into_values().collect();
    places.sort_unstable_by_key(|place| (place.source, place.offset));
    Ok(Some(places))
}

/// The snapshot that is being written.
struct Copy {
    out: BufWriter<File>,
    bytes: u64,
    unsynced: u64,
}

impl Copy {
    /// Copies lines of a segment; returns whether it was not told to stop.
    fn lines(
        &mut self,
        directory: &Directory,
        segment: &Segment,
        places: &[Place],
        stop: &AtomicBool,
    ) -> Result<bool, StoreError> {
        if places.is_empty() {
            return Ok(true);
        }
        let failed_to_read = |error| directory.error("read", &segment.name(), error);
        let failed_to_write = |error| directory.error("write", UNFINISHED, error);
        let file = File::open(directory.file(&segment.name())).map_err(failed_to_read)?;
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let (mut position, mut line) = (0, Vec::new());
        for Place { offset, bytes, .. } in places {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            reader.seek_relative((offset - position) as i64).map_err(failed_to_read)?;
            line.clear();
            reader.by_ref().take(u64::from(*bytes)).read_to_end(&mut line).map_err(failed_to_read)?;
            line.push(b'\n');
            self.out.write_all(&line).map_err(failed_to_write)?;
            position = offset + u64::from(*bytes);
            self.bytes += line.len() as u64;
            self.unsynced += line.len() as u64;
            if self.unsynced >= SYNC_EACH {
                // In small portions, or whoever syncs the log meanwhile would wait for all of it.
                self.unsynced = 0;
                self.out.flush().and_then(|()| self.out.get_ref().sync_data()).map_err(failed_to_write)?;
            }
        }
        Ok(true)
    }
}

/// Keeps a line that cannot be used for people to look at.
fn set_aside(
    directory: &Directory,
    number: u64,
    aside: &mut Option<File>,
    line: &[u8],
) -> Result<(), StoreError> {
    let name = damaged(number);
    let file = match aside {
        Some(file) => file,
        None => {
            tracing::warn!(file = %directory.file(&name).display(), "damaged lines are set aside");
            // An attempt that did not come to its end may have made it; better twice than not at all.
            aside.insert(directory.append(&name)?)
        }
    };
    let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
    written.map_err(|error| directory.error("write", &name, error))
}

fn damaged(number: u64) -> String {
    format!("{number:08}.damaged")
}

/// How much of a snapshot is written before it is forced to the disk.
const SYNC_EACH: u64 = 4 << 20;
