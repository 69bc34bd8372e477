//! The calls that are under way, and which of them an answer belongs to.
//!
//! One table under one short lock: a slab, in which correlation data find their call by its place, and beside it a map
//! from the topics of answers that come without. A call leaves the table when its future ends, however it does, so a
//! second answer and one that comes late find nothing. Leaves out: sending and receiving.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use foldhash::fast::RandomState;
use gantline_protocol::{Message, TopicName};
use parking_lot::Mutex;
use slab::Slab;

use crate::call_id::CallId;
use crate::error::CallError;
use crate::reply;

/// What becomes of a call.
type Outcome = Result<Message, CallError>;

/// All calls of one caller.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    stray: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    slots: Slab<Slot>,
    by_topic: HashMap<TopicName, u32, RandomState>,
}

#[derive(Debug)]
struct Slot {
    id: CallId,
    /// The number of the kept inbox that the answer comes through.
    inbox: Option<u32>,
    /// How many connections were lost before it began.
    losses: u64,
    expected: Option<Expected>,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// By what the answer is known, besides correlation data.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// By this topic, which no other call has.
    Topic(TopicName),
    /// By nothing, but it has this topic.
    Nothing(TopicName),
}

/// A place in the table, given back on drop.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    calls: &'a Calls,
    id: CallId,
}

impl Calls {
    /// Registers a call, whose answer will come through the inbox of this number if it is a kept one. So many
    /// connections were lost before it.
    pub(crate) fn begin(&self, inbox: Option<u32>, losses: u64) -> Call<'_> {
        let mut table = self.table.lock();
        let entry = table.slots.vacant_entry();
        // The caller bounds its calls far below this.
        let id = CallId::at(u32::try_from(entry.key()).unwrap_or(u32::MAX));
        entry.insert(Slot { id, inbox, losses, expected: None, outcome: None, waker: None });
        Call { calls: self, id }
    }

    /// A message came that may be an answer.
    pub(crate) fn answer(&self, message: Message) {
        if message.is_retained() {
            // As old as can be.
            self.count_stray();
            return;
        }
        let failure = reply::failure(&message);
        let mut table = self.table.lock();
        let place = match &message.properties().correlation_data {
            Some(data) => CallId::from_correlation(data).filter(|id| table.knows(*id)).map(|id| id.place()),
            None => table.by_topic.get(message.topic()).copied(),
        };
        let slot = place.and_then(|place| table.slots.get_mut(place as usize));
        let Some(slot) = slot.filter(|slot| slot.outcome.is_none()) else {
            drop(table);
            return self.unclaimed(&message, place);
        };
        slot.outcome = Some(failure.map_or(Ok(message), |failure| Err(CallError::Failed(failure))));
        let waker = slot.waker.take();
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Fails the calls whose answer would come through this inbox.
    pub(crate) fn fail_inbox(&self, inbox: u32, error: &CallError) {
        self.fail(|slot| slot.inbox == Some(inbox), error);
    }

    /// Fails the calls that began before the loss of this number.
    pub(crate) fn fail_before(&self, loss: u64, error: &CallError) {
        self.fail(|slot| slot.losses < loss, error);
    }

    /// How many calls there are.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().slots.len()
    }

    /// How many messages came that no call waited for.
    pub(crate) fn stray(&self) -> u64 {
        self.stray.load(Ordering::Relaxed)
    }

    /// No call waits for this message, unless the responder forgot to say for which one it is.
    fn unclaimed(&self, message: &Message, place: Option<u32>) {
        self.count_stray();
        if place.is_none() && message.properties().correlation_data.is_none() {
            let topic = message.topic();
            let may_be = |slot: &Slot| matches!(&slot.expected, Some(Expected::Nothing(own)) if own == topic);
            self.fail(may_be, &CallError::Uncorrelated);
        }
    }

    fn count_stray(&self) {
        self.stray.fetch_add(1, Ordering::Relaxed);
    }

    fn fail(&self, concerns: impl Fn(&Slot) -> bool, error: &CallError) {
        let mut wakers = Vec::new();
        let mut table = self.table.lock();
        for (_, slot) in &mut table.slots {
            if slot.outcome.is_none() && concerns(slot) {
                slot.outcome = Some(Err(error.clone()));
                wakers.extend(slot.waker.take());
            }
        }
        drop(table);
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Table {
    fn knows(&self, id: CallId) -> bool {
        self.slots.get(id.place() as usize).is_some_and(|slot| slot.id == id)
    }
}

impl Call<'_> {
    /// Its name.
    pub(crate) const fn id(&self) -> CallId {
        self.id
    }

    /// Says what answer it waits for. To be called before the request is sent.
    pub(crate) fn expect(&self, expected: Expected) {
        let place = self.id.place();
        let mut table = self.calls.table.lock();
        if let Expected::Topic(topic) = &expected {
            table.by_topic.insert(topic.clone(), place);
        }
        if let Some(slot) = table.slots.get_mut(place as usize) {
            slot.expected = Some(expected);
        }
    }

    /// The outcome, once.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut table = self.calls.table.lock();
        let Some(slot) = table.slots.get_mut(self.id.place() as usize) else { return Poll::Pending };
        if let Some(outcome) = slot.outcome.take() {
            return Poll::Ready(outcome);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let place = self.id.place();
        let mut table = self.calls.table.lock();
        let slot = table.slots.try_remove(place as usize);
        if let Some(Expected::Topic(topic)) = slot.as_ref().and_then(|slot| slot.expected.as_ref())
            // A scheme that gives two calls one topic has given it to the later one.
            && table.by_topic.get(topic) == Some(&place)
        {
            table.by_topic.remove(topic);
        }
        drop(table);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use gantline_protocol::{Message, TopicName};

    use super::{Call, CallError, Calls, Expected, Outcome};
    use crate::error::Failure;

    fn poll(call: &Call<'_>) -> Option<Outcome> {
        match call.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn topic(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    fn answer(text: &str) -> Message {
        Message::new(text, "").unwrap()
    }

    #[test]
    fn an_answer_finds_its_call_by_correlation_data_or_by_topic() {
        let calls = Calls::default();
        let (first, second) = (calls.begin(None, 0), calls.begin(None, 0));
        first.expect(Expected::Topic(topic("first")));
        second.expect(Expected::Topic(topic("second")));
        calls.answer(answer("second"));
        assert!(poll(&first).is_none());
        assert!(poll(&second).is_some_and(|outcome| outcome.is_ok()));
        calls.answer(answer("wherever").correlation_data(first.id().to_correlation()));
        assert!(poll(&first).is_some_and(|outcome| outcome.is_ok()));
        assert_eq!(calls.stray(), 0);
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_call_at_its_place() {
        let calls = Calls::default();
        let gone = calls.begin(None, 0);
        gone.expect(Expected::Topic(topic("gone")));
        let late = gone.id().to_correlation();
        drop(gone);
        let next = calls.begin(None, 0);
        next.expect(Expected::Topic(topic("next")));
        calls.answer(answer("gone"));
        calls.answer(answer("gone").correlation_data(late));
        calls.answer(answer("next").correlation_data("of somebody else"));
        assert!(poll(&next).is_none());
        assert_eq!((calls.stray(), calls.len()), (3, 1));
        assert!(calls.table.lock().by_topic.len() == 1);
    }

    #[test]
    fn the_first_answer_counts() {
        let calls = Calls::default();
        let call = calls.begin(None, 0);
        call.expect(Expected::Topic(topic("t")));
        calls.answer(Message::new("t", "1").unwrap());
        calls.answer(Message::new("t", "2").unwrap());
        assert_eq!(poll(&call).unwrap().unwrap().payload_str(), Ok("1"));
        assert_eq!(calls.stray(), 1);
    }

    #[test]
    fn an_answer_that_names_no_call_fails_those_it_may_be_for() {
        let calls = Calls::default();
        let (this, other) = (calls.begin(None, 0), calls.begin(None, 0));
        this.expect(Expected::Nothing(topic("this")));
        other.expect(Expected::Nothing(topic("other")));
        calls.answer(answer("this"));
        assert!(matches!(poll(&this), Some(Err(CallError::Uncorrelated))));
        assert!(poll(&other).is_none());
    }

    #[test]
    fn what_was_retained_is_no_answer() {
        let calls = Calls::default();
        let call = calls.begin(None, 0);
        call.expect(Expected::Topic(topic("t")));
        calls.answer(answer("t").retain(true));
        assert!(poll(&call).is_none());
        assert_eq!(calls.stray(), 1);
    }

    #[test]
    fn two_calls_with_one_topic_leave_nothing_behind() {
        let calls = Calls::default();
        let (first, second) = (calls.begin(None, 0), calls.begin(None, 0));
        first.expect(Expected::Topic(topic("t")));
        second.expect(Expected::Topic(topic("t")));
        drop(first);
        calls.answer(answer("t"));
        assert!(poll(&second).is_some());
        drop(second);
        assert!(calls.table.lock().by_topic.is_empty());
    }

    #[test]
    fn an_inbox_fails_its_calls_only() {
        let calls = Calls::default();
        let (this, other) = (calls.begin(Some(1), 0), calls.begin(Some(2), 0));
        calls.fail_inbox(1, &CallError::InboxClosed);
        assert!(matches!(poll(&this), Some(Err(CallError::InboxClosed))));
        assert!(poll(&other).is_none());
    }

    #[test]
    fn a_marked_answer_is_a_failure() {
        let calls = Calls::default();
        let call = calls.begin(None, 0);
        call.expect(Expected::Topic(topic("t")));
        calls.answer(Message::new("t", "no").unwrap().user_property("rpc-error", "busy"));
        let Some(Err(CallError::Failed(failure))) = poll(&call) else { panic!() };
        assert_eq!(failure, Failure::new("busy", "no"));
    }
}
