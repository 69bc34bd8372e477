//! The owner: the one thread that has the files of a log.
//!
//! It does what it is told in order: load, apply, compact, close. Changes that several callers apply at a time are
//! written and synced together. While a compaction runs beside it, changes go to the next log. Relates to:
//! [`Log`](super::Log), which talks to it; `compaction.rs`. Leaves out: what the lines are.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gantline_protocol::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::compaction::compact;
use super::directory::{Directory, Kind, Segment};
use super::replay::{Found, LoadReport, replay};
use super::{Change, line};
use crate::options::{FileStoreOptions, Fsync};

/// Where an answer is wanted. Who does not wait for it any more has gone.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the owner is told.
pub(crate) enum Command<C> {
    /// Read everything.
    Load { batches: mpsc::Sender<Vec<C>>, done: Answer<LoadReport> },
    /// Append changes.
    Apply { changes: Vec<C>, done: Answer<()> },
    /// Force what was applied to the disk, if the policy is to do so at all.
    #[cfg(feature = "managed")]
    Sync { done: Answer<()> },
    /// Compact now.
    Compact { done: Answer<()> },
    /// A compaction has ended.
    Compacted(Result<Option<Segment>, StoreError>),
    /// The last one.
    Close { done: Answer<()> },
}

/// The files of a store and what is under way with them.
pub(crate) struct Owner<C> {
    directory: Arc<Directory>,
    options: FileStoreOptions,
    commands: Receiver<Command<C>>,
    /// For the thread of a compaction.
    sender: Sender<Command<C>>,
    /// Came while something else was collected.
    next_command: Option<Command<C>>,
    /// Files that are not written to any more, in order.
    segments: Vec<Segment>,
    active: Option<Active>,
    /// An earlier process may have left some of them to the system to write.
    inherited: bool,
    next_number: u64,
    compaction: Option<Compaction>,
    /// There is something in the files that should not stay there.
    untidy: bool,
    /// After a failure.
    compact_not_before: Instant,
    waiting: Vec<Answer<()>>,
    /// Why changes that counted as applied may not be durable, until somebody was told.
    lost: Option<StoreError>,
    buffer: Vec<u8>,
}

/// The log that is appended to.
struct Active {
    file: File,
    segment: Segment,
    /// When the first change came that is not synced.
    unsynced: Option<Instant>,
}

/// A compaction that runs.
struct Compaction {
    sources: Vec<Segment>,
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl<C: Change> Owner<C> {
    /// The owner of a directory with these segments.
    pub(crate) fn new(
        directory: Directory,
        segments: Vec<Segment>,
        options: FileStoreOptions,
        commands: Receiver<Command<C>>,
        sender: Sender<Command<C>>,
    ) -> Self {
        Self {
            directory: Arc::new(directory),
            options,
            commands,
            sender,
            next_command: None,
            next_number: segments.last().map_or(1, |segment| segment.number + 1),
            inherited: !segments.is_empty(),
            segments,
            active: None,
            compaction: None,
            untidy: false,
            compact_not_before: Instant::now(),
            waiting: Vec::new(),
            lost: None,
            buffer: Vec::new(),
        }
    }

    /// Does what it is told until it is told to close.
    pub(crate) fn run(mut self) {
        while let Some(command) = self.next() {
            match command {
                Command::Load { batches, done } => drop(done.send(self.load(&batches))),
                Command::Apply { changes, done } => self.apply(changes, done),
                #[cfg(feature = "managed")]
                Command::Sync { done } => drop(done.send(self.sync_all())),
                Command::Compact { done } => {
                    self.waiting.push(done);
                    self.untidy = true;
                    self.compact_not_before = Instant::now();
                }
                Command::Compacted(result) => self.compacted(result),
                Command::Close { done } => {
                    let closed = self.close();
                    // Who waits for the end may want to open the directory again.
                    drop(self);
                    let _ = done.send(closed);
                    return;
                }
            }
            self.compact_if_worthwhile();
        }
    }

    /// The next command; syncs in time meanwhile.
    fn next(&mut self) -> Option<Command<C>> {
        if let Some(command) = self.next_command.take() {
            return Some(command);
        }
        loop {
            let Some(due) = self.sync_is_due() else { return self.commands.recv().ok() };
            let left = due.saturating_duration_since(Instant::now());
            // Also if there is always a command.
            if left.is_zero() {
                self.sync_behind();
                continue;
            }
            match self.commands.recv_timeout(left) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Syncs what counts as applied already.
    fn sync_behind(&mut self) {
        if let Err(error) = self.sync() {
            tracing::error!(%error, what = C::NAME, "changes may not be durable, they will be written again");
            self.lost = Some(error);
        }
    }

    fn sync_is_due(&self) -> Option<Instant> {
        match self.options.fsync {
            Fsync::Interval(interval) => self.active.as_ref()?.unsynced?.checked_add(interval),
            Fsync::Never | Fsync::EachBatch => None,
        }
    }

    fn load(&mut self, batches: &mpsc::Sender<Vec<C>>) -> Result<LoadReport, StoreError> {
        self.secure()?;
        let mut report = LoadReport::default();
        let (mut batch, mut bytes_of_batch) = (Vec::new(), 0);
        let active = self.active.as_ref().map(|active| &active.segment);
        for segment in self.segments.iter().chain(active) {
            let wanted = replay(&self.directory, segment, self.options.longest_line, &mut report, |found| {
                let Found::Change { change, bytes, .. } = found else { return Ok(true) };
                batch.push(change);
                bytes_of_batch += bytes;
                if batch.len() < LOADED_AT_ONCE && bytes_of_batch < BYTES_AT_ONCE {
                    return Ok(true);
                }
                bytes_of_batch = 0;
                Ok(batches.blocking_send(mem::take(&mut batch)).is_ok())
            })?;
            if !wanted {
                return Ok(report);
            }
        }
        // If nobody takes it, nobody waits for the report either.
        let _ = batches.blocking_send(batch);
        report.log();
        self.untidy |= report.damaged > 0;
        Ok(report)
    }

    /// Forces to the disk what an earlier process wrote and did not sync, because it was killed: what is loaded
    /// counts, and nothing that comes later may be durable without it.
    fn secure(&mut self) -> Result<(), StoreError> {
        if self.inherited && self.options.fsync != Fsync::Never {
            for log in self.segments.iter().filter(|segment| segment.kind == Kind::Log) {
                self.directory.sync_file(&log.name())?;
            }
            self.directory.sync()?;
            self.inherited = false;
        }
        Ok(())
    }

    /// Appends changes, and those of others that wait.
    fn apply(&mut self, changes: Vec<C>, done: Answer<()>) {
        let mut buffer = mem::take(&mut self.buffer);
        let longest = self.options.longest_line;
        let mut callers = vec![(done, encode(changes, longest, &mut buffer))];
        while buffer.len() < BYTES_AT_ONCE {
            match self.commands.try_recv() {
                Ok(Command::Apply { changes, done }) => {
                    callers.push((done, encode(changes, longest, &mut buffer)));
                }
                Ok(other) => {
                    self.next_command = Some(other);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let outcome = match self.lost.take() {
            Some(error) => Err(error),
            None => self.write(&buffer),
        };
        for (answer, encoded) in callers {
            // What was not written comes again, and then so does the other error.
            let _ = answer.send(outcome.clone().and(encoded));
        }
        buffer.clear();
        if buffer.capacity() <= BYTES_AT_ONCE {
            self.buffer = buffer;
        }
    }

    /// Writes lines to the log, which is begun if need be, and syncs as the policy says.
    fn write(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.secure()?;
        let active = match &mut self.active {
            Some(active) => active,
            None => {
                let segment = Segment { number: self.next_number, kind: Kind::Log, bytes: 0 };
                // Also if it fails: a name is used once.
                self.next_number += 1;
                let file = self.directory.create(&segment.name())?;
                if self.options.fsync != Fsync::Never
                    && let Err(error) = self.directory.sync()
                {
                    self.directory.remove(&segment.name());
                    return Err(error);
                }
                self.active.insert(Active { file, segment, unsynced: None })
            }
        };
        if let Err(error) = active.file.write_all(lines) {
            let error = self.directory.error("write", &active.segment.name(), error);
            // What was written of it must not stand in the way of what comes.
            if active.file.set_len(active.segment.bytes).is_err() {
                self.abandon();
            }
            return Err(error);
        }
        active.segment.bytes += lines.len() as u64;
        active.unsynced.get_or_insert_with(Instant::now);
        if self.options.fsync == Fsync::EachBatch { self.sync() } else { Ok(()) }
    }

    /// Forces the log to the disk.
    fn sync(&mut self) -> Result<(), StoreError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.unsynced.is_none() || self.options.fsync == Fsync::Never {
            return Ok(());
        }
        if let Err(error) = active.file.sync_data() {
            let error = self.directory.error("sync", &active.segment.name(), error);
            // The system may have forgotten what it could not write, and would say yes the next time. What can still be
            // read of it is written anew.
            self.abandon();
            self.untidy = true;
            return Err(error);
        }
        active.unsynced = None;
        Ok(())
    }

    /// Leaves the log as it is; the next change begins another.
    fn abandon(&mut self) {
        if let Some(active) = self.active.take() {
            self.segments.push(active.segment);
        }
    }

    fn compact_if_worthwhile(&mut self) {
        if self.compaction.is_some() || Instant::now() < self.compact_not_before {
            return;
        }
        let (mut logs, mut snapshot, mut files) = (0, 0, 0);
        for segment in self.segments.iter().chain(self.active.as_ref().map(|active| &active.segment)) {
            match segment.kind {
                Kind::Snapshot => snapshot = segment.bytes,
                Kind::Log => (logs, files) = (logs + segment.bytes, files + 1),
            }
        }
        let enough = snapshot.max(self.options.compact_from).max(1);
        if (self.untidy || files > MOST_LOGS || logs >= enough)
            && let Err(error) = self.start_compaction()
        {
            self.compacted(Err(error));
        }
    }

    fn start_compaction(&mut self) -> Result<(), StoreError> {
        // Or a later change could be durable and this one not. What cannot be synced is written anew here.
        self.sync_behind();
        self.abandon();
        let stop = Arc::new(AtomicBool::new(false));
        let (directory, sources) = (Arc::clone(&self.directory), self.segments.clone());
        let longest = self.options.longest_line;
        let (sender, told_to_stop) = (self.sender.clone(), Arc::clone(&stop));
        let body = move || {
            let result = compact::<C>(&directory, &sources, longest, &told_to_stop);
            // The lock goes with the owner, who waits for this thread; nobody else has the directory then.
            drop(directory);
            let _ = sender.send(Command::Compacted(result));
        };
        let thread = thread::Builder::new().name(format!("{}-compact", C::NAME)).spawn(body);
        let thread = thread.map_err(|error| StoreError::new("cannot start a compaction", error))?;
        self.compaction = Some(Compaction { sources: self.segments.clone(), thread, stop });
        self.untidy = false;
        Ok(())
    }

    fn compacted(&mut self, result: Result<Option<Segment>, StoreError>) {
        let sources = self.compaction.take().map(|compaction| compaction.sources).unwrap_or_default();
        let outcome = result.map(|snapshot| {
            if let Some(snapshot) = snapshot {
                self.replace(&sources, snapshot);
            }
        });
        if let Err(error) = &outcome {
            tracing::error!(%error, what = C::NAME, "the log cannot be compacted, it is tried again later");
            self.untidy = true;
            self.compact_not_before = Instant::now() + RETRY_AFTER;
        }
        // Who has asked meanwhile wants another one.
        if !self.untidy || outcome.is_err() {
            for answer in self.waiting.drain(..) {
                let _ = answer.send(outcome.clone());
            }
        }
    }

    fn replace(&mut self, sources: &[Segment], snapshot: Segment) {
        let before: u64 = sources.iter().map(|segment| segment.bytes).sum();
        tracing::debug!(before, after = snapshot.bytes, what = C::NAME, "log compacted");
        for source in sources.iter().filter(|source| source.name() != snapshot.name()) {
            self.directory.remove(&source.name());
        }
        self.segments.splice(..sources.len(), [snapshot]);
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if let Some(Compaction { thread, stop, .. }) = self.compaction.take() {
            stop.store(true, Ordering::Relaxed);
            // A panic was reported when it happened.
            let _ = thread.join();
        }
        self.sync_all()
    }

    /// Forces everything to the disk that counts as applied.
    fn sync_all(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.lost.take().map_or(Ok(()), Err)
    }
}

/// Appends the lines of changes. The error is that of the last one that has none, whatever one tries.
fn encode<C: Change>(changes: Vec<C>, longest: u32, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut encoded = Ok(());
    for change in changes {
        let Err(error) = line::append(out, longest, |out| change.write(out)) else { continue };
        let error = StoreError::new(format!("cannot write down {}", change.name()), error).permanent();
        tracing::error!(%error, what = C::NAME, "a change is left out");
        encoded = Err(error);
        if let Some(instead) = change.instead() {
            // If there is no line for that either, the one error says so.
            let _ = line::append(out, longest, |out| instead.write(out));
        }
    }
    encoded
}

/// The error of a store that is closed.
pub(crate) fn closed() -> StoreError {
    StoreError::new("cannot use the store", io::Error::other("it is closed, open it again"))
}

/// How many changes are handed over at once.
const LOADED_AT_ONCE: usize = 1_000;
/// How many bytes are handed over, or written, at once; a batch may be larger.
const BYTES_AT_ONCE: usize = 1 << 20;
/// More logs than these are made one, however small: each start begins one.
const MOST_LOGS: usize = 16;
/// When a compaction that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
