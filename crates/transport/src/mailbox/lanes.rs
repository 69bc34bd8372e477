//! What a mailbox's mutex guards: the lanes, their sizes, and who sleeps.
//!
//! Nothing is woken here, and no message, order or waker is dropped: users can put code of their own into the drop of
//! a payload or of a waker, and it may use the mailbox. All that goes out to the caller, who has unlocked by then.
//!
//! Relates to: [`Mailbox`](super::Mailbox), which locks it and wakes after unlocking. Leaves out: locking, waking.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use gantline_protocol::Outbound;

use super::once::{Frames, Once, Ready};
use super::{Budget, Load, MailboxLimits, Overflow, Pushed, TAKE_BYTES, Taken, Want, weight};

pub(super) struct Lanes<C> {
    once: Once,
    queue: VecDeque<Outbound>,
    pub(super) control: Vec<C>,
    /// What `queue` holds.
    kept: Load,
    /// Bytes of each class that the owner took and has not written yet; they still count.
    unwritten_once: u32,
    unwritten_kept: u32,
    /// What was drawn from the budget, in steps.
    drawn: u32,
    limits: MailboxLimits,
    sleep: Sleep,
    parked: bool,
    /// Nothing is accepted any more.
    closed: bool,
    /// Which of its owners the mailbox is open for.
    epoch: u32,
    waker: Option<Waker>,
    /// Publishers that hold back until there is room.
    waiters: Vec<Waker>,
}

/// For which lanes the owner sleeps. Control wakes it whenever it sleeps at all.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sleep {
    asleep: bool,
    once: bool,
    queue: bool,
}

const AWAKE: Sleep = Sleep { asleep: false, once: false, queue: false };

/// What the owner found, and what is to be done for it after unlocking.
pub(super) struct Found {
    pub(super) found: bool,
    /// To be appended to the output.
    pub(super) ready: Ready,
    /// To be dropped.
    pub(super) waker: Option<Waker>,
}

/// What was removed, to be dropped after unlocking.
#[expect(dead_code, reason = "some of it is held for nothing else than its drop")]
pub(super) struct Removed<C> {
    pub(super) once: Once,
    pub(super) queue: VecDeque<Outbound>,
    pub(super) control: Vec<C>,
    pub(super) waker: Option<Waker>,
}

impl<C> Lanes<C> {
    pub(super) const fn new(limits: MailboxLimits) -> Self {
        Self {
            once: Once::new(),
            queue: VecDeque::new(),
            control: Vec::new(),
            kept: Load { messages: 0, bytes: 0 },
            unwritten_once: 0,
            unwritten_kept: 0,
            drawn: 0,
            limits: limits.clamped(),
            sleep: AWAKE,
            parked: false,
            closed: false,
            epoch: 0,
            waker: None,
            waiters: Vec::new(),
        }
    }

    // ---- pushing ----

    /// What is dropped goes to `lost`, as in the other pushes.
    pub(super) fn push_once(
        &mut self,
        epoch: u32,
        frames: &[u8],
        count: u32,
        budget: &Budget,
        lost: &mut Vec<Outbound>,
    ) -> Pushed {
        let mut pushed = Pushed { closed: self.closed, ..Pushed::default() };
        if self.parked || self.closed || epoch != self.epoch {
            return pushed;
        }
        if self.once_fits(Load { messages: count, bytes: weight(frames.len()) }, budget) {
            self.once.push(frames, count);
        } else if self.limits.overflow == Overflow::DropOldest {
            self.once.push(frames, count);
            while !self.once_fits(Load::default(), budget) && self.once.drop_oldest(lost) {
                pushed.dropped += 1;
            }
        } else {
            let (mut end, mut fitting) = (0, 0);
            for frame in Frames(frames) {
                let more = Load { messages: fitting + 1, bytes: weight(end + frame.len()) };
                if !self.once_fits(more, budget) {
                    break;
                }
                end += frame.len();
                fitting += 1;
            }
            self.once.push(&frames[..end], fitting);
            pushed.dropped = count - fitting;
            pushed.disconnect = self.limits.overflow == Overflow::Disconnect;
        }
        pushed
    }

    pub(super) fn push_late(
        &mut self,
        message: Outbound,
        budget: &Budget,
        lost: &mut Vec<Outbound>,
    ) -> Pushed {
        let mut pushed = Pushed { closed: self.closed, ..Pushed::default() };
        if self.parked || self.closed {
            lost.push(message);
            return pushed;
        }
        let more = Load { messages: 1, bytes: weight(message.weight()) };
        while !self.once_fits(more, budget) {
            if self.limits.overflow != Overflow::DropOldest || !self.once.drop_oldest(lost) {
                return self.refuse(message, lost);
            }
            pushed.dropped += 1;
        }
        self.once.push_late(message);
        pushed
    }

    pub(super) fn push_queue(
        &mut self,
        message: Outbound,
        budget: &Budget,
        lost: &mut Vec<Outbound>,
    ) -> Pushed {
        let mut pushed = Pushed { closed: self.closed, ..Pushed::default() };
        if self.closed {
            lost.push(message);
            return pushed;
        }
        let more = Load { messages: 1, bytes: weight(message.weight()) };
        while !self.queue_fits(more, budget) {
            if self.limits.overflow != Overflow::DropOldest || !self.drop_queued(Overflow::DropOldest, lost) {
                return self.refuse(message, lost);
            }
            pushed.dropped += 1;
        }
        self.kept.add(more);
        self.queue.push_back(message);
        pushed
    }

    /// Makes room for messages of the queue at once, as far as its bound lets them in.
    pub(super) fn expect(&mut self, messages: usize) {
        let bound = self.limits.queue_messages as usize;
        self.queue.reserve(messages.min(bound.saturating_sub(self.queue.len())));
    }

    pub(super) fn finish_push(&mut self, pushed: &mut Pushed, once: bool, queue: bool) {
        pushed.above_half = self.above(2);
        // What was refused is nothing to be woken for.
        let once = once && self.sleep.once && self.once.load().messages > 0;
        let queue = queue && self.sleep.queue && !self.queue.is_empty();
        if self.sleep.asleep && (once || queue) {
            pushed.wake = self.wake_any();
        }
    }

    pub(super) fn wake_any(&mut self) -> Option<Waker> {
        if !self.sleep.asleep {
            return None;
        }
        self.sleep = AWAKE;
        self.waker.clone()
    }

    pub(super) fn put_back(&mut self, message: Outbound) {
        let back = Load { messages: 1, bytes: weight(message.weight()) };
        // It counted as taken until now.
        self.unwritten_kept = self.unwritten_kept.saturating_sub(back.bytes);
        self.kept.add(back);
        self.queue.push_front(message);
    }

    fn refuse(&self, message: Outbound, lost: &mut Vec<Outbound>) -> Pushed {
        lost.push(message);
        let disconnect = self.limits.overflow == Overflow::Disconnect;
        Pushed { dropped: 1, disconnect, ..Pushed::default() }
    }

    /// Removes the oldest message of the queue, or the newest if the policy is to drop those.
    fn drop_queued(&mut self, overflow: Overflow, lost: &mut Vec<Outbound>) -> bool {
        let message = match overflow {
            Overflow::DropOldest => self.queue.pop_front(),
            Overflow::DropNewest | Overflow::Disconnect => self.queue.pop_back(),
        };
        let Some(message) = message else { return false };
        self.kept.remove(Load { messages: 1, bytes: weight(message.weight()) });
        lost.push(message);
        true
    }

    // ---- bounds ----

    /// One message alone always fits; what the budget cannot cover is then simply uncovered.
    fn once_fits(&mut self, more: Load, budget: &Budget) -> bool {
        let (held, limits) = (self.once.load(), &self.limits);
        if held.messages + more.messages <= 1 {
            self.draw(more.bytes, budget);
            return true;
        }
        held.messages + more.messages <= limits.once_messages
            && held.bytes.saturating_add(self.unwritten_once).saturating_add(more.bytes) <= limits.once_bytes
            && self.draw(more.bytes, budget)
    }

    fn queue_fits(&mut self, more: Load, budget: &Budget) -> bool {
        let (held, limits) = (self.kept, &self.limits);
        if held.messages + more.messages <= 1 {
            self.draw(more.bytes, budget);
            return true;
        }
        held.messages + more.messages <= limits.queue_messages
            && held.bytes.saturating_add(self.unwritten_kept).saturating_add(more.bytes) <= limits.queue_bytes
            && self.draw(more.bytes, budget)
    }

    fn total(&self) -> u32 {
        let held = self.once.load().bytes.saturating_add(self.kept.bytes);
        held.saturating_add(self.unwritten_once).saturating_add(self.unwritten_kept)
    }

    /// Makes sure that the budget covers `more` bytes besides what is held.
    #[inline]
    fn draw(&mut self, more: u32, budget: &Budget) -> bool {
        let uncovered = self.total().saturating_add(more).saturating_sub(Budget::STEP);
        if uncovered <= self.drawn {
            return true;
        }
        let steps = (uncovered - self.drawn).div_ceil(Budget::STEP);
        let bytes = steps.saturating_mul(Budget::STEP);
        let covered = budget.draw(bytes);
        if covered {
            self.drawn += bytes;
        }
        covered
    }

    /// Gives back what is no longer needed.
    pub(super) fn settle(&mut self, budget: &Budget) {
        let needed =
            self.total().saturating_sub(Budget::STEP).div_ceil(Budget::STEP).saturating_mul(Budget::STEP);
        if needed < self.drawn {
            budget.give_back(self.drawn - needed);
            self.drawn = needed;
        }
    }

    /// Whether a class is above one `part`-th of a bound. Not while parked or closed: nobody makes room then.
    #[inline]
    pub(super) fn above(&self, part: u32) -> bool {
        let (once, kept, limits) = (self.once.load(), self.kept, &self.limits);
        !self.parked
            && !self.closed
            && (once.messages > limits.once_messages / part
                || kept.messages > limits.queue_messages / part
                || once.bytes.saturating_add(self.unwritten_once) > limits.once_bytes / part
                || kept.bytes.saturating_add(self.unwritten_kept) > limits.queue_bytes / part)
    }

    pub(super) fn wait_for_room(&mut self, waker: &Waker) -> bool {
        if !self.above(4) {
            return false;
        }
        if !self.waiters.iter().any(|waiter| waiter.will_wake(waker)) {
            self.waiters.push(waker.clone());
        }
        true
    }

    /// After there may be more room: gives back what was drawn, and returns who is to be woken.
    pub(super) fn make_room(&mut self, budget: &Budget) -> Vec<Waker> {
        self.settle(budget);
        if self.waiters.is_empty() || self.above(4) { Vec::new() } else { mem::take(&mut self.waiters) }
    }

    // ---- taking ----

    /// Takes what is wanted, or falls asleep if there is none of it.
    pub(super) fn take(
        &mut self,
        want: Want,
        out: &mut Vec<u8>,
        taken: &mut Taken<C>,
        waker: &Waker,
    ) -> Found {
        (self.unwritten_once, self.unwritten_kept) = (0, 0);
        let once = want.once && self.once.load().messages > 0;
        let queue = want.queue > 0 && !self.queue.is_empty();
        if !once && !queue && self.control.is_empty() {
            return self.fall_asleep(want, waker);
        }
        self.sleep = AWAKE;
        taken.control.append(&mut self.control);
        let mut ready = Ready::default();
        if once {
            ready = self.take_once(out, taken);
        }
        if queue {
            self.take_queue(want.queue, taken);
        }
        Found { found: true, ready, waker: None }
    }

    fn take_once(&mut self, out: &mut Vec<u8>, taken: &mut Taken<C>) -> Ready {
        let before = self.once.load().bytes;
        taken.finished = self.once.ready_messages();
        let (length, ready) = self.once.take_ready(out);
        let mut room = TAKE_BYTES.saturating_sub(length);
        while room > 0
            && let Some(late) = self.once.take_late()
        {
            room = room.saturating_sub(late.weight());
            taken.late.push(late);
        }
        self.unwritten_once = before - self.once.load().bytes;
        ready
    }

    fn take_queue(&mut self, mut quota: u16, taken: &mut Taken<C>) {
        // Room of its own, so that no flood of QoS 0 can keep the queue waiting.
        let mut room = TAKE_BYTES;
        while quota > 0
            && room > 0
            && let Some(message) = self.queue.pop_front()
        {
            let bytes = message.weight();
            self.kept.remove(Load { messages: 1, bytes: weight(bytes) });
            self.unwritten_kept += weight(bytes);
            room = room.saturating_sub(bytes);
            quota -= 1;
            taken.queue.push(message);
        }
    }

    /// An empty lane holds no allocation while the owner sleeps.
    fn fall_asleep(&mut self, want: Want, waker: &Waker) -> Found {
        self.sleep = Sleep { asleep: true, once: want.once, queue: want.queue > 0 };
        // Asked first, because that is cheaper than to drop nothing.
        if self.queue.capacity() > 0 && self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        if self.control.capacity() > 0 && self.control.is_empty() {
            self.control = Vec::new();
        }
        let known = self.waker.as_ref().is_some_and(|held| held.will_wake(waker));
        let old = if known { None } else { self.waker.replace(waker.clone()) };
        Found { found: false, ready: self.once.release(), waker: old }
    }

    pub(super) fn sleep_for_control(&mut self, waker: &Waker) -> Found {
        if self.control.is_empty() {
            return self.fall_asleep(Want { once: false, queue: 0 }, waker);
        }
        self.sleep = AWAKE;
        Found { found: true, ready: Ready::default(), waker: None }
    }

    // ---- owners ----

    pub(super) fn open(&mut self, limits: MailboxLimits, epoch: u32) -> Option<Waker> {
        self.limits = limits.clamped();
        (self.parked, self.closed, self.epoch) = (false, false, epoch);
        self.leave()
    }

    /// Returns how many messages of the queue fell to the new bounds besides what was removed.
    pub(super) fn park(&mut self, limits: MailboxLimits, lost: &mut Vec<Outbound>) -> Removed<C> {
        self.limits = limits.clamped();
        (self.parked, self.closed) = (true, false);
        let (messages, bytes) = (self.limits.queue_messages, self.limits.queue_bytes);
        while self.kept.messages > 1
            && (self.kept.messages > messages || self.kept.bytes > bytes)
            && self.drop_queued(limits.overflow, lost)
        {}
        let waker = self.leave();
        let (once, control) = (self.once.take_all(), mem::take(&mut self.control));
        Removed { once, queue: VecDeque::new(), control, waker }
    }

    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn clear(&mut self) -> Removed<C> {
        self.kept = Load::default();
        let (once, queue) = (self.once.take_all(), mem::take(&mut self.queue));
        Removed { once, queue, control: Vec::new(), waker: None }
    }

    /// The owner is gone, and with it what it had not written.
    fn leave(&mut self) -> Option<Waker> {
        (self.unwritten_once, self.unwritten_kept) = (0, 0);
        self.sleep = AWAKE;
        self.waker.take()
    }

    pub(super) fn extract(&mut self, mut wanted: impl FnMut(&Outbound) -> bool) -> Vec<Outbound> {
        let mut found = Vec::new();
        // Once round, in place: whatever `wanted` does, no message is lost.
        for _ in 0..self.queue.len() {
            let take = self.queue.front().is_some_and(&mut wanted);
            if !take {
                self.queue.rotate_left(1);
            } else if let Some(message) = self.queue.pop_front() {
                self.kept.remove(Load { messages: 1, bytes: weight(message.weight()) });
                found.push(message);
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        found
    }

    pub(super) fn load(&self) -> (Load, Load) {
        let Load { messages, bytes } = self.once.load();
        let once = Load { messages, bytes: bytes.saturating_add(self.unwritten_once) };
        let Load { messages, bytes } = self.kept;
        (once, Load { messages, bytes: bytes.saturating_add(self.unwritten_kept) })
    }

    #[cfg(all(test, not(shuttle)))]
    pub(super) fn heap_bytes(&self) -> usize {
        self.once.heap_bytes() + self.queue.capacity() + self.control.capacity() + self.waiters.capacity()
    }
}
