//! The bounded queue between the driver and one stream of messages.
//!
//! The driver fills and never waits under a lock; the stream takes. A stream that is more than half full *presses*: the
//! driver then leaves the socket unread and lets the application take, so that a burst loses nothing. It does not wait
//! for ever (`driver.rs` says how long): then the stream is one that is *not waited for*, until it has been taken from
//! again, and what exceeds its bounds is for [`OnFull`]. A [`Gauge`] shared by all inboxes of a client tells the driver
//! how things stand.
//!
//! A stream fetches messages of QoS 0 together, so that it does not have to lock for each. Those of QoS 1 and 2 it
//! fetches one by one, because the end of a connection may take them back. What was fetched counts as waiting until the
//! stream comes again.
//!
//! The receipts of what was taken lie here, under the same lock, until the driver collects them; it hears of the first.
//!
//! Relates to: `dispatch.rs`, which chooses the inboxes of a message. Leaves out: sending acknowledgements; an inbox
//! only says which receipts are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use gantline_protocol::{Message, ReasonCode, Receipt};
use parking_lot::{Mutex, MutexGuard};

use crate::items::{Item, Items};

/// What a stream does with a message that exceeds its bounds.
///
/// It does not come to that as long as the application takes: while a stream is more than half full and something in it
/// could be dropped, the client leaves its socket unread, until a quarter is left. A stream that the application does
/// not take from in time is waited for no longer than 1 s, or 50 ms while something of ours waits for the server, and
/// again only when no more than a quarter is left. Meanwhile 64 messages, or the one with which their payloads reach 64
/// KiB, may exceed the bounds. What a stream has fetched, a sixteenth of its bounds, is not dropped any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// QoS 1 and 2 are kept, and their acknowledgements are held until the application takes them, which holds the
    /// sender back. Of QoS 0, which has no acknowledgements, the oldest is dropped, counted and told as an event. The
    /// default.
    #[default]
    HoldAcks,
    /// The oldest message is acknowledged, dropped, counted and told as an event.
    DropOldest,
}

/// The bounds of a stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamBounds {
    /// Messages that may wait. Default 1,024. A stream always takes one.
    pub(crate) messages: usize,
    /// Bytes of topics, payloads and properties that may wait. Default 4 MiB.
    pub(crate) bytes: usize,
}

impl Default for StreamBounds {
    fn default() -> Self {
        Self { messages: 1024, bytes: 4 << 20 }
    }
}

/// How the streams of a client stand to their bounds.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    over: AtomicUsize,
    pressing: AtomicUsize,
}

impl Gauge {
    /// Whether a stream is above its bounds.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) > 0
    }

    /// Whether a stream that is waited for is more than half full.
    pub(crate) fn is_pressing(&self) -> bool {
        self.pressing.load(Ordering::Acquire) > 0
    }
}

/// What filling an inbox led to, besides the receipts that it released.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    pub(crate) waker: Option<Waker>,
    pub(crate) dropped: u64,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    gauge: Arc<Gauge>,
    bounds: StreamBounds,
    on_full: OnFull,
}

#[derive(Debug, Default)]
struct State {
    items: Items,
    bytes: usize,
    /// Receipts of what the stream took, which the driver has not collected.
    settled: Vec<(Receipt, ReasonCode)>,
    /// What the stream fetched when it was here last, and the bytes of that: it counts until the stream comes again.
    fetched: usize,
    fetched_bytes: usize,
    /// Items of QoS 0.
    void: usize,
    over: bool,
    pressure: Pressure,
    /// The connection is lost and its session is not: until the next connection tells whether the server sends them
    /// again, messages of QoS 1 and 2 stay here. Otherwise a message of QoS 2 could reach the application twice.
    frozen: bool,
    ended: bool,
    dropped: u64,
    waker: Option<Waker>,
}

/// Whether the driver leaves the socket unread because of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pressure {
    #[default]
    Low,
    /// It does: more than half is full, and some of that can be dropped.
    High,
    /// It did for as long as it may. From now on the bounds are kept by dropping.
    NotWaitedFor,
}

impl Inbox {
    pub(crate) fn new(bounds: StreamBounds, on_full: OnFull, gauge: Arc<Gauge>) -> Self {
        Self { state: Mutex::default(), gauge, bounds, on_full }
    }

    /// Opens the inbox for messages that come together. To be closed with [`Filling::finish`].
    pub(crate) fn fill(&self) -> Filling<'_> {
        Filling { inbox: self, state: self.state.lock(), dropped: 0 }
    }

    /// Moves the next message to `batch`, which is empty; `Ready(None)` if none will come any more. Of QoS 0 those right
    /// behind come along and count here until the next call. What `acknowledges` takes leaves its receipt, before the end
    /// of the connection can [keep](Self::keep) what waits. The flag says that the driver has to be told: it may read
    /// again, or has receipts to [collect](Self::collect).
    pub(crate) fn poll_fetch(
        &self,
        batch: &mut Items,
        acknowledges: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<bool>> {
        let state = &mut *self.state.lock();
        (state.fetched, state.fetched_bytes) = (0, 0);
        let mut tells = false;
        let found = match state.items.front() {
            Some(first) if first.ticket.is_void() => {
                self.fetch(state, batch);
                true
            }
            Some(_) if state.frozen => state.remove_void().map(|item| batch.push_back(item)).is_some(),
            Some(_) => {
                let is_first = state.settled.is_empty();
                tells = state.move_front(batch, acknowledges) && is_first;
                true
            }
            None => false,
        };
        if found {
            // Taking does not press.
            if state.over || state.pressure != Pressure::Low {
                tells |= self.weigh(state);
            }
            return Poll::Ready(Some(tells));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        self.weigh(state);
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Moves the receipts of what was taken to `released`.
    pub(crate) fn collect(&self, released: &mut Vec<(Receipt, ReasonCode)>) {
        released.append(&mut self.state.lock().settled);
    }

    /// Forgets the receipts of earlier connections, so that the driver of the next one hears of the first of its own.
    pub(crate) fn forget_settled(&self) {
        self.state.lock().settled.clear();
    }

    /// Moves the first message, which is of QoS 0, to `batch`, and those behind it that nothing can take back from the
    /// stream any more, the end of a connection neither.
    fn fetch(&self, state: &mut State, batch: &mut Items) {
        let StreamBounds { messages, bytes } = self.bounds;
        let (most, most_bytes) = (messages / FETCHED_SHARE, bytes / FETCHED_SHARE);
        let (waiting, first) = (state.items.len(), state.items.front().map_or(0, |item| item.weight));
        let (mut behind, mut weight) = (0, 0);
        if waiting == state.void && waiting <= most + 1 && state.bytes - first <= most_bytes {
            (behind, weight) = (waiting - 1, state.bytes - first);
            std::mem::swap(&mut state.items, batch);
        } else {
            for item in state.items.iter().skip(1).take(most) {
                if !item.ticket.is_void() || weight + item.weight > most_bytes {
                    break;
                }
                behind += 1;
                weight += item.weight;
            }
            state.items.move_front(1 + behind, batch);
        }
        (state.fetched, state.fetched_bytes) = (behind, weight);
        state.void -= 1 + behind;
        state.bytes -= first + weight;
    }

    /// If the driver waits for this stream, it does so no longer: what exceeds the bounds is dropped, and whatever will
    /// until the stream has been taken from. Receipts of what was dropped are appended to `released`; returns how many
    /// messages that were.
    pub(crate) fn stop_waiting(&self, released: &mut Vec<(Receipt, ReasonCode)>) -> u64 {
        let mut state = self.state.lock();
        if state.pressure != Pressure::High {
            return 0;
        }
        self.press(&mut state, Pressure::NotWaitedFor);
        let before = state.dropped;
        while state.items.len() > 1
            && self.exceeds(&state, 0, 0)
            && let Some(victim) = self.victim(&mut state)
        {
            state.dropped += 1;
            released.extend(victim.ticket.settle(ReasonCode::Success));
        }
        self.weigh(&mut state);
        state.dropped - before
    }

    /// No message will be added; what waits can still be taken.
    #[must_use = "the waker is to be woken outside all locks"]
    pub(crate) fn end(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.ended = true;
        state.frozen = false;
        self.press(&mut state, Pressure::NotWaitedFor);
        state.waker.take()
    }

    /// The stream is gone. `note` gets all receipts, those of what it did not take too, while the stream cannot be
    /// frozen, as in [`poll_take`](Self::poll_take).
    pub(crate) fn abandon<T>(&self, note: impl FnOnce(Vec<(Receipt, ReasonCode)>) -> T) -> T {
        let mut state = self.state.lock();
        state.ended = true;
        let mut items = std::mem::take(&mut state.items);
        (state.bytes, state.void) = (0, 0);
        (state.fetched, state.fetched_bytes) = (0, 0);
        self.weigh(&mut state);
        let mut receipts = std::mem::take(&mut state.settled);
        let settle = |Item { message, ticket, .. }| {
            receipts.extend(ticket.settle(ReasonCode::Success));
            message
        };
        // They are dropped behind the lock: there may be user code in that.
        let _messages: Vec<Message> = items.drain().map(settle).collect();
        let noted = note(receipts);
        drop(state);
        noted
    }

    /// The connection is lost and the server may send again what was not acknowledged.
    pub(crate) fn freeze(&self) {
        let mut state = self.state.lock();
        state.frozen = !state.ended;
    }

    /// All streams are frozen: collects, and keeps what others have taken, see [`Ticket::keep`].
    pub(crate) fn keep(&self, released: &mut Vec<(Receipt, ReasonCode)>) {
        let mut state = self.state.lock();
        released.append(&mut state.settled);
        let kept = state.items.iter().filter_map(|item| item.ticket.keep());
        released.extend(kept.map(|receipt| (receipt, ReasonCode::Success)));
    }

    /// The next connection is there. With `resent`, the server sends again what was not acknowledged.
    #[must_use = "the waker is to be woken outside all locks"]
    pub(crate) fn thaw(&self, resent: bool) -> Option<Waker> {
        let mut state = self.state.lock();
        if !state.frozen {
            return None;
        }
        state.frozen = false;
        if resent {
            let mut items = std::mem::take(&mut state.items);
            (state.bytes, state.void) = (0, 0);
            items.drain().filter(|item| item.ticket.is_kept()).for_each(|item| state.add(item));
            self.weigh(&mut state);
        }
        state.waker.take()
    }

    /// How many messages were dropped at the bound.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Bytes that wait.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().load().1
    }

    /// The message that gives way to a new one, if one does.
    fn victim(&self, state: &mut State) -> Option<Item> {
        match self.on_full {
            OnFull::DropOldest => state.remove_front(),
            OnFull::HoldAcks => state.remove_void(),
        }
    }

    fn exceeds(&self, state: &State, messages: usize, bytes: usize) -> bool {
        let (waiting, waiting_bytes) = state.load();
        !state.items.is_empty()
            && (waiting + messages > self.bounds.messages || waiting_bytes + bytes > self.bounds.bytes)
    }

    /// Tells the gauge how the stream stands to its bounds. Returns whether the driver may read again because of that.
    #[inline]
    fn weigh(&self, state: &mut State) -> bool {
        let (messages, bytes) = state.load();
        let StreamBounds { messages: most, bytes: most_bytes } = self.bounds;
        // One message alone is never too much.
        let over = messages > 1 && (messages > most || bytes > most_bytes);
        let is_low = messages <= most / 4 && bytes <= most_bytes / 4;
        let freed = (state.over && !over) || (is_low && state.pressure == Pressure::High);
        if over != state.over {
            state.over = over;
            change(&self.gauge.over, over);
        }
        let droppable = match self.on_full {
            OnFull::HoldAcks => state.void,
            OnFull::DropOldest => state.items.len(),
        };
        if state.pressure == Pressure::Low {
            if droppable > 0 && (messages > most / 2 || bytes > most_bytes / 2) {
                self.press(state, Pressure::High);
            }
        } else if is_low {
            self.press(state, Pressure::Low);
        }
        freed
    }

    fn press(&self, state: &mut State, pressure: Pressure) {
        let (before, now) = (state.pressure == Pressure::High, pressure == Pressure::High);
        state.pressure = pressure;
        if before != now {
            change(&self.gauge.pressing, now);
        }
    }
}

impl State {
    /// Messages and bytes, as the bounds count them.
    fn load(&self) -> (usize, usize) {
        (self.items.len() + self.fetched, self.bytes + self.fetched_bytes)
    }

    /// Moves the first message, which is of QoS 1 or 2, to `batch`, and says whether it left a receipt.
    fn move_front(&mut self, batch: &mut Items, acknowledges: bool) -> bool {
        let Some(item) = self.items.front_mut() else { return false };
        self.bytes -= item.weight;
        let receipt = if acknowledges { item.ticket.settle_in_place() } else { None };
        self.settled.extend(receipt);
        self.items.move_front(1, batch);
        receipt.is_some()
    }

    fn add(&mut self, item: Item) {
        self.bytes += item.weight;
        self.void += usize::from(item.ticket.is_void());
        self.items.push_back(item);
    }

    #[inline]
    fn remove_front(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.weight;
        self.void -= usize::from(item.ticket.is_void());
        Some(item)
    }

    /// Removes the oldest item of QoS 0.
    fn remove_void(&mut self) -> Option<Item> {
        if self.void == 0 {
            return None;
        }
        let index = self.items.iter().position(|item| item.ticket.is_void())?;
        let item = self.items.remove(index)?;
        self.bytes -= item.weight;
        self.void -= usize::from(item.ticket.is_void());
        Some(item)
    }
}

/// Counts one stream more, or one less.
fn change(count: &AtomicUsize, more: bool) {
    if more {
        count.fetch_add(1, Ordering::AcqRel);
    } else {
        count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Whoever still held it, the gauge must not count it any more.
        self.abandon(drop);
    }
}

/// An inbox that is open: its lock is held, so that a run of messages costs it once.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    inbox: &'a Inbox,
    state: MutexGuard<'a, State>,
    dropped: u64,
}

impl Filling<'_> {
    /// Adds the first `count` of these messages. Receipts of what had to give way are appended to `released`.
    pub(crate) fn push_some(
        &mut self,
        arrived: &mut Items,
        count: usize,
        released: &mut Vec<(Receipt, ReasonCode)>,
    ) {
        let state = &mut *self.state;
        if count < arrived.len() || state.ended || state.pressure == Pressure::NotWaitedFor {
            return arrived.drain().take(count).for_each(|item| self.push(item, released));
        }
        for item in arrived.iter() {
            state.bytes += item.weight;
            state.void += usize::from(item.ticket.is_void());
        }
        arrived.move_front(count, &mut state.items);
    }

    /// Adds a message. While the stream is waited for, the bounds do not count: the driver stops soon.
    pub(crate) fn push(&mut self, item: Item, released: &mut Vec<(Receipt, ReasonCode)>) {
        if self.state.ended {
            released.extend(item.ticket.settle(ReasonCode::Success));
        } else if self.state.pressure != Pressure::NotWaitedFor || self.make_room(&item, released) {
            self.state.add(item);
        }
    }

    /// Drops what has to give way; false if that is the new message itself.
    fn make_room(&mut self, item: &Item, released: &mut Vec<(Receipt, ReasonCode)>) -> bool {
        while self.inbox.exceeds(&self.state, 1, item.weight) {
            let Some(victim) = self.inbox.victim(&mut self.state) else {
                // Of QoS 0 there is no older one; the others must be kept.
                self.dropped += u64::from(item.ticket.is_void());
                return !item.ticket.is_void();
            };
            self.dropped += 1;
            released.extend(victim.ticket.settle(ReasonCode::Success));
        }
        true
    }

    /// Closes the inbox.
    #[must_use = "the waker is to be woken outside all locks"]
    pub(crate) fn finish(mut self) -> Filled {
        self.state.dropped += self.dropped;
        self.inbox.weigh(&mut self.state);
        // A stream that was not filled has nothing to wake for, but a waker too many does no harm.
        Filled { waker: self.state.waker.take(), dropped: self.dropped }
    }
}

/// What a stream fetches at once: a sixteenth of its bounds.
const FETCHED_SHARE: usize = 16;

#[cfg(test)]
mod tests;
