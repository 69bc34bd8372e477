//! Events: what happens to the connection, for whoever listens.
//!
//! Each [`Events`] is a bounded queue of its own, so that a listener that is slow, or gone, disturbs nobody. Leaves
//! out: messages, which are streams of their own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use gantline_protocol::{ConnAck, Message};
use parking_lot::Mutex;

use crate::error::{ConnectError, DisconnectCause};

/// Something that happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server accepted the connection.
    Connected(Arc<ConnectionInfo>),
    /// An attempt to connect failed. The handle may try again, from here too.
    ConnectFailed(ConnectError),
    /// A connection that was open has ended. The handle may connect again, from here too.
    Disconnected {
        /// Why.
        cause: DisconnectCause,
    },
    /// Messages were lost, because the application did not take them in time. Losses in a row are one event.
    MessagesDropped {
        /// The filters of the subscription; empty for [`Client::messages`](crate::Client::messages).
        filters: Arc<[String]>,
        /// How many.
        count: u64,
    },
    /// Messages came that no stream wants; they were acknowledged and dropped. Losses in a row are one event.
    MessagesUnclaimed {
        /// How many.
        count: u64,
    },
}

/// What the server granted.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The server's CONNACK.
    pub connack: ConnAck,
    /// How many messages of ours were in flight and will not be sent again, because the server no longer has the
    /// session, or takes no packets of their size, QoS or RETAIN any more. Of those whose waiter had not given up, the
    /// waiter was told when the connection was lost.
    pub lost: usize,
    /// Those of them that the server has not taken over as far as we know, in the order of sending: to publish them
    /// again, for one. After a restart with a [session store](crate::ConnectOptions::session_store) this is how the
    /// messages of the earlier process come to light that the server will not get. It may have got some, and only its
    /// acknowledgement is missing.
    pub undelivered: Vec<Message>,
}

impl ConnectionInfo {
    /// Whether the server still had the session: subscriptions live on and messages in flight are sent again.
    pub const fn session_present(&self) -> bool {
        self.connack.session_present
    }
}

/// A stream of [`Event`]s. Ends when the last handle of the client is gone.
///
/// It holds 256 events at most; the oldest give way. [`next`](Self::next) is cancel safe.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

impl Events {
    /// The next event; `None` when the client is gone.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.queue.poll(cx)).await
    }

    /// How many events gave way because this stream was not read.
    pub fn missed(&self) -> u64 {
        self.queue.state.lock().missed
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll(cx)
    }
}

/// Everybody who listens.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Weak<Queue>>>);

impl Listeners {
    pub(crate) fn listen(&self) -> Events {
        let queue = Arc::new(Queue::default());
        let mut listeners = self.0.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&queue));
        Events { queue }
    }

    /// Tells all. Not to be called under a lock, because it wakes.
    pub(crate) fn tell(&self, event: &Event) {
        self.each(|queue| queue.push(event.clone()));
    }

    /// No event will follow.
    pub(crate) fn end(&self) {
        self.each(Queue::end);
    }

    fn each(&self, act: impl Fn(&Queue) -> Option<Waker>) {
        let wakers: Vec<Waker> =
            self.0.lock().iter().filter_map(Weak::upgrade).filter_map(|queue| act(&queue)).collect();
        for waker in wakers {
            waker.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn push(&self, event: Event) -> Option<Waker> {
        let mut state = self.state.lock();
        if !state.events.back_mut().is_some_and(|last| last.absorb(&event)) {
            if state.events.len() == MOST_EVENTS {
                state.events.pop_front();
                state.missed += 1;
            }
            state.events.push_back(event);
        }
        state.waker.take()
    }

    fn end(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.ended = true;
        state.waker.take()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.state.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.ended => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Event {
    /// Takes a later event in, if the two are one to the listener: a flood of losses must not push out the rest.
    fn absorb(&mut self, later: &Self) -> bool {
        match (self, later) {
            (
                Self::MessagesDropped { filters, count },
                Self::MessagesDropped { filters: same, count: more },
            ) if filters == same => {
                *count += more;
                true
            }
            (Self::MessagesUnclaimed { count }, Self::MessagesUnclaimed { count: more }) => {
                *count += more;
                true
            }
            _ => false,
        }
    }
}

const MOST_EVENTS: usize = 256;

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::{DisconnectCause, Event, Events, Listeners, MOST_EVENTS};

    fn poll(events: &Events) -> Poll<Option<Event>> {
        events.queue.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn losses_in_a_row_are_one_event() {
        let listeners = Listeners::default();
        let events = listeners.listen();
        for _ in 0..3 {
            listeners.tell(&Event::MessagesUnclaimed { count: 2 });
        }
        assert!(matches!(poll(&events), Poll::Ready(Some(Event::MessagesUnclaimed { count: 6 }))));
        assert!(poll(&events).is_pending());
    }

    #[test]
    fn a_listener_that_does_not_listen_costs_a_bounded_queue() {
        let listeners = Listeners::default();
        let events = listeners.listen();
        for _ in 0..MOST_EVENTS + 5 {
            listeners.tell(&Event::Disconnected { cause: DisconnectCause::Requested });
        }
        assert_eq!(events.missed(), 5);
    }

    #[test]
    fn the_stream_ends_behind_its_last_event() {
        let listeners = Listeners::default();
        let events = listeners.listen();
        listeners.tell(&Event::Disconnected { cause: DisconnectCause::Requested });
        listeners.end();
        assert!(matches!(poll(&events), Poll::Ready(Some(Event::Disconnected { .. }))));
        assert!(matches!(poll(&events), Poll::Ready(None)));
    }
}
