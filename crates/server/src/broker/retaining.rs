//! Retaining: the tree of retained messages, and the one alarm for what expires in it.
//!
//! The alarm is set for the next message that expires, and again when it has rung. An alarm is never taken back: one
//! that rings before what is awaited was superseded and does nothing, or each would set a successor for ever. None is
//! set far ahead, so that expiries which come closer and closer pile none up.
//!
//! If there is a store, each change of a topic is also noted in `unsaved.rs`.
//!
//! Relates to: [`RetainedTree`](super::retained::RetainedTree); `timekeeper.rs`, which waits for the alarm. Leaves out:
//! the replay of retained messages, which the connection does, and saving them.

use std::sync::atomic::Ordering;

use gantline_protocol::{Message, Moment, TopicName};

use super::Broker;
use super::alarms::{Alarm, FARTHEST_ALARM};
use super::publication::Publication;
use super::retained::Retained;
use super::slot::ClientSlot;
use crate::events::MessageEvent;
use crate::options::ServerOptions;

impl Broker {
    /// Keeps a message for later subscribers, or clears the topic.
    ///
    /// # Errors
    ///
    /// There is no room for one more, or for one that is so much larger. Clearing is always possible.
    pub(crate) fn retain(
        &self,
        publication: &mut Publication<'_>,
        by: Option<&ClientSlot>,
        now: Moment,
    ) -> Result<(), NoRoom> {
        let topic = publication.topic;
        if publication.is_empty() {
            // [MQTT-3.3.1-6]
            self.clear_retained(topic, by);
            return Ok(());
        }
        let is_heard = self.events.messages.is_heard() && !is_own(topic);
        let event = is_heard.then(|| publication.message(now));
        let (qos, expires) = (publication.qos, publication.expires);
        let retained = Retained { frame: publication.frame().clone(), qos, expires };
        let for_store =
            self.unsaved.get().filter(|_| !is_own(topic)).map(|unsaved| (unsaved, retained.clone()));
        // Freed outside of the lock.
        let ServerOptions { max_retained_messages: messages, max_retained_bytes: bytes, .. } = self.options;
        // What the server says of itself is bounded by itself.
        let room = (!is_own(topic)).then_some(Room { messages, bytes });
        let replaced = self.set_retained(topic, retained, room, now)?;
        if let Some((unsaved, retained)) = for_store
            && replaced.is_none_or(|replaced| !replaced.is_same(&retained))
        {
            unsaved.add(topic);
        }
        if let Some(message) = event {
            self.announce_retained(topic, by, Some(message));
        }
        Ok(())
    }

    /// Clears a topic; returns whether it had a message.
    pub(crate) fn clear_retained(&self, topic: &str, by: Option<&ClientSlot>) -> bool {
        // Freed outside of the lock.
        let removed = self.retained.write().clear(topic);
        if removed.is_none() {
            return false;
        }
        self.note_unsaved(topic);
        if self.events.messages.is_heard() {
            self.announce_retained(topic, by, None);
        }
        true
    }

    #[cold]
    fn announce_retained(&self, topic: &str, by: Option<&ClientSlot>, message: Option<Message>) {
        let Ok(topic) = TopicName::new(topic) else { return };
        let client_id = by.map(|slot| slot.id().clone());
        self.events.messages.announce(|| MessageEvent::RetainedChanged { client_id, topic, message });
    }

    /// The store is to be told of a topic, unless it is the server's own: that is not for later.
    fn note_unsaved(&self, topic: &str) {
        if let Some(unsaved) = self.unsaved.get()
            && !is_own(topic)
        {
            unsaved.add(topic);
        }
    }

    /// Keeps or clears what the store has for a topic.
    /// A store may have more than there is room for; all of it is kept.
    pub(crate) fn restore(&self, topic: &str, retained: Option<Retained>, now: Moment) {
        let replaced = match retained {
            // The server says anew what it has to say of itself.
            Some(_) if is_own(topic) => Ok(None),
            Some(retained) => self.set_retained(topic, retained, None, now),
            None => Ok(self.retained.write().clear(topic)),
        };
        drop(replaced);
    }

    /// The messages of these topics, in their order.
    pub(crate) fn retained_values(&self, topics: &[Box<str>], now: Moment) -> Vec<Option<Retained>> {
        let tree = self.retained.read();
        topics.iter().map(|topic| tree.get(topic, now).cloned()).collect()
    }

    fn set_retained(
        &self,
        topic: &str,
        retained: Retained,
        room: Option<Room>,
        now: Moment,
    ) -> Result<Option<Retained>, NoRoom> {
        let mut tree = self.retained.write();
        if room.is_some_and(|Room { messages, bytes }| !tree.has_room_for(topic, &retained, messages, bytes))
        {
            return Err(NoRoom);
        }
        let replaced = tree.set(topic, retained);
        let next = tree.next_expiry();
        drop(tree);
        self.expect_expiry(next, now);
        Ok(replaced)
    }

    /// The alarm has rung: removes retained messages that have expired, and sets the next one.
    pub(crate) fn expire_retained(&self, now: Moment) {
        if self.retained_alarm.load(Ordering::Relaxed) > now.as_millis() {
            return;
        }
        // Before the tree is looked at, so that whoever adds to it later sees that nothing is awaited.
        self.retained_alarm.store(u64::MAX, Ordering::Relaxed);
        let mut tree = self.retained.write();
        let removed = tree.remove_expired(now, EXPIRED_AT_ONCE);
        let next = tree.next_expiry();
        drop(tree);
        self.counters.expired.add(removed.len() as u64);
        removed.iter().for_each(|gone| self.note_unsaved(gone.frame.topic()));
        self.expect_expiry(next, now);
    }

    /// Sets an alarm for when the next retained message expires, unless there is an earlier one.
    fn expect_expiry(&self, next: Moment, now: Moment) {
        if next == Moment::NEVER {
            return;
        }
        let at = next.min(now.plus(FARTHEST_ALARM));
        // A race sets two alarms where one would do.
        if at.as_millis() < self.retained_alarm.fetch_min(at.as_millis(), Ordering::Relaxed) {
            self.alarms.set(at, Alarm::Retained);
        }
    }
}

/// How many retained messages there may be, and how many bytes.
#[derive(Clone, Copy, Debug)]
struct Room {
    messages: usize,
    bytes: usize,
}

/// There are as many retained messages as there may be, or they are as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Whether a topic is one of those under which the server speaks of itself, which clients may not publish to.
#[inline]
pub(crate) fn is_own(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

/// Retained messages that are removed under one lock.
const EXPIRED_AT_ONCE: usize = 1_000;

#[cfg(test)]
mod tests {
    use gantline_protocol::{Message, Moment, Outbound};

    use super::super::Broker;
    use super::super::alarms::Alarm;
    use crate::options::ServerOptions;

    fn keep(broker: &Broker, topic: &str, expiry: u32, now: Moment) {
        let message = Message::new(topic, "x").unwrap().retain(true).expiry(expiry);
        broker.publish_message(&Outbound::new(&message, now), None, now);
    }

    /// Acts on what is due.
    fn time_comes(broker: &Broker, now: Moment) {
        let mut due = Vec::new();
        broker.alarms.take_due(now, &mut due);
        for alarm in due {
            if let Alarm::Retained = alarm {
                broker.expire_retained(now);
            }
        }
    }

    fn after(seconds: u64) -> Moment {
        Moment::from_millis(1 + seconds * 1_000)
    }

    #[test]
    fn messages_that_expire_one_after_the_other_need_few_alarms() {
        let broker = Broker::new(ServerOptions::default());
        keep(&broker, "long", 6_000, after(0));
        for second in 0..5_000 {
            time_comes(&broker, after(second));
            if second % 20 == 0 {
                keep(&broker, "short", 10, after(second));
            }
            assert!(broker.retained.read().count() <= 2);
            assert!(broker.alarms.count() <= 10, "{} after {second}", broker.alarms.count());
        }
        assert_eq!((broker.retained.read().count(), broker.counters.expired.get()), (1, 250));
        (5_000..6_002).for_each(|second| time_comes(&broker, after(second)));
        assert_eq!((broker.retained.read().count(), broker.alarms.count()), (0, 0));
    }

    #[test]
    fn expiries_that_come_closer_and_closer_do_not_pile_up_alarms() {
        let broker = Broker::new(ServerOptions::default());
        for expiry in (1..10_000).rev() {
            keep(&broker, "t", expiry, after(0));
        }
        assert!(broker.alarms.count() <= 100, "{}", broker.alarms.count());
        time_comes(&broker, after(2));
        assert_eq!(broker.retained.read().count(), 0);
    }
}
