//! Subscribing from within: the application as a subscriber, without client and socket.
//!
//! Relates to: [`RunningServer::subscribe`](crate::RunningServer::subscribe), which makes a [`LocalSubscription`]; the
//! mailbox, which bounds what waits for it as for any client. Leaves out: acknowledgements; what is taken is delivered.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use gantline_protocol::{
    ClientId, MAXIMUM_PACKET_SIZE, Message, Moment, Outbound, QoS, SubscriptionOptions, TopicFilter,
};
use gantline_transport::{Clock, Late, Taken, Want};

use crate::broker::Broker;
use crate::broker::retained::Page;
use crate::broker::slot::{ClientSlot, Order, Profile};

/// The messages of a subscription of the application itself: first what the server keeps, then what is published.
///
/// What waits is bounded as for a client; beyond the bound messages are dropped and [counted](Self::dropped). Dropping
/// it unsubscribes; what it has not taken of a share group goes to the other members.
pub struct LocalSubscription {
    broker: Arc<Broker>,
    clock: Clock,
    slot: Arc<ClientSlot>,
    filter: TopicFilter,
    qos: QoS,
    replay: Option<Position>,
    ready: VecDeque<Outbound>,
    ended: bool,
}

/// How far the replay of retained messages has come.
enum Position {
    Start,
    After(String),
}

impl LocalSubscription {
    pub(crate) fn new(broker: &Arc<Broker>, clock: Clock, filter: TopicFilter, qos: QoS) -> Self {
        // The slot is in no table, so its id may be that of a client.
        let slot = Arc::new(broker.new_slot(ClientId::from_random(0)));
        slot.mailbox.open(broker.options.connected_limits(), EPOCH);
        slot.set_profile(Profile {
            epoch: EPOCH,
            max_packet: MAXIMUM_PACKET_SIZE,
            connected: true,
            has_properties: true,
            works: true,
        });
        broker.add_local(&slot);
        broker.subscribe(&slot, &filter, SubscriptionOptions::default().maximum_qos(qos), None);
        let replay = (!filter.is_shared()).then_some(Position::Start);
        Self {
            broker: Arc::clone(broker),
            clock,
            slot,
            filter,
            qos,
            replay,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// The server has stopped: what is there already may still be taken.
    pub(crate) const fn end(&mut self) {
        self.ended = true;
    }

    /// The next message; `None` when the server has stopped. Cancel safe: a message is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The filter.
    pub const fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// How many messages were dropped because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.slot.dropped()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let now = self.clock.now();
        loop {
            if let Some(message) = self.ready.pop_front() {
                if message.is_expired(now) {
                    self.broker.counters.expired.add(1);
                    continue;
                }
                let remaining = message.remaining(now);
                let frame = &message.frame;
                return Poll::Ready(Some(frame.to_message(message.qos, message.retain, remaining, &[])));
            }
            if self.replay(now) {
                if self.ready.is_empty() && self.replay.is_some() {
                    // Much was looked at and nothing found: others shall have their turn too.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            if self.take(cx, now) {
                return if self.ended { Poll::Ready(None) } else { Poll::Pending };
            }
        }
    }

    /// Reads a page of retained messages; whether there was one to read.
    fn replay(&mut self, now: Moment) -> bool {
        let after = match self.replay.take() {
            None => return false,
            Some(Position::Start) => None,
            Some(Position::After(topic)) => Some(topic),
        };
        let mut messages = Vec::new();
        let tree = self.broker.retained.read();
        let page = tree.page(self.filter.pattern(), after.as_deref(), now, MESSAGES, BYTES, &mut messages);
        drop(tree);
        if let Page::More { last } = page {
            self.replay = Some(Position::After(last));
        }
        self.ready.extend(messages.iter().map(|retained| {
            let message = retained.outbound();
            Outbound { qos: message.qos.min(self.qos), ..message }
        }));
        true
    }

    /// Takes what waits in the mailbox; whether there was nothing, so that the task is woken for the next message.
    fn take(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let (mut taken, mut finished) = (Taken::default(), Vec::new());
        let want = Want { once: true, queue: u16::MAX };
        let mailbox = &self.slot.mailbox;
        let asleep = mailbox.take(want, &mut finished, &mut taken, cx.waker());
        self.slot.patience.observe(|| !mailbox.above_quarter(), now);
        debug_assert!(finished.is_empty(), "every message is made for a receiver that works on it");
        let late = taken.late.into_iter().filter_map(|late| match late {
            Late::Message(message) => Some(message),
            Late::Finished(..) => None,
        });
        self.ready.extend(late.chain(taken.queue));
        self.ended |= taken.control.contains(&Order::Shutdown);
        asleep
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        self.broker.remove_local(&self.slot, &self.ready, self.clock.now());
    }
}

impl fmt::Debug for LocalSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSubscription").field("filter", &self.filter).finish_non_exhaustive()
    }
}

/// There is one loan of this slot, and it never ends.
const EPOCH: u32 = 1;
/// Retained messages and bytes that are read under one lock.
const MESSAGES: usize = 64;
const BYTES: usize = 64 << 10;
