//! The bounded queue between the driver and one stream of messages.
//!
//! The driver pushes and never waits; the stream takes. What happens at the bound is [`OnFull`]. A [`Gauge`] shared by
//! all inboxes of a client tells the driver whether it should stop reading. Relates to: `dispatch.rs`, which chooses the
//! inboxes of a message. Leaves out: sending acknowledgements; an inbox only says which receipts are due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use gantline_protocol::{Message, ReasonCode, Receipt};
use parking_lot::Mutex;

/// What a stream does with a message that exceeds its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// QoS 1 and 2 are kept, and their acknowledgements are held until the application takes them, which holds the sender
    /// back. Of QoS 0, which nobody can hold back, the oldest is dropped, counted and told as an event. The default.
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

/// The right to acknowledge a message once every stream that wants it has taken it.
#[derive(Debug)]
pub(crate) enum Ticket {
    /// QoS 0: nothing to acknowledge.
    Void,
    /// One stream wants the message.
    Sole(Receipt),
    /// Several do; the last one acknowledges.
    Joint(Arc<Joint>),
}

#[derive(Debug)]
pub(crate) struct Joint {
    receipt: Receipt,
    left: AtomicU32,
    /// The first error that one of them gave, else success.
    reason: AtomicU32,
}

impl Ticket {
    /// Tickets for so many streams.
    pub(crate) fn split(receipt: Option<Receipt>, streams: usize) -> impl Iterator<Item = Self> {
        let joint = receipt.filter(|_| streams > 1).map(|receipt| {
            let left = AtomicU32::new(u32::try_from(streams).unwrap_or(u32::MAX));
            Arc::new(Joint { receipt, left, reason: AtomicU32::new(ReasonCode::Success.value().into()) })
        });
        std::iter::repeat_with(move || match (&joint, receipt) {
            (Some(joint), _) => Self::Joint(Arc::clone(joint)),
            (None, Some(receipt)) => Self::Sole(receipt),
            (None, None) => Self::Void,
        })
        .take(streams)
    }

    pub(crate) const fn is_void(&self) -> bool {
        matches!(self, Self::Void)
    }

    /// The stream is done with the message; returns what is to be acknowledged now, if anything.
    pub(crate) fn settle(self, reason: ReasonCode) -> Option<(Receipt, ReasonCode)> {
        match self {
            Self::Void => None,
            Self::Sole(receipt) => Some((receipt, reason)),
            Self::Joint(joint) => joint.settle(reason),
        }
    }
}

impl Joint {
    fn settle(&self, reason: ReasonCode) -> Option<(Receipt, ReasonCode)> {
        let success = ReasonCode::Success.value().into();
        if reason.is_error() {
            // The first error stands; a failed exchange means that there is one already.
            let _ = self.reason.compare_exchange(
                success,
                reason.value().into(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        let reason = u8::try_from(self.reason.load(Ordering::Acquire)).ok().and_then(ReasonCode::from_u8);
        Some((self.receipt, reason.unwrap_or(ReasonCode::UnspecifiedError)))
    }
}

/// A message that waits in a stream.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) ticket: Ticket,
    /// Its bytes, as the bounds count them.
    weight: usize,
}

impl Item {
    pub(crate) fn new(message: Message, ticket: Ticket) -> Self {
        let weight = message.weight();
        Self { message, ticket, weight }
    }
}

/// How much waits in all streams of a client.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    held: AtomicUsize,
    over: AtomicUsize,
}

impl Gauge {
    /// Bytes in all streams.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether a stream is above its bounds.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) > 0
    }
}

/// What a push led to, besides the receipts that it released.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
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
    items: VecDeque<Item>,
    bytes: usize,
    /// Items of QoS 0.
    void: usize,
    over: bool,
    /// The connection is lost and its session is not: until the next connection tells whether the server sends them
    /// again, messages of QoS 1 and 2 stay here. Otherwise a message of QoS 2 could reach the application twice.
    frozen: bool,
    ended: bool,
    dropped: u64,
    waker: Option<Waker>,
}

impl Inbox {
    pub(crate) fn new(bounds: StreamBounds, on_full: OnFull, gauge: Arc<Gauge>) -> Self {
        Self { state: Mutex::default(), gauge, bounds, on_full }
    }

    /// Adds a message. Receipts of what had to give way are appended to `released`.
    pub(crate) fn push(&self, item: Item, released: &mut Vec<(Receipt, ReasonCode)>) -> Pushed {
        let mut pushed = Pushed::default();
        let mut state = self.state.lock();
        if state.ended {
            released.extend(item.ticket.settle(ReasonCode::Success));
            return pushed;
        }
        while self.exceeds(&state, 1, item.weight) {
            let Some(victim) = self.victim(&mut state) else {
                if item.ticket.is_void() {
                    // There is no older one of QoS 0.
                    pushed.dropped += 1;
                    state.dropped += pushed.dropped;
                    return pushed;
                }
                break;
            };
            pushed.dropped += 1;
            released.extend(victim.ticket.settle(ReasonCode::Success));
        }
        state.dropped += pushed.dropped;
        self.add(&mut state, item);
        pushed.waker = state.waker.take();
        pushed
    }

    /// Takes the next message; `Ready(None)` if none will come any more. The flag says that the driver may read again.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<(Item, bool)>> {
        let mut state = self.state.lock();
        let was_over = state.over;
        let index = if state.frozen {
            state.items.iter().position(|item| item.ticket.is_void())
        } else {
            (!state.items.is_empty()).then_some(0)
        };
        match index.and_then(|index| self.remove(&mut state, index)) {
            Some(item) => Poll::Ready(Some((item, was_over && !state.over))),
            None if state.ended => Poll::Ready(None),
            None => {
                if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// No message will be added; what waits can still be taken.
    #[must_use = "the waker is to be woken outside all locks"]
    pub(crate) fn end(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.ended = true;
        state.frozen = false;
        state.waker.take()
    }

    /// The stream is gone: returns the receipts of what it did not take.
    pub(crate) fn abandon(&self) -> Vec<(Receipt, ReasonCode)> {
        let mut state = self.state.lock();
        state.ended = true;
        let mut released = Vec::new();
        while let Some(item) = self.remove(&mut state, 0) {
            released.extend(item.ticket.settle(ReasonCode::Success));
        }
        released
    }

    /// The connection is lost and the server may send again what was not acknowledged.
    pub(crate) fn freeze(&self) {
        let mut state = self.state.lock();
        state.frozen = !state.ended;
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
            for item in std::mem::take(&mut state.items) {
                self.gauge.held.fetch_sub(item.weight, Ordering::Relaxed);
                state.bytes -= item.weight;
                if item.ticket.is_void() {
                    state.void -= 1;
                    self.add(&mut state, item);
                }
            }
            self.weigh(&mut state);
        }
        state.waker.take()
    }

    /// How many messages were dropped at the bound.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// The message that gives way to a new one, if one does.
    fn victim(&self, state: &mut State) -> Option<Item> {
        let index = match self.on_full {
            OnFull::DropOldest => 0,
            OnFull::HoldAcks if state.void == 0 => return None,
            OnFull::HoldAcks => state.items.iter().position(|item| item.ticket.is_void())?,
        };
        self.remove(state, index)
    }

    fn add(&self, state: &mut State, item: Item) {
        state.bytes += item.weight;
        state.void += usize::from(item.ticket.is_void());
        self.gauge.held.fetch_add(item.weight, Ordering::Relaxed);
        state.items.push_back(item);
        self.weigh(state);
    }

    fn remove(&self, state: &mut State, index: usize) -> Option<Item> {
        let item = state.items.remove(index)?;
        state.bytes -= item.weight;
        state.void -= usize::from(item.ticket.is_void());
        self.gauge.held.fetch_sub(item.weight, Ordering::Relaxed);
        self.weigh(state);
        Some(item)
    }

    fn exceeds(&self, state: &State, messages: usize, bytes: usize) -> bool {
        !state.items.is_empty()
            && (state.items.len() + messages > self.bounds.messages
                || state.bytes + bytes > self.bounds.bytes)
    }

    /// Tells the gauge when the bounds are crossed. One message alone is never too much.
    fn weigh(&self, state: &mut State) {
        let over = state.items.len() > 1 && self.exceeds(state, 0, 0);
        if over != state.over {
            state.over = over;
            if over {
                self.gauge.over.fetch_add(1, Ordering::AcqRel);
            } else {
                self.gauge.over.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Whoever still held it, the gauge must not count it any more.
        self.abandon();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use gantline_protocol::Message;

    use super::{Gauge, Inbox, Item, OnFull, StreamBounds, Ticket};

    fn item(payload: &str) -> Item {
        Item::new(Message::new("t", payload.to_owned()).unwrap(), Ticket::Void)
    }

    fn take(inbox: &Inbox) -> Option<String> {
        match inbox.poll_take(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some((item, _))) => Some(item.message.payload_str().unwrap().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn the_oldest_message_of_qos_0_gives_way() {
        let gauge = Arc::new(Gauge::default());
        let bounds = StreamBounds { messages: 2, ..StreamBounds::default() };
        let inbox = Inbox::new(bounds, OnFull::HoldAcks, Arc::clone(&gauge));
        let dropped: u64 =
            ["1", "2", "3"].map(|text| inbox.push(item(text), &mut Vec::new()).dropped).iter().sum();
        assert_eq!((dropped, inbox.dropped()), (1, 1));
        assert_eq!([take(&inbox), take(&inbox), take(&inbox)], [Some("2".into()), Some("3".into()), None]);
        assert_eq!(gauge.held(), 0);
    }

    #[test]
    fn an_empty_stream_takes_one_message_of_any_size() {
        let gauge = Arc::new(Gauge::default());
        let bounds = StreamBounds { messages: 10, bytes: 4 };
        let inbox = Inbox::new(bounds, OnFull::DropOldest, Arc::clone(&gauge));
        assert_eq!(inbox.push(item("much too long"), &mut Vec::new()).dropped, 0);
        assert!(!gauge.is_over());
        assert_eq!(take(&inbox).as_deref(), Some("much too long"));
    }

    #[test]
    fn an_ended_stream_hands_out_what_it_has() {
        let inbox = Inbox::new(StreamBounds::default(), OnFull::HoldAcks, Arc::default());
        inbox.push(item("last"), &mut Vec::new());
        assert!(inbox.end().is_none());
        assert_eq!(take(&inbox).as_deref(), Some("last"));
        let end = inbox.poll_take(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(end, Poll::Ready(None)));
    }
}
