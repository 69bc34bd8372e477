//! What a stream of the managed client still belongs to: its filters, and whether it has ended.
//!
//! The stream itself is one of the lower client and outlives sessions; this is what ends it. Relates to: `desire.rs`, which
//! knows all members. Leaves out: the messages.

use std::task::{Context, Poll, Waker};

use gantline_protocol::{Message, TopicFilter};
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Membership {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Empty for a stream of everything.
    filters: Vec<TopicFilter>,
    /// It has lost a filter: the lower client still gives it the messages of that.
    lessened: bool,
    ended: bool,
    waker: Option<Waker>,
}

impl Membership {
    pub(crate) const fn new(filters: Vec<TopicFilter>) -> Self {
        Self { state: Mutex::new(State { filters, lessened: false, ended: false, waker: None }) }
    }

    /// Whether a message is one of this stream.
    pub(crate) fn wants(&self, message: &Message) -> bool {
        let state = self.state.lock();
        !state.lessened || state.filters.iter().any(|filter| filter.matches(message.topic().as_str()))
    }

    /// Whether the stream has ended. To be asked when there is no message.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.ended {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A filter is not wanted any more; with the last one the stream ends.
    pub(crate) fn withdraw(&self, filter: &TopicFilter) -> Option<Waker> {
        let mut state = self.state.lock();
        let before = state.filters.len();
        state.filters.retain(|held| held != filter);
        if state.filters.len() == before {
            return None;
        }
        state.lessened = true;
        state.ended |= state.filters.is_empty();
        state.waker.take().filter(|_| state.ended)
    }

    pub(crate) fn end(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.ended = true;
        state.waker.take()
    }

    /// The filters that it still has.
    pub(crate) fn take_filters(&self) -> Vec<TopicFilter> {
        std::mem::take(&mut self.state.lock().filters)
    }
}
