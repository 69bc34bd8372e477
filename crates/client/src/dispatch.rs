//! Which streams want a message, and which filters are still wanted by anyone.
//!
//! The client matches by filter, whatever the version: an exact filter costs one look into a map, a wildcard filter one
//! comparison. A message that several streams want is shared by them and acknowledged when the last one has taken it.
//! Relates to: `inbox.rs`, where messages wait. Leaves out: the server's view; a filter is registered here before
//! SUBSCRIBE is sent, so that no retained message comes too early.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use gantline_protocol::{ReasonCode, Receipt, TopicFilter, TopicName};
use slab::Slab;

use crate::event::Event;
use crate::inbox::{Filling, Inbox};
use crate::items::{Item, Items};

/// Names a stream. The slot may be used again, the sequence is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId {
    slot: usize,
    sequence: u64,
}

/// All streams of a client.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    streams: Slab<Stream>,
    exact: HashMap<Box<str>, Vec<usize>>,
    wildcards: Vec<(TopicFilter, usize)>,
    /// Streams of everything.
    all: Vec<usize>,
    holders: HashMap<TopicFilter, Holders>,
    /// Filters that lost their last holder and that the server may still have.
    unheld: Vec<TopicFilter>,
    next_sequence: u64,
    /// The topic of the last message, and the streams that want it, each once: often the next has the same topic.
    last_topic: Option<TopicName>,
    targets: Vec<usize>,
}

/// Who holds a filter.
#[derive(Debug, Default)]
struct Holders {
    streams: usize,
    /// The server was asked for it.
    asked: bool,
}

#[derive(Debug)]
struct Stream {
    inbox: Arc<Inbox>,
    /// Empty for a stream of everything.
    filters: Vec<TopicFilter>,
    names: Arc<[String]>,
    sequence: u64,
    /// Its place among the requests to the server; `None` until its SUBSCRIBE is sent, and for a stream without one.
    asked: Option<u64>,
}

/// What the delivery of messages led to, to be done when no lock is held.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Receipts to acknowledge.
    pub(crate) receipts: Vec<(Receipt, ReasonCode)>,
    pub(crate) wakers: Vec<Waker>,
    pub(crate) events: Vec<Event>,
}

impl Dispatch {
    /// Adds a stream for these filters, or for everything if there are none.
    pub(crate) fn add(&mut self, inbox: Arc<Inbox>, filters: Vec<TopicFilter>) -> StreamId {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let names = filters.iter().map(ToString::to_string).collect();
        let slot = self.streams.vacant_key();
        if filters.is_empty() {
            self.all.push(slot);
            self.last_topic = None;
        }
        for filter in &filters {
            self.index(filter, slot);
        }
        self.streams.insert(Stream { inbox, filters, names, sequence, asked: None });
        StreamId { slot, sequence }
    }

    /// Removes a stream. Returns whether filters lost their last holder.
    pub(crate) fn remove(&mut self, id: StreamId) -> bool {
        if self.streams.get(id.slot).is_none_or(|stream| stream.sequence != id.sequence) {
            return false;
        }
        let stream = self.streams.remove(id.slot);
        self.all.retain(|&slot| slot != id.slot);
        self.last_topic = None;
        let before = self.unheld.len();
        for filter in stream.filters {
            if self.unindex(&filter, id.slot) {
                self.unheld.push(filter);
            }
        }
        self.unheld.len() > before
    }

    /// The server does not have this filter: nobody needs to unsubscribe from it.
    pub(crate) fn refused(&mut self, id: StreamId, filter: &TopicFilter) {
        if let Some(stream) = self.streams.get_mut(id.slot).filter(|stream| stream.sequence == id.sequence) {
            let before = stream.filters.len();
            stream.filters.retain(|held| held != filter);
            // More than one, if it was asked for more than once.
            for _ in stream.filters.len()..before {
                self.unindex(filter, id.slot);
            }
        }
    }

    /// Filters to unsubscribe from: nobody has come to hold them since.
    pub(crate) fn take_unheld(&mut self) -> Vec<TopicFilter> {
        let mut unheld = std::mem::take(&mut self.unheld);
        unheld.sort_unstable();
        unheld.dedup();
        unheld.retain(|filter| match self.holders.get_mut(filter) {
            None => true,
            Some(holders) => {
                holders.asked = true;
                false
            }
        });
        unheld
    }

    /// The SUBSCRIBE of this stream is about to be sent. Returns whether the stream is still there.
    pub(crate) fn ask(&mut self, id: StreamId) -> bool {
        let mark = self.mark();
        let Some(stream) = self.streams.get_mut(id.slot).filter(|stream| stream.sequence == id.sequence)
        else {
            return false;
        };
        stream.asked = Some(mark);
        for filter in &stream.filters {
            if let Some(holders) = self.holders.get_mut(filter) {
                holders.asked = true;
            }
        }
        true
    }

    /// The mark that divides the requests which were sent from those to come.
    pub(crate) const fn mark(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// The server has forgotten these filters: streams that asked before the mark and are left with none end.
    pub(crate) fn forget(&mut self, filters: &[TopicFilter], mark: u64, effects: &mut Effects) {
        let concerned = |stream: &Stream| {
            stream.asked.is_some_and(|asked| asked < mark)
                && stream.filters.iter().any(|filter| filters.contains(filter))
        };
        let slots: Vec<usize> =
            self.streams.iter().filter(|(_, stream)| concerned(stream)).map(|(slot, _)| slot).collect();
        for slot in slots {
            let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.streams[slot].filters)
                .into_iter()
                .partition(|filter| filters.contains(filter));
            for filter in gone {
                self.unindex(&filter, slot);
            }
            if left.is_empty() {
                effects.wakers.extend(self.streams[slot].inbox.end());
            }
            self.streams[slot].filters = left;
        }
    }

    /// The session is gone and with it all subscriptions: their streams end.
    pub(crate) fn end_subscriptions(&mut self, effects: &mut Effects) {
        let filters: Vec<TopicFilter> = self.holders.keys().cloned().collect();
        let mark = self.mark();
        self.forget(&filters, mark, effects);
        self.unheld.clear();
    }

    /// The client is gone: every stream ends.
    pub(crate) fn end_all(&mut self, effects: &mut Effects) {
        self.end_subscriptions(effects);
        effects.wakers.extend(self.streams.iter().filter_map(|(_, stream)| stream.inbox.end()));
    }

    /// See [`Inbox::freeze`] and [`Inbox::keep`].
    pub(crate) fn freeze(&self, effects: &mut Effects) {
        for (_, stream) in &self.streams {
            stream.inbox.freeze();
        }
        for (_, stream) in &self.streams {
            stream.inbox.keep(&mut effects.receipts);
        }
    }

    /// See [`Inbox::forget_settled`].
    pub(crate) fn forget_settled(&self) {
        self.streams.iter().for_each(|(_, stream)| stream.inbox.forget_settled());
    }

    /// See [`Inbox::thaw`].
    pub(crate) fn thaw(&self, resent: bool, effects: &mut Effects) {
        effects.wakers.extend(self.streams.iter().filter_map(|(_, stream)| stream.inbox.thaw(resent)));
    }

    /// Bytes that wait in all streams.
    pub(crate) fn held(&self) -> usize {
        self.streams.iter().map(|(_, stream)| stream.inbox.held()).sum()
    }

    /// See [`Inbox::stop_waiting`].
    pub(crate) fn stop_waiting(&self, effects: &mut Effects) {
        for (_, stream) in &self.streams {
            let count = stream.inbox.stop_waiting(&mut effects.receipts);
            stream.tell_dropped(count, effects);
        }
    }

    /// Hands each message to every stream that wants it. Those in a row that have the same topic, and one stream that
    /// wants them, go together.
    pub(crate) fn deliver(&mut self, arrived: &mut Items, effects: &mut Effects) {
        let mut unclaimed = 0;
        while let Some(first) = arrived.front() {
            self.find(first.message.topic());
            if let [slot] = self.targets[..] {
                let is_alike = |item: &&Item| Some(item.message.topic()) == self.last_topic.as_ref();
                let count = arrived.iter().take_while(is_alike).count();
                let stream = &self.streams[slot];
                let mut filling = stream.inbox.fill();
                filling.push_some(arrived, count, &mut effects.receipts);
                stream.close(filling, effects);
                continue;
            }
            let Some(Item { message, ticket, .. }) = arrived.pop_front() else { break };
            match self.targets.len() {
                0 => {
                    effects.receipts.extend(ticket.settle(ReasonCode::Success));
                    unclaimed += 1;
                }
                targets => {
                    for (&slot, ticket) in self.targets.iter().zip(ticket.split(targets)) {
                        let stream = &self.streams[slot];
                        let mut filling = stream.inbox.fill();
                        filling.push(Item::new(message.clone(), ticket), &mut effects.receipts);
                        stream.close(filling, effects);
                    }
                }
            }
        }
        if unclaimed > 0 {
            effects.events.push(Event::MessagesUnclaimed { count: unclaimed });
        }
    }

    /// Fills `targets` with the streams that want this topic, each once.
    fn find(&mut self, topic: &TopicName) {
        if self.last_topic.as_ref() == Some(topic) {
            return;
        }
        self.last_topic = Some(topic.clone());
        let topic = topic.as_str();
        self.targets.clear();
        self.targets.extend(&self.all);
        if let Some(slots) = self.exact.get(topic) {
            self.targets.extend(slots);
        }
        let wildcards = self.wildcards.iter().filter(|(filter, _)| filter.matches(topic));
        self.targets.extend(wildcards.map(|(_, slot)| slot));
        if self.targets.len() > 1 {
            self.targets.sort_unstable();
            self.targets.dedup();
        }
    }

    fn index(&mut self, filter: &TopicFilter, slot: usize) {
        self.last_topic = None;
        self.holders.entry(filter.clone()).or_default().streams += 1;
        if filter.has_wildcard() {
            self.wildcards.push((filter.clone(), slot));
        } else {
            self.exact.entry(filter.pattern().into()).or_default().push(slot);
        }
    }

    /// Returns whether this was the last holder of a filter that the server may have.
    fn unindex(&mut self, filter: &TopicFilter, slot: usize) -> bool {
        self.last_topic = None;
        if filter.has_wildcard() {
            if let Some(place) = self.wildcards.iter().position(|(held, by)| *by == slot && held == filter) {
                self.wildcards.swap_remove(place);
            }
        } else if let Some(slots) = self.exact.get_mut(filter.pattern()) {
            if let Some(place) = slots.iter().position(|&by| by == slot) {
                slots.swap_remove(place);
            }
            if slots.is_empty() {
                self.exact.remove(filter.pattern());
            }
        }
        let Some(holders) = self.holders.get_mut(filter) else { return false };
        holders.streams -= 1;
        if holders.streams > 0 {
            return false;
        }
        self.holders.remove(filter).is_some_and(|holders| holders.asked)
    }
}

impl Stream {
    fn close(&self, filling: Filling<'_>, effects: &mut Effects) {
        let filled = filling.finish();
        effects.wakers.extend(filled.waker);
        self.tell_dropped(filled.dropped, effects);
    }

    fn tell_dropped(&self, count: u64, effects: &mut Effects) {
        if count > 0 {
            effects.events.push(Event::MessagesDropped { filters: Arc::clone(&self.names), count });
        }
    }
}

#[cfg(test)]
mod tests;
