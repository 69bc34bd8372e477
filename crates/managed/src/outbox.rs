//! The messages that are not delivered yet, in their order: a bounded queue between publishers and connections.
//!
//! It is synchronous and nothing in it waits. A message enters at the end and is taken from the front when it may be
//! sent; until it is done with it counts against the bounds, in flight or not. With a store each step is noted as a
//! change, and a message may be sent when its change is kept. Relates to: `pump.rs`, which takes; `journal.rs`, which
//! brings the changes to the store. Leaves out: what the outcome of a message is.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use gantline_protocol::{Message, QoS};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::options::{OnOutboxFull, OutboxBounds};
use crate::outbox_store::{MessageId, OutboxChange, OutboxMessage};
use crate::outcome::Outcome;

/// The queue. Its owner holds a lock around it and wakes what the calls return.
#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: OutboxBounds,
    accepting: bool,
    waiting: VecDeque<Entry>,
    /// How many at the front of `waiting` are noted as about to be sent.
    noted: usize,
    load: Load,
    next_id: MessageId,
    notes: Option<Notes>,
    /// The session has a store too, and says when it has a message.
    linked: bool,
    pump: Option<Waker>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// A message that is not done with.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    pub(crate) message: Message,
    weight: usize,
    deadline: Option<Instant>,
    /// It was sent once, and the server may have it.
    pub(crate) in_doubt: bool,
    /// How many connections the server ended because of it.
    pub(crate) blamed: u32,
    /// The number of the change that must be kept before it may be sent.
    ready_at: u64,
    /// The store has it.
    pub(crate) stored: bool,
    /// Its outcome was told when the client was stopped, and is not told again.
    pub(crate) told: bool,
    /// `None` once the outcome is told, and for messages of an earlier client.
    pub(crate) waiter: Option<oneshot::Sender<Outcome>>,
}

/// What the journal is to bring to the store.
#[derive(Debug, Default)]
struct Notes {
    changes: Vec<OutboxChange>,
    /// How many changes there were so far, and how many of them are kept.
    made: u64,
    kept: u64,
    /// Those who wait until a message is kept.
    accepted: VecDeque<(u64, oneshot::Sender<()>)>,
    /// The number of the last message noted as sent by the session, and who waits until it is kept.
    sent: u64,
    awaiting_sent: Vec<oneshot::Sender<()>>,
    /// The journal has ended.
    ended: bool,
    closing: bool,
    journal: Option<Waker>,
}

/// Changes to be kept together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<OutboxChange>,
    last: u64,
}

/// What a message that was offered has led to.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) id: Option<MessageId>,
    pub(crate) answer: Answer,
    /// Those that gave way or have expired; they count no more.
    pub(crate) removed: Vec<Entry>,
    pub(crate) wakers: Vec<Waker>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// It is in. `kept`: told when the store has it; `None` without a store.
    Accepted {
        outcome: oneshot::Receiver<Outcome>,
        kept: Option<oneshot::Receiver<()>>,
    },
    Full,
    Closed,
}

/// The front of the queue.
#[derive(Debug)]
pub(crate) enum Taken {
    Message(Entry),
    Expired(Entry),
}

impl Outbox {
    pub(crate) fn new(bounds: OutboxBounds, has_store: bool) -> Self {
        Self {
            bounds,
            accepting: false,
            waiting: VecDeque::new(),
            noted: 0,
            load: Load::default(),
            next_id: MessageId::new(1),
            notes: has_store.then(Notes::default),
            linked: false,
            pump: None,
        }
    }

    /// From now on messages of QoS 2 are not noted as sent ahead, but when the session has them.
    pub(crate) const fn link(&mut self) {
        self.linked = true;
    }

    pub(crate) const fn is_linked(&self) -> bool {
        self.linked
    }

    // ---- publishers ----

    pub(crate) const fn accept(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// Offers a message. `now` twice: of the clock that a test can pause, and of the calendar, for the store.
    pub(crate) fn offer(&mut self, message: Message, now: (Instant, SystemTime)) -> Offered {
        let mut offered =
            Offered { id: None, answer: Answer::Closed, removed: Vec::new(), wakers: Vec::new() };
        if !self.accepting {
            return offered;
        }
        let id = self.next_id;
        self.next_id = id.next();
        offered.id = Some(id);
        let weight = message.weight();
        if self.exceeds(weight) {
            offered.removed = self.take_expired(now.0);
            offered.wakers.extend(offered.removed.iter().filter_map(|entry| self.done(entry)));
        }
        while self.exceeds(weight) {
            match (self.bounds.on_full, self.waiting.is_empty()) {
                (OnOutboxFull::DropOldest, false) => {
                    let Some(oldest) = self.pop() else { return offered };
                    offered.wakers.extend(self.done(&oldest));
                    offered.removed.push(oldest);
                }
                _ => {
                    offered.answer = Answer::Full;
                    return offered;
                }
            }
        }
        let seconds = message.properties().message_expiry_interval.map(u64::from);
        let span = seconds.map(std::time::Duration::from_secs);
        let expires = span.and_then(|span| now.1.checked_add(span));
        let (ready_at, kept) = match &mut self.notes {
            None => (0, None),
            Some(notes) => {
                let stored = OutboxMessage { id, message: message.clone(), expires, sent: false };
                offered.wakers.extend(notes.add(OutboxChange::Append(stored)));
                let (sender, receiver) = oneshot::channel();
                notes.accepted.push_back((notes.made, sender));
                (notes.made, Some(receiver))
            }
        };
        let (waiter, outcome) = oneshot::channel();
        self.add(Entry {
            id,
            weight,
            deadline: span.and_then(|span| now.0.checked_add(span)),
            message,
            in_doubt: false,
            blamed: 0,
            ready_at,
            stored: kept.is_some(),
            told: false,
            waiter: Some(waiter),
        });
        offered.answer = Answer::Accepted { outcome, kept };
        offered.wakers.extend(self.pump.take());
        offered
    }

    /// Adds a message that the store has kept. Bounds do not hold for it.
    pub(crate) fn restore(&mut self, stored: OutboxMessage, now: (Instant, SystemTime)) -> &mut Entry {
        let left = stored.expires.map(|expires| expires.duration_since(now.1).unwrap_or_default());
        self.know(stored.id);
        let index = self.waiting.len();
        self.add(Entry {
            id: stored.id,
            weight: stored.message.weight(),
            deadline: left.and_then(|left| now.0.checked_add(left)),
            message: stored.message,
            in_doubt: stored.sent,
            blamed: 0,
            ready_at: 0,
            stored: true,
            told: false,
            waiter: None,
        });
        &mut self.waiting[index]
    }

    /// This id is in use.
    pub(crate) fn know(&mut self, id: MessageId) {
        self.next_id = self.next_id.max(id.next());
    }

    /// Takes one of those that wait.
    pub(crate) fn take(&mut self, id: MessageId) -> Option<Entry> {
        let index = self.waiting.binary_search_by_key(&id, |entry| entry.id).ok()?;
        self.noted -= usize::from(index < self.noted);
        self.waiting.remove(index)
    }

    // ---- the pump ----

    /// Takes the front once it may be sent.
    pub(crate) fn poll_take(&mut self, now: Instant, cx: &mut Context<'_>) -> (Poll<Taken>, Option<Waker>) {
        let journal = self.note_ahead();
        let kept = self.notes.as_ref().map_or(u64::MAX, |notes| notes.kept);
        let expired = self.waiting.front().is_some_and(|front| front.has_expired(now));
        let ready = expired || self.waiting.front().is_some_and(|front| front.ready_at <= kept);
        let taken = if ready { self.pop() } else { None };
        let poll = match taken {
            Some(entry) if expired => Poll::Ready(Taken::Expired(entry)),
            Some(entry) => Poll::Ready(Taken::Message(entry)),
            None => {
                self.pump = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        (poll, journal)
    }

    /// Puts messages back that are to be sent again, in their order. They are older than all that wait.
    pub(crate) fn put_back(&mut self, entries: Vec<Entry>) -> Option<Waker> {
        // They were noted before they were sent.
        self.noted += if self.notes.is_some() { entries.len() } else { 0 };
        for entry in entries.into_iter().rev() {
            self.waiting.push_front(entry);
        }
        self.pump.take()
    }

    /// A message is done with: it counts no more.
    pub(crate) fn done(&mut self, entry: &Entry) -> Option<Waker> {
        self.load.messages -= 1;
        self.load.bytes -= entry.weight;
        let notes = self.notes.as_mut().filter(|_| entry.stored)?;
        notes.add(OutboxChange::Remove(entry.id))
    }

    /// Takes all that have expired.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Entry> {
        self.sift(|entry| entry.has_expired(now))
    }

    /// Takes all that wait and are not in the store, and the waiters of those that are.
    pub(crate) fn stop(&mut self) -> (Vec<Entry>, Vec<(MessageId, oneshot::Sender<Outcome>)>) {
        let gone = self.sift(|entry| !entry.stored);
        let told = |entry: &mut Entry| entry.waiter.take().map(|waiter| (entry.id, waiter));
        (gone, self.waiting.iter_mut().filter_map(told).collect())
    }

    pub(crate) const fn load(&self) -> Load {
        self.load
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.load.messages == 0
    }

    // ---- the journal ----

    /// What is to be kept now. `Ready(None)`: nothing, and nothing more will come.
    pub(crate) fn poll_changes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        let Some(notes) = &mut self.notes else { return Poll::Ready(None) };
        if notes.changes.is_empty() {
            if notes.closing {
                return Poll::Ready(None);
            }
            notes.journal = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(Batch { changes: std::mem::take(&mut notes.changes), last: notes.made }))
    }

    /// The changes up to the end of this batch are kept. Returns those who are to be told, besides the pump.
    pub(crate) fn kept(&mut self, batch: &Batch) -> (Vec<oneshot::Sender<()>>, Option<Waker>) {
        let Some(notes) = &mut self.notes else { return (Vec::new(), None) };
        notes.kept = batch.last;
        let mut told = notes.take_accepted(batch);
        if notes.sent <= notes.kept {
            told.append(&mut notes.awaiting_sent);
        }
        (told, self.pump.take())
    }

    /// The changes may not be kept. Returns the messages that were to be appended, which are out, and those who waited
    /// for them and are to be let go; the rest is to be kept later.
    pub(crate) fn not_kept(&mut self, batch: Batch) -> (Vec<Entry>, Vec<oneshot::Sender<()>>) {
        let waiting = self.notes.as_mut().map(|notes| notes.take_accepted(&batch)).unwrap_or_default();
        let mut refused = Vec::new();
        let mut changes = batch.changes;
        for change in &mut changes {
            let OutboxChange::Append(message) = change else { continue };
            let id = message.id;
            // Whatever has become of it, in the store it must not be.
            *change = OutboxChange::Remove(id);
            if let Some(mut entry) = self.take(id) {
                entry.stored = false;
                refused.push(entry);
            }
        }
        if let Some(notes) = &mut self.notes {
            changes.append(&mut notes.changes);
            notes.changes = changes;
        }
        (refused, waiting)
    }

    /// Lets the journal end when everything is kept, or go on.
    pub(crate) fn close_journal(&mut self, closing: bool) -> Option<Waker> {
        let notes = self.notes.as_mut()?;
        notes.closing = closing;
        notes.ended &= closing;
        notes.journal.take()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.notes.as_ref().is_some_and(|notes| notes.closing)
    }

    // ---- the session's store ----

    /// The session has these messages.
    pub(crate) fn note_sent(&mut self, ids: impl IntoIterator<Item = MessageId>) -> Option<Waker> {
        let notes = self.notes.as_mut()?;
        let mut waker = None;
        for id in ids {
            waker = notes.add(OutboxChange::Sent(id)).or(waker);
            notes.sent = notes.made;
        }
        waker
    }

    /// Told when the store knows of all messages that the session has; `None` if it does. Dropped if the journal ends
    /// before.
    pub(crate) fn when_noted(&mut self) -> Option<oneshot::Receiver<()>> {
        let notes = self.notes.as_mut().filter(|notes| notes.sent > notes.kept)?;
        let (sender, receiver) = oneshot::channel();
        if !notes.ended {
            notes.awaiting_sent.push(sender);
        }
        Some(receiver)
    }

    /// The journal has ended, with everything kept or without. Returns those who waited for what is not, to be let go.
    pub(crate) fn journal_ended(&mut self) -> Vec<oneshot::Sender<()>> {
        let Some(notes) = &mut self.notes else { return Vec::new() };
        notes.ended = true;
        std::mem::take(&mut notes.awaiting_sent)
    }

    // ---- within ----

    fn add(&mut self, entry: Entry) {
        self.load.messages += 1;
        self.load.bytes += entry.weight;
        self.waiting.push_back(entry);
    }

    /// Takes all of those that wait.
    fn sift(&mut self, mut goes: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let noted = self.noted;
        let mut gone = Vec::new();
        for (index, entry) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            if goes(&entry) {
                self.noted -= usize::from(index < noted);
                gone.push(entry);
            } else {
                self.waiting.push_back(entry);
            }
        }
        gone
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.waiting.pop_front()?;
        self.noted = self.noted.saturating_sub(1);
        Some(entry)
    }

    /// One message of any size has room in an empty outbox.
    const fn exceeds(&self, bytes: usize) -> bool {
        self.load.messages > 0
            && (self.load.messages + 1 > self.bounds.messages || self.load.bytes + bytes > self.bounds.bytes)
    }

    /// Notes of the next messages that they are about to be sent, some ahead, so that one change need not wait for the
    /// other: of QoS 0 that they are done with, because they may arrive once at most, of QoS 2 that they are in doubt.
    fn note_ahead(&mut self) -> Option<Waker> {
        let notes = self.notes.as_mut()?;
        let mut waker = None;
        while self.noted < NOTED_AHEAD
            && let Some(entry) = self.waiting.get_mut(self.noted)
        {
            self.noted += 1;
            let change = match entry.message.qos_level() {
                QoS::AtMostOnce if entry.stored => OutboxChange::Remove(entry.id),
                QoS::ExactlyOnce if !entry.in_doubt && !self.linked => OutboxChange::Sent(entry.id),
                _ => continue,
            };
            entry.stored = !matches!(change, OutboxChange::Remove(_));
            waker = notes.add(change).or(waker);
            entry.ready_at = notes.made;
        }
        waker
    }
}

impl Entry {
    /// The message as it is to be sent: its expiry counts from when it was published.
    pub(crate) fn to_send(&self, now: Instant) -> Message {
        let Some(deadline) = self.deadline else { return self.message.clone() };
        let left = deadline.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        self.message.clone().expiry(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Notes {
    fn add(&mut self, change: OutboxChange) -> Option<Waker> {
        self.changes.push(change);
        self.made += 1;
        self.journal.take()
    }

    /// Those who wait for the messages of a batch.
    fn take_accepted(&mut self, batch: &Batch) -> Vec<oneshot::Sender<()>> {
        let ready = self.accepted.partition_point(|(at, _)| *at <= batch.last);
        self.accepted.drain(..ready).map(|(_, sender)| sender).collect()
    }
}

/// How many messages are noted as about to be sent before their turn.
const NOTED_AHEAD: usize = 64;

#[cfg(test)]
mod tests;
