//! The journal: what changes in the session, on its way to the store.
//!
//! Changes are collected in batches, and a task writes one batch after the other as long as there are any; what comes
//! meanwhile is the next batch. So the driver never waits for a disk, and a store that is slow is called with more at a
//! time. Relates to: `recorder.rs`, the driver's end; [`SessionStore`], the other one; `kept.rs`, what a store gives
//! back. Leaves out: which changes there are.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use gantline_protocol::session::Stage;
use gantline_protocol::{ClientId, Moment, Outbound, PacketId, Session, StoreError};
use gantline_transport::Clock;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::error::ConnectError;
use crate::kept::Kept;
use crate::options::{Identity, OptionsError};
use crate::pending::Pending;
use crate::session::{Lease, Plan};
use crate::session_store::{Durability, SessionChange, Store};

/// The way to the store of one client.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    durability: Durability,
    clock: Clock,
    queue: Mutex<Queue>,
    /// Told when the task that writes has ended.
    rested: Notify,
}

/// A change that waits to be written.
#[derive(Debug)]
pub(crate) enum Note {
    /// A message was sent, of this name; the task that writes makes a [`SessionChange`] of it.
    Sent(PacketId, Outbound, Option<u64>),
    Change(SessionChange),
}

#[derive(Debug, Default)]
struct Queue {
    /// Whose session the store has, once that is known.
    client_id: Option<ClientId>,
    /// The batch that is being collected.
    notes: Vec<Note>,
    /// What all this holds, the batch included that is being written.
    weight: usize,
    /// The number of the batch that is being collected.
    collecting: u64,
    /// Batches with lower numbers are with the store.
    written: u64,
    writing: bool,
    /// Why the task that writes has given up.
    failure: Option<StoreError>,
    waker: Option<Waker>,
}

impl Journal {
    pub(crate) fn new(store: Store, durability: Durability, clock: Clock) -> Arc<Self> {
        Arc::new(Self { store, durability, clock, queue: Mutex::default(), rested: Notify::new() })
    }

    /// Whether a client of this identity may use the store, as far as that is known.
    ///
    /// # Errors
    ///
    /// What it has belongs to another client id.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), ConnectError> {
        match (&self.queue.lock().client_id, identity) {
            (Some(owner), Identity::Given(wanted)) if owner == wanted => Ok(()),
            (Some(owner), _) => Err(ConnectError::SessionOfAnother { owner: owner.clone() }),
            (None, _) => Ok(()),
        }
    }

    /// Whether the session was loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        self.queue.lock().client_id.is_some()
    }

    /// Makes store and session agree before an attempt to connect: loads the session for the first one, and writes what
    /// is left of the last connection for others. Cancel safe.
    ///
    /// # Errors
    ///
    /// The store fails, or what it has belongs to another client id. Nothing was changed.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        lease: &mut Lease,
        plan: &Plan,
        pending: &Mutex<Pending>,
    ) -> Result<(), ConnectError> {
        let Some(wanted) = &plan.client_id else { return Err(OptionsError::StoreWithoutClientId.into()) };
        let mut begins = plan.cleared;
        if !self.is_loaded() {
            let mut kept = Kept::default();
            let loaded = self.store.0.load(&mut |change| kept.apply(change)).await;
            loaded.map_err(ConnectError::Store)?;
            match kept.client_id() {
                Some(owner) if owner != wanted => {
                    return Err(ConnectError::SessionOfAnother { owner: owner.clone() });
                }
                owner => begins |= owner.is_none(),
            }
            self.queue.lock().client_id = Some(wanted.clone());
            lease.restore(kept.into_session(self.clock.now(), pending));
        }
        if begins {
            // With what was there, if nothing but its beginning has been lost.
            self.rewrite(lease, pending);
        }
        self.flush().await.map_err(ConnectError::Store)
    }

    /// Appends changes; returns the number of their batch.
    pub(crate) fn append(self: &Arc<Self>, notes: impl IntoIterator<Item = Note>) -> u64 {
        let mut queue = self.queue.lock();
        let before = queue.notes.len();
        queue.notes.extend(notes);
        queue.weight += queue.notes[before..].iter().map(Note::weight).sum::<usize>();
        let batch = queue.collecting;
        let start = !queue.writing && queue.failure.is_none() && !queue.notes.is_empty();
        queue.writing |= start;
        drop(queue);
        if start {
            self.start();
        }
        batch
    }

    /// Writes the whole session anew, because more has changed than single packets do.
    pub(crate) fn rewrite(self: &Arc<Self>, session: &Session, pending: &Mutex<Pending>) {
        let client_id = self.queue.lock().client_id.clone();
        let begin = client_id.map(SessionChange::Begin).map(Note::Change);
        let pending = pending.lock();
        let name = |tag| pending.name(tag);
        let outgoing = session.outgoing().stages().map(|(id, stage)| match stage {
            Stage::Sent(message) => Note::Sent(id, message.clone(), name(message.tag)),
            Stage::Released { tag } => Note::Change(SessionChange::Released { id, name: tag.and_then(name) }),
        });
        let incoming = session.incoming().iter().map(|id| Note::Change(SessionChange::Received(id)));
        let notes: Vec<Note> = begin.into_iter().chain(outgoing).chain(incoming).collect();
        drop(pending);
        self.append(notes);
    }

    /// Whether packets that a batch has to be ahead of may leave.
    ///
    /// # Errors
    ///
    /// The store has failed.
    pub(crate) fn poll_written(&self, batch: u64, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let mut queue = self.queue.lock();
        if let Some(failure) = &queue.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        let near = match self.durability {
            Durability::BeforeSend => false,
            Durability::WriteBehind { most } => queue.weight <= most,
        };
        if near || queue.written > batch {
            return Poll::Ready(Ok(()));
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until everything is written; tries once more what has failed. Cancel safe.
    ///
    /// # Errors
    ///
    /// The store has failed. What is not written stays.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut tried = false;
        loop {
            let mut rested = pin!(self.rested.notified());
            // From here on no notice is missed.
            rested.as_mut().enable();
            if self.rests(&mut tried)? {
                return Ok(());
            }
            rested.await;
        }
    }

    /// Whether nothing is left to write. What is left is begun, unless that failed when it was tried.
    fn rests(self: &Arc<Self>, tried: &mut bool) -> Result<bool, StoreError> {
        let mut queue = self.queue.lock();
        if queue.writing {
            return Ok(false);
        }
        if queue.notes.is_empty() {
            return Ok(true);
        }
        match queue.failure.take() {
            Some(failure) if *tried => {
                queue.failure = Some(failure.clone());
                return Err(failure);
            }
            _ => *tried = true,
        }
        queue.writing = true;
        drop(queue);
        self.start();
        Ok(false)
    }

    /// Starts the task that writes; `writing` is set.
    fn start(self: &Arc<Self>) {
        // Whatever becomes of the task, even if it never runs, its writer tells when it is dropped.
        let writer = Writer { journal: Arc::clone(self), batch: Vec::new(), ended: false };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(writer.run());
        }
    }

    /// The change of a note.
    fn change(&self, note: &Note) -> SessionChange {
        match note {
            Note::Change(change) => change.clone(),
            Note::Sent(id, message, name) => {
                let expires = match message.expires {
                    Moment::NEVER => None,
                    moment => SystemTime::now().checked_add(moment.since(self.clock.now())),
                };
                let message = message.frame.to_message(message.qos, message.retain, None, &[]);
                SessionChange::Sent { id: *id, message, expires, name: *name }
            }
        }
    }
}

impl Note {
    fn weight(&self) -> usize {
        let message = match self {
            Self::Sent(_, message, _) => message.weight(),
            Self::Change(_) => 0,
        };
        size_of::<Self>() + message
    }
}

/// The task that writes, as long as there is something to write.
struct Writer {
    journal: Arc<Journal>,
    /// What is being written.
    batch: Vec<Note>,
    ended: bool,
}

impl Writer {
    async fn run(mut self) {
        while self.take() {
            let changes = self.batch.iter().map(|note| self.journal.change(note)).collect();
            match self.journal.store.0.apply(changes).await {
                Ok(()) => self.written(),
                Err(error) if error.is_permanent() => {
                    tracing::error!(%error, "a part of the session cannot be stored, it is left out");
                    self.written();
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Takes the next batch, if there is one.
    fn take(&mut self) -> bool {
        let mut queue = self.journal.queue.lock();
        self.batch = std::mem::take(&mut queue.notes);
        self.ended = self.batch.is_empty();
        if self.ended {
            queue.writing = false;
            drop(queue);
            self.journal.rested.notify_waiters();
            return false;
        }
        queue.collecting += 1;
        true
    }

    fn written(&mut self) {
        let weight: usize = self.batch.iter().map(Note::weight).sum();
        // Not under the lock: there may be user code in it, such as the owner of a payload.
        self.batch.clear();
        let mut queue = self.journal.queue.lock();
        queue.weight = queue.weight.saturating_sub(weight);
        queue.written = queue.collecting;
        wake(queue.waker.take(), queue);
    }

    /// Puts back what may not have been written.
    fn fail(&mut self, error: StoreError) {
        self.ended = true;
        let mut queue = self.journal.queue.lock();
        self.batch.append(&mut queue.notes);
        queue.notes = std::mem::take(&mut self.batch);
        queue.writing = false;
        queue.failure = Some(error);
        wake(queue.waker.take(), queue);
        self.journal.rested.notify_waiters();
    }
}

impl Drop for Writer {
    /// The runtime was shut down, there was none, or the store panicked.
    fn drop(&mut self) {
        if !self.ended {
            let stopped = io::Error::other("the task that writes was stopped");
            self.fail(StoreError::new("cannot write down the session", stopped));
        }
    }
}

/// Wakes when the lock is released.
fn wake(waker: Option<Waker>, lock: MutexGuard<'_, Queue>) {
    drop(lock);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
