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

use super::aside::Aside;
use super::directory::{Directory, Kind, Segment, UNFINISHED};
use super::replay::{BUFFER, Found, LoadReport, replay};
use super::{Change, Place};

/// Puts a snapshot in the place of `sources`, whose last one gives it the number; they stay for the caller to remove.
/// `None` if it was told to stop. What it does not finish leaves nothing behind.
pub(crate) fn compact<C: Change>(
    directory: &Directory,
    sources: &[Segment],
    longest: u32,
    stop: &AtomicBool,
) -> Result<Option<Segment>, StoreError> {
    let number = sources.last().map_or(0, |segment| segment.number);
    directory.remove(UNFINISHED);
    let mut aside = Aside::new(directory, number);
    let bytes = write::<C>(directory, sources, longest, &mut aside, stop);
    let snapshot = bytes.map(|bytes| bytes.map(|bytes| Segment { number, kind: Kind::Snapshot, bytes }));
    let published = snapshot.and_then(|snapshot| {
        snapshot.as_ref().map_or(Ok(()), |snapshot| directory.publish(snapshot)).map(|()| snapshot)
    });
    match published {
        Ok(Some(snapshot)) => directory.sync().map(|()| Some(snapshot)),
        unfinished => {
            // On a full disk others need the room.
            directory.remove(UNFINISHED);
            aside.undo();
            unfinished
        }
    }
}

/// Writes the snapshot; returns its length.
fn write<C: Change>(
    directory: &Directory,
    sources: &[Segment],
    longest: u32,
    aside: &mut Aside<'_>,
    stop: &AtomicBool,
) -> Result<Option<u64>, StoreError> {
    let Some(places) = find::<C>(directory, sources, longest, aside, stop)? else { return Ok(None) };
    let failed = |error| directory.error("write", UNFINISHED, error);
    let mut copy =
        Copy { out: BufWriter::with_capacity(BUFFER, directory.create(UNFINISHED)?), bytes: 0, unsynced: 0 };
    let mut left = places.as_slice();
    for (source, segment) in (0..).zip(sources) {
        let (here, behind) = left.split_at(left.partition_point(|place| place.source == source));
        left = behind;
        if !copy.lines(directory, segment, here, stop)? {
            return Ok(None);
        }
    }
    let file = copy.out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(Some(copy.bytes))
}

/// Where the changes stand that count, in the order of the files. Lines that cannot be used are set aside.
fn find<C: Change>(
    directory: &Directory,
    sources: &[Segment],
    longest: u32,
    aside: &mut Aside<'_>,
    stop: &AtomicBool,
) -> Result<Option<Vec<Place>>, StoreError> {
    let now = SystemTime::now();
    let mut places: HashMap<C::Key, Place> = HashMap::new();
    for (source, segment) in (0..).zip(sources) {
        let going_on = replay::<C>(directory, segment, longest, &mut LoadReport::default(), |found| {
            match found {
                Found::Damaged { text, is_end } => aside.append(text, is_end)?,
                Found::Change { change, offset, bytes } => {
                    // It is not above `longest`.
                    let bytes = u32::try_from(bytes).map_err(|error| {
                        let context = format!("cannot copy the line of {bytes} bytes at {offset}");
                        StoreError::new(context, error)
                    })?;
                    change.settle(Place { source, bytes, offset }, &mut places, now);
                }
            }
            Ok(!stop.load(Ordering::Relaxed))
        })?;
        if !going_on {
            return Ok(None);
        }
    }
    aside.sync()?;
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
            // A file that has become shorter is an error, and not a shorter line.
            line.resize(*bytes as usize, 0);
            reader.read_exact(&mut line).map_err(failed_to_read)?;
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

/// How much of a snapshot is written before it is forced to the disk.
const SYNC_EACH: u64 = 4 << 20;
