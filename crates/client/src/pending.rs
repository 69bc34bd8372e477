//! Who waits for what: publishes for their acknowledgement, publishers for room.
//!
//! A publish of QoS 1 or 2 has a slot in a slab; its number is the tag that the machine gives back when the flow is
//! complete. A slot belongs to two: to the waiter until it has read the outcome or was dropped, and to the connection's
//! side until the flow is over. A message in flight outlives its connection together with the session, so only when
//! both have let go is the slot used again. Leaves out: requests, of which the driver keeps the few that there are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gantline_protocol::session::Lost;
use gantline_protocol::{Moment, QoS};
use parking_lot::Mutex;
use slab::Slab;

use crate::error::{ConnectionLost, DisconnectCause, Progress, PublishError, PublishResult};

/// What becomes of a publish.
pub(crate) type Outcome = Result<PublishResult, PublishError>;

/// The publishes that wait for their acknowledgement.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Whether a connection takes orders. Whoever pushes into the mailbox holds this lock meanwhile, so that nothing is
    /// pushed behind the back of a connection that has just ended.
    pub(crate) open: bool,
    /// The most time for an acknowledgement, from acceptance on.
    pub(crate) timeout: Option<Duration>,
    slots: Slab<Slot>,
    /// If there is such a time: when the slots are due, oldest first. Those in front that are done are forgotten.
    due: VecDeque<(Moment, u32, u64)>,
    sequence: u64,
    /// Names and tags of publishes of an earlier process, until they are asked for.
    restored: Vec<(u64, u32)>,
}

/// How long a publish waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until the connection ends.
    OfConnection,
    /// Until the flow ends.
    OfFlow,
    /// As that, and by this name the next process can go on waiting.
    Named(u64),
}

#[derive(Debug)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    /// The waiter still wants to know.
    awaited: bool,
    patience: Patience,
    /// The flow may still be completed.
    in_flight: bool,
    /// Tells apart those who use a slot one after the other.
    sequence: u64,
}

impl Slot {
    fn is_patient(&self) -> bool {
        self.patience != Patience::OfConnection
    }
}

impl Pending {
    /// A slot for a message that is about to be accepted.
    pub(crate) fn reserve(&mut self, patience: Patience) -> u32 {
        self.sequence += 1;
        let sequence = self.sequence;
        let slot = Slot { outcome: None, waker: None, awaited: true, patience, in_flight: true, sequence };
        // Mailbox and session are bounded far below this.
        u32::try_from(self.slots.insert(slot)).unwrap_or(u32::MAX)
    }

    /// A slot for a message that an earlier process has sent. If it has a name, somebody may ask for it; else nobody
    /// waits for it.
    pub(crate) fn orphan(&mut self, name: Option<u64>) -> u32 {
        if let Some(name) = name {
            let tag = self.reserve(Patience::Named(name));
            self.restored.push((name, tag));
            return tag;
        }
        let tag = self.reserve(Patience::OfConnection);
        self.give_up(tag);
        tag
    }

    /// The names and tags of what an earlier process has sent. Whoever asks has to wait at these tags or give them up.
    pub(crate) fn take_restored(&mut self) -> Vec<(u64, u32)> {
        std::mem::take(&mut self.restored)
    }

    /// The name of a publish that is in flight.
    pub(crate) fn name(&self, tag: u32) -> Option<u64> {
        match self.slots.get(tag as usize)?.patience {
            Patience::Named(name) => Some(name),
            Patience::OfConnection | Patience::OfFlow => None,
        }
    }

    /// The message of this tag, the one that was reserved last, was accepted now. Returns whether it has a deadline and
    /// that is the only one, of which the driver has to hear.
    pub(crate) fn time(&mut self, tag: u32, now: impl FnOnce() -> Moment) -> bool {
        let Some(timeout) = self.timeout.filter(|_| self.is_awaited(tag, self.sequence)) else {
            return false;
        };
        while self.due.front().is_some_and(|(_, tag, sequence)| !self.is_awaited(*tag, *sequence)) {
            self.due.pop_front();
        }
        self.due.push_back((now().plus(timeout), tag, self.sequence));
        self.due.len() == 1
    }

    /// When the oldest one is due, or was if it is done by now.
    pub(crate) fn next_deadline(&self) -> Moment {
        self.due.front().map_or(Moment::NEVER, |(due, ..)| *due)
    }

    /// Tells those who have waited for as long as the limit. Their flows go on.
    #[must_use = "the wakers are to be woken outside all locks"]
    pub(crate) fn expire(&mut self, now: Moment, limit: Duration) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while self.next_deadline() <= now
            && let Some((_, tag, sequence)) = self.due.pop_front()
        {
            if self.is_awaited(tag, sequence)
                && let Some(slot) = self.slots.get_mut(tag as usize)
            {
                slot.outcome = Some(Err(PublishError::TimedOut { limit }));
                wakers.extend(slot.waker.take());
            }
        }
        wakers
    }

    fn is_awaited(&self, tag: u32, sequence: u64) -> bool {
        let slot = self.slots.get(tag as usize);
        slot.is_some_and(|slot| {
            slot.sequence == sequence && slot.awaited && !slot.is_patient() && slot.outcome.is_none()
        })
    }

    /// The message was not accepted after all.
    pub(crate) fn cancel(&mut self, tag: u32) {
        self.slots.try_remove(tag as usize);
    }

    /// The flow is over with this outcome.
    #[must_use = "the waker is to be woken outside all locks"]
    pub(crate) fn complete(&mut self, tag: u32, outcome: Outcome) -> Option<Waker> {
        let slot = self.slots.get_mut(tag as usize)?;
        slot.in_flight = false;
        if slot.awaited {
            slot.outcome = Some(outcome);
            return slot.waker.take();
        }
        self.slots.remove(tag as usize);
        None
    }

    /// These flows will never be complete. Their waiters were told so when the connection was lost, save the patient
    /// ones, which are told now. `cause`: why the last connection ended.
    #[must_use = "the wakers are to be woken outside all locks"]
    pub(crate) fn abandon(&mut self, flows: &[Lost], cause: &DisconnectCause) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for flow in flows {
            let Some(slot) = self.slots.get_mut(flow.tag as usize) else { continue };
            if slot.outcome.is_some() || !slot.awaited {
                slot.in_flight = false;
                if !slot.awaited {
                    self.slots.remove(flow.tag as usize);
                }
                continue;
            }
            let progress = if flow.message.is_some() { Progress::Sent } else { Progress::Received };
            wakers.extend(self.complete(flow.tag, Err(lost(false, progress, cause.clone()))));
        }
        wakers
    }

    /// The connection ended: every waiter is told, save the patient ones whose flow has begun. Those of the tags in
    /// `unsent` hold messages that will not be sent; the others are sent again if the session is resumed.
    #[must_use = "the wakers are to be woken outside all locks"]
    pub(crate) fn close(
        &mut self,
        unsent: &[u32],
        cause: &DisconnectCause,
        session_kept: bool,
    ) -> Vec<Waker> {
        self.open = false;
        self.due.clear();
        let mut wakers = Vec::new();
        for &tag in unsent {
            wakers.extend(self.complete(tag, Err(lost(false, Progress::Unsent, cause.clone()))));
        }
        for (_, slot) in &mut self.slots {
            if slot.outcome.is_none() && slot.awaited && !slot.is_patient() {
                slot.outcome = Some(Err(lost(session_kept, Progress::Sent, cause.clone())));
                wakers.extend(slot.waker.take());
            }
        }
        wakers
    }

    /// The waiter asks for the outcome. Once it has it the tag is not its own any more.
    pub(crate) fn poll(&mut self, tag: u32, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(slot) = self.slots.get_mut(tag as usize) else {
            return Poll::Ready(Err(PublishError::NotConnected));
        };
        if let Some(outcome) = slot.outcome.take() {
            self.give_up(tag);
            return Poll::Ready(outcome);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The waiter does not want to know any more.
    pub(crate) fn give_up(&mut self, tag: u32) {
        if let Some(slot) = self.slots.get_mut(tag as usize) {
            slot.awaited = false;
            slot.outcome = None;
            if !slot.in_flight {
                self.slots.remove(tag as usize);
            }
        }
    }
}

fn lost(resent_on_resume: bool, progress: Progress, cause: DisconnectCause) -> PublishError {
    ConnectionLost { resent_on_resume, progress, cause }.into()
}

/// The publishers that wait for room in the mailbox, in the order in which they came: QoS 0 and the others apart,
/// because the two have bounds of their own.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    once: Room,
    queue: Room,
}

impl Rooms {
    pub(crate) const fn of(&self, qos: QoS) -> &Room {
        match qos {
            QoS::AtMostOnce => &self.once,
            QoS::AtLeastOnce | QoS::ExactlyOnce => &self.queue,
        }
    }

    /// There may be room.
    pub(crate) fn freed(&self) {
        self.once.wake_first();
        self.queue.wake_first();
    }

    /// Nobody has to wait any more: there is no connection.
    pub(crate) fn close(&self) {
        self.once.wake_all();
        self.queue.wake_all();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    /// How many wait, so that nobody takes the lock who needs not.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    places: VecDeque<(u64, Option<Waker>)>,
}

impl Room {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Joins the line at its end.
    pub(crate) fn enter(&self) -> u64 {
        let mut line = self.line.lock();
        let place = line.next;
        line.next += 1;
        line.places.push_back((place, None));
        self.waiting.store(line.places.len(), Ordering::Release);
        place
    }

    /// Leaves the waker at a place; returns whether it is the first one.
    pub(crate) fn wait(&self, place: u64, waker: &Waker) -> bool {
        let mut line = self.line.lock();
        if let Some((_, held)) = line.places.iter_mut().find(|(held, _)| *held == place) {
            *held = Some(waker.clone());
        }
        line.places.front().is_none_or(|(first, _)| *first == place)
    }

    /// Leaves the line; the next one tries.
    pub(crate) fn leave(&self, place: u64) {
        let mut line = self.line.lock();
        let was_first = line.places.front().is_some_and(|(first, _)| *first == place);
        line.places.retain(|(held, _)| *held != place);
        self.waiting.store(line.places.len(), Ordering::Release);
        let next = line.places.front_mut().filter(|_| was_first).and_then(|(_, waker)| waker.take());
        drop(line);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    fn wake_first(&self) {
        if self.is_empty() {
            return;
        }
        let first = self.line.lock().places.front_mut().and_then(|(_, waker)| waker.take());
        if let Some(waker) = first {
            waker.wake();
        }
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.line.lock().places.iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        for waker in wakers {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use gantline_protocol::{AckProperties, Moment, ReasonCode};

    use super::{DisconnectCause, Outcome, Patience, Pending, PublishError, PublishResult, Room};

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn success() -> Outcome {
        Ok(PublishResult { reason: ReasonCode::Success, properties: AckProperties::default() })
    }

    #[test]
    fn a_slot_is_used_again_only_when_both_sides_have_let_go() {
        let mut pending = Pending::default();
        let dropped = pending.reserve(Patience::OfConnection);
        pending.give_up(dropped);
        let next = pending.reserve(Patience::OfConnection);
        assert_ne!(dropped, next);
        assert!(pending.complete(dropped, success()).is_none());
        assert_eq!(pending.reserve(Patience::OfConnection), dropped);
    }

    #[test]
    fn a_lost_connection_says_what_is_sent_again() {
        let mut pending = Pending::default();
        let (sent, unsent) =
            (pending.reserve(Patience::OfConnection), pending.reserve(Patience::OfConnection));
        let wakers = pending.close(&[unsent], &DisconnectCause::Requested, true);
        assert!(wakers.is_empty());
        for (tag, resent) in [(sent, true), (unsent, false)] {
            let Poll::Ready(Err(PublishError::ConnectionLost(lost))) = pending.poll(tag, &mut cx()) else {
                panic!()
            };
            assert_eq!(lost.resent_on_resume, resent);
        }
        // The one in flight may still be acknowledged after a resume.
        assert_eq!(pending.reserve(Patience::OfConnection), unsent);
        assert!(pending.complete(sent, success()).is_none());
        assert_eq!(pending.reserve(Patience::OfConnection), sent);
    }

    #[test]
    fn an_acknowledgement_after_a_resume_replaces_what_was_not_read() {
        let mut pending = Pending::default();
        let tag = pending.reserve(Patience::OfConnection);
        assert!(pending.close(&[], &DisconnectCause::Requested, true).is_empty());
        assert!(pending.complete(tag, success()).is_none());
        assert!(matches!(pending.poll(tag, &mut cx()), Poll::Ready(Ok(_))));
    }

    #[test]
    fn only_who_waits_for_the_connection_has_a_deadline() {
        let mut pending = Pending { timeout: Some(Duration::from_secs(10)), ..Pending::default() };
        for patience in [Patience::OfFlow, Patience::Named(7)] {
            let patient = pending.reserve(patience);
            assert!(!pending.time(patient, || Moment::ZERO));
            assert_eq!(pending.next_deadline(), Moment::NEVER);
        }
        let tag = pending.reserve(Patience::OfConnection);
        assert!(pending.time(tag, || Moment::ZERO));
        assert_eq!(pending.next_deadline(), Moment::ZERO.plus(Duration::from_secs(10)));
    }

    #[test]
    fn a_line_keeps_its_order() {
        let room = Room::default();
        let (first, second) = (room.enter(), room.enter());
        assert!(!room.wait(second, Waker::noop()));
        assert!(room.wait(first, Waker::noop()));
        room.leave(first);
        assert!(room.wait(second, Waker::noop()));
        room.leave(second);
        assert!(room.is_empty());
    }
}
