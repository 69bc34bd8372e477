//! Publishing: from a message to the mailboxes of those who get it.
//!
//! A [`Publisher`] is what one connection (or the application, or a will) needs for it: the routes that it remembers,
//! and the run of messages for one route that it has not handed over yet. Such a run goes into each mailbox under one
//! lock and with one copy, whether there is one target or a thousand.
//!
//! Relates to: [`Subscriptions`](super::subscriptions::Subscriptions), which knows who wants a topic; the mailboxes.
//! Leaves out: waking and holding back, which happen when no lock is held: see [`Publisher::settle`].

#[cfg(all(test, shuttle))]
mod models;
#[cfg(all(test, not(shuttle)))]
mod tests;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use gantline_protocol::{FixedHeader, Moment, Outbound, QoS, ReasonCode};
use gantline_transport::Pushed;

use super::Broker;
use super::publication::Publication;
use super::retaining::{NoRoom, is_own};
use super::routes::{Route, Routes};
use super::shared::{Origin, ShareGroup};
use super::slot::{ClientSlot, Profile};
use super::subscriptions::{Matches, Subscriber, Target};
use crate::events::{DropCause, MessageEvent};

/// One who publishes.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    /// Who does not get its messages back if it asked for that.
    slot: Option<Arc<ClientSlot>>,
    routes: Routes,
    run: Run,
    /// Messages that nobody wanted.
    unconsumed: u32,
    pub(crate) after: After,
}

/// What is to be done about the mailboxes once no lock is held.
#[derive(Debug, Default)]
pub(crate) struct After {
    wakers: Vec<Waker>,
    /// Receivers whose mailboxes are above half and for which publishers still wait.
    pub(crate) filled: Vec<Arc<ClientSlot>>,
}

/// Consecutive messages of one route that all targets get alike.
#[derive(Debug, Default)]
struct Run {
    /// The position of the route; of no meaning while the run is empty.
    route: usize,
    /// Finished QoS 0 packets without and with properties.
    finished: [Vec<u8>; 2],
    /// How many packets each of them holds.
    count: u32,
    /// The largest packet in each of them.
    largest: [usize; 2],
    /// Messages with QoS 1 and 2.
    kept: Vec<Outbound>,
}

impl Publisher {
    /// The publisher behind a slot.
    pub(crate) fn new(slot: Option<&Arc<ClientSlot>>) -> Self {
        Self { slot: slot.cloned(), ..Self::default() }
    }

    /// Keeps the message if it is to be retained, and hands it to all who have subscribed to its topic, at the latest
    /// with the next [`settle`](Self::settle). Returns how many receivers there are.
    ///
    /// # Errors
    ///
    /// It is to be retained, and there is no room for it. Then nobody gets it.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        broker: &Broker,
        publication: &mut Publication<'_>,
        now: Moment,
    ) -> Result<usize, NoRoom> {
        if publication.retain {
            // Before it is handed to anybody: a replay must not be older than a live message.
            broker.retain(publication, self.slot.as_deref(), now)?;
        }
        let position = match self.routes.find(publication.topic, &broker.generations) {
            Some(position) => position,
            None => self.find_route(broker, publication.topic, now),
        };
        let Self { run, routes, after, .. } = self;
        let route = routes.get(position);
        let receivers = route.targets.len() + route.groups.len();
        if receivers == 0 {
            self.not_consumed(broker, publication, now);
            return Ok(0);
        }
        if !run.takes(route, publication) {
            run.hand_over(broker, routes, now, after);
            let receivers = deliver_each(broker, route, publication, now, after);
            if receivers == 0 {
                self.not_consumed(broker, publication, now);
            }
            return Ok(receivers);
        }
        if run.is_empty() || run.route != position {
            run.hand_over(broker, routes, now, after);
            if !run.has_memory() {
                run.borrow();
            }
            run.route = position;
        }
        run.add(route, publication);
        Ok(receivers)
    }

    /// Hands over what is still in the run. To be followed by [`After::wake`] when no lock is held.
    pub(crate) fn settle(&mut self, broker: &Broker, now: Moment) {
        self.run.hand_over(broker, &self.routes, now, &mut self.after);
        self.run.give_back();
        broker.counters.unconsumed.add(mem::take(&mut self.unconsumed).into());
    }

    /// Nobody has subscribed to the topic of a message. That the server's own numbers go unread is no news.
    fn not_consumed(&mut self, broker: &Broker, publication: &mut Publication<'_>, now: Moment) {
        if is_own(publication.topic) {
            return;
        }
        self.unconsumed += 1;
        if broker.events.messages.is_heard() {
            let client_id = self.slot.as_ref().map(|slot| slot.id().clone());
            let message = publication.message(now);
            broker.events.messages.announce(|| MessageEvent::NotConsumed { client_id, message });
        }
    }

    fn find_route(&mut self, broker: &Broker, topic: &str, now: Moment) -> usize {
        // Positions may change.
        self.run.hand_over(broker, &self.routes, now, &mut self.after);
        self.routes.insert(broker.route(topic, self.slot.as_ref().map(Subscriber::key)))
    }
}

impl Run {
    const EMPTY: Self =
        Self { route: 0, finished: [const { Vec::new() }; 2], count: 0, largest: [0; 2], kept: Vec::new() };

    const fn is_empty(&self) -> bool {
        self.count == 0 && self.kept.is_empty()
    }

    const fn has_memory(&self) -> bool {
        self.finished[0].capacity() + self.finished[1].capacity() + self.kept.capacity() > 0
    }

    /// Whether the message is one that all targets of the route get alike.
    #[inline]
    fn takes(&self, route: &Route, publication: &Publication<'_>) -> bool {
        route.is_plain
            && !(publication.retain && route.keeps_retain)
            && match publication.qos {
                QoS::AtMostOnce => publication.can_be_finished(),
                qos => route.lowest >= qos,
            }
    }

    #[inline]
    fn add(&mut self, route: &Route, publication: &mut Publication<'_>) {
        if publication.qos != QoS::AtMostOnce {
            let outbound = publication.outbound(publication.qos, false, None);
            self.kept.push(outbound);
            return;
        }
        for (layout, finished) in self.finished.iter_mut().enumerate() {
            if route.layouts[layout] {
                let before = finished.len();
                publication.finish(layout == 1, false, finished);
                self.largest[layout] = self.largest[layout].max(finished.len() - before);
            }
        }
        self.count += 1;
    }

    /// Puts the messages into the mailboxes of the targets.
    fn hand_over(&mut self, broker: &Broker, routes: &Routes, now: Moment, after: &mut After) {
        if self.is_empty() {
            return;
        }
        let mut kept = mem::take(&mut self.kept);
        let targets = &routes.get(self.route).targets;
        for (index, target) in targets.iter().enumerate() {
            let slot = &target.subscriber;
            let profile = slot.profile();
            let (bytes, count) = self.finished_for(profile);
            if count == 0 && kept.is_empty() && !profile.connected {
                continue;
            }
            if profile.connected && count < self.count {
                broker.count_lost(slot, DropCause::TooLarge, self.count - count);
            }
            let pushed = if index + 1 == targets.len() {
                slot.mailbox.push_batch(profile.epoch, &bytes, count, kept.drain(..))
            } else {
                slot.mailbox.push_batch(profile.epoch, &bytes, count, kept.iter().cloned())
            };
            after.note(broker, slot, profile.epoch, pushed, now);
        }
        self.kept = kept;
        self.clear();
    }

    /// The finished packets that a receiver gets, and how many they are.
    fn finished_for(&self, profile: Profile) -> (Cow<'_, [u8]>, u32) {
        let layout = usize::from(profile.has_properties);
        let finished = &self.finished[layout];
        // Without bytes the receiver has come back with another version since the route was found.
        if !profile.connected || finished.is_empty() {
            return (Cow::Borrowed(&[]), 0);
        }
        if self.largest[layout] > profile.max_packet as usize {
            return fitting(finished, profile.max_packet as usize);
        }
        (Cow::Borrowed(finished), self.count)
    }

    /// Takes the memory of the thread's last run.
    fn borrow(&mut self) {
        *self = RUN.take();
    }

    fn give_back(&mut self) {
        // A turn in which nothing was published must not put nothing in the place of the thread's memory.
        if self.has_memory() {
            RUN.set(mem::take(self));
        }
    }

    fn clear(&mut self) {
        for finished in &mut self.finished {
            finished.clear();
            finished.shrink_to(LARGEST_RUN);
        }
        self.kept.clear();
        self.count = 0;
        self.largest = [0; 2];
    }
}

impl After {
    /// Takes note of what a push did that was made for this loan of the session.
    #[inline]
    pub(crate) fn note(
        &mut self,
        broker: &Broker,
        slot: &Arc<ClientSlot>,
        epoch: u32,
        pushed: Pushed,
        now: Moment,
    ) {
        self.wakers.extend(pushed.wake);
        if pushed.above_half && slot.patience.is_worth_a_wait(now, || slot.quarantined(&broker.counters)) {
            self.filled.push(Arc::clone(slot));
        }
        if pushed.dropped > 0 {
            self.lost(broker, slot, epoch, pushed.dropped, pushed.disconnect);
        }
    }

    #[cold]
    fn lost(&mut self, broker: &Broker, slot: &Arc<ClientSlot>, epoch: u32, dropped: u32, disconnect: bool) {
        if slot.dropped() == 0 {
            tracing::warn!(
                name: "client.queue_full",
                client = %slot.id(),
                "its queue is full; messages are dropped from now on"
            );
        }
        broker.count_lost(slot, DropCause::QueueFull, dropped);
        if disconnect {
            self.wakers.extend(slot.kick(epoch, ReasonCode::QuotaExceeded));
        }
    }

    /// Wakes the receivers. Not for use under a lock.
    #[inline]
    pub(crate) fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}

/// The packets that a receiver takes [MQTT-3.1.2-25].
#[cold]
fn fitting(mut packets: &[u8], max_packet: usize) -> (Cow<'_, [u8]>, u32) {
    let (mut fitting, mut count) = (Vec::new(), 0);
    while let Ok(Some(header)) = FixedHeader::parse(packets) {
        let (packet, rest) = packets.split_at(header.frame_len().min(packets.len()));
        if packet.len() <= max_packet {
            fitting.extend_from_slice(packet);
            count += 1;
        }
        packets = rest;
    }
    (Cow::Owned(fitting), count)
}

/// Hands a message to each target by itself, and to one member of each group. Returns how many got it.
fn deliver_each(
    broker: &Broker,
    route: &Route,
    publication: &mut Publication<'_>,
    now: Moment,
    after: &mut After,
) -> usize {
    let mut finished = Finished::default();
    for target in &route.targets {
        deliver(broker, target, 0, publication, &mut finished, now, after);
    }
    let groups = &route.groups;
    let chosen = groups.iter().filter(|group| deliver_shared(broker, group, publication, now, after));
    route.targets.len() + chosen.count()
}

/// Hands a message to one receiver. Returns whether its session has ended, so that it got nothing.
fn deliver(
    broker: &Broker,
    target: &Target<Arc<ClientSlot>>,
    tag: u32,
    publication: &mut Publication<'_>,
    finished: &mut Finished,
    now: Moment,
    after: &mut After,
) -> bool {
    let slot = &target.subscriber;
    let qos = target.qos.min(publication.qos);
    let retain = publication.retain && target.retain_as_published;
    let profile = slot.profile();
    let pushed = if qos != QoS::AtMostOnce {
        let outbound = Outbound { tag, ..publication.outbound(qos, retain, target.ids.clone()) };
        slot.mailbox.push_queue(outbound)
    } else if !profile.connected {
        return false;
    } else if profile.works || target.ids.is_some() || !publication.can_be_finished() {
        slot.mailbox.push_late(publication.outbound(qos, retain, target.ids.clone()))
    } else {
        let bytes = finished.get(publication, profile.has_properties, retain);
        if bytes.len() > profile.max_packet as usize {
            broker.count_lost(slot, DropCause::TooLarge, 1);
            return false;
        }
        slot.mailbox.push_once(profile.epoch, bytes, 1)
    };
    let closed = pushed.closed;
    after.note(broker, slot, profile.epoch, pushed, now);
    closed
}

/// Hands a message to one member of a share group; says whether there was one.
pub(super) fn deliver_shared(
    broker: &Broker,
    group: &Arc<ShareGroup<Arc<ClientSlot>>>,
    publication: &mut Publication<'_>,
    now: Moment,
    after: &mut After,
) -> bool {
    let Publication { qos, retain, .. } = *publication;
    let tag = Origin { group: group.id(), qos, retain }.tag();
    let mut renewed = None;
    for _ in 0..TRIES {
        let group = renewed.as_ref().unwrap_or(group);
        let Some(member) = group.choose(|slot, granted| rank(slot, qos.min(granted))) else { return false };
        if !deliver(broker, &member, tag, publication, &mut Finished::default(), now, after) {
            return true;
        }
        // Its session ended after the group was found: the group is another one now.
        renewed = broker.group(group.id());
        if renewed.is_none() {
            return false;
        }
    }
    false
}

/// Which members of a share group are chosen first: those who take the message at once. A member that is away and would
/// get it with QoS 0 gets nothing.
fn rank(slot: &Arc<ClientSlot>, qos: QoS) -> Option<u8> {
    match slot.profile().connected {
        true if !slot.patience.is_exhausted() => Some(0),
        true => Some(1),
        false if qos != QoS::AtMostOnce => Some(2),
        false => None,
    }
}

/// The finished packet of one message, made once for each layout and RETAIN flag.
#[derive(Default)]
struct Finished([Vec<u8>; 4]);

impl Finished {
    fn get(&mut self, publication: &Publication<'_>, has_properties: bool, retain: bool) -> &[u8] {
        let bytes = &mut self.0[usize::from(has_properties) << 1 | usize::from(retain)];
        if bytes.is_empty() {
            publication.finish(has_properties, retain, bytes);
        }
        bytes
    }
}

impl Broker {
    /// Finds out who gets the messages of a topic.
    fn route(&self, topic: &str, publisher: Option<usize>) -> Route {
        thread_local! {
            static MATCHES: RefCell<Matches<Arc<ClientSlot>>> = RefCell::default();
        }
        MATCHES.with_borrow_mut(|matches| {
            let stamp = self.generations.stamp(topic);
            self.subscriptions.read().matches(topic, publisher, matches);
            let route = Route::new(topic, stamp, matches);
            matches.clear();
            route
        })
    }

    /// Puts a message into the queue of one client and wakes it; nobody is waited for. Returns whether the client takes
    /// it. Not for use under a lock.
    pub(crate) fn enqueue(&self, slot: &Arc<ClientSlot>, message: Outbound, now: Moment) -> bool {
        let (mut after, profile) = (After::default(), slot.profile());
        let pushed = match message.qos {
            QoS::AtMostOnce if !profile.connected => return false,
            QoS::AtMostOnce => slot.mailbox.push_late(message),
            QoS::AtLeastOnce | QoS::ExactlyOnce => slot.mailbox.push_queue(message),
        };
        let taken = !pushed.closed;
        after.note(self, slot, profile.epoch, pushed, now);
        after.wake();
        taken
    }

    pub(super) fn group(&self, id: u32) -> Option<Arc<ShareGroup<Arc<ClientSlot>>>> {
        self.subscriptions.read().group(id).cloned()
    }

    /// Publishes a message at once and wakes those who get it; nobody is waited for. Returns how many receivers there
    /// are. Not for use under a lock.
    pub(crate) fn publish_message(
        &self,
        message: &Outbound,
        publisher: Option<&Arc<ClientSlot>>,
        now: Moment,
    ) -> usize {
        let mut publisher = Publisher::new(publisher);
        let published = publisher.publish(self, &mut Publication::of_message(message), now);
        let receivers = published.unwrap_or_else(|NoRoom| {
            self.counters.add_dropped(DropCause::RetainedFull, 1);
            tracing::warn!(
                name: "retained.full", topic = message.frame.topic(),
                "there is no room to retain a message; it is dropped"
            );
            0
        });
        publisher.settle(self, now);
        publisher.after.wake();
        receivers
    }
}

thread_local! {
    /// The memory of runs, of which a thread has one at a time: a publisher settles before another has its turn.
    static RUN: Cell<Run> = const { Cell::new(Run::EMPTY) };
}

/// How often another member of a share group is tried.
const TRIES: u32 = 8;
/// Memory that an emptied run keeps.
const LARGEST_RUN: usize = 128 << 10;
