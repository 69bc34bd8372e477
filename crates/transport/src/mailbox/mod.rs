//! Mailboxes: the bounded lanes between the tasks that produce messages and the one task that owns a connection.
//!
//! A mailbox is one short mutex over four lanes:
//!
//! * `ready`: finished QoS 0 frames in the receiver's layout. A push is a copy, the owner takes the buffer whole.
//! * `late`: QoS 0 messages whose head can only be written when they leave (expiry, topic alias, large payload).
//!   While it is not empty all QoS 0 goes there, so that order holds [MQTT-4.6.0-5].
//! * `queue`: QoS 1 and 2 messages, taken as the receiver's quota allows.
//! * `control`: what the owner must do besides (a kick, a shutdown, a command of the client's handle).
//!
//! The owner declares under the lock that it sleeps, and for which lanes; a pusher that finds it asleep for its lane
//! clears the mark and wakes it after unlocking. So no wake-up is lost and none is sent to a task that is awake.
//!
//! Relates to: the server's connection tasks and the client's driver, its two users. Leaves out: any knowledge of
//! sockets, subscriptions or the protocol beyond where a frame ends.

mod budget;
mod lanes;
#[cfg(all(test, shuttle))]
mod models;
mod once;
#[cfg(all(test, not(shuttle)))]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use gantline_protocol::Outbound;

pub use self::budget::Budget;
use self::lanes::Lanes;
use crate::sync::Mutex;

/// The bounded lanes into one connection task. `C` is what its control lane carries.
pub struct Mailbox<C> {
    lanes: Mutex<Lanes<C>>,
    budget: Arc<Budget>,
}

/// The bounds of a mailbox. QoS 0 (`once`) and QoS 1/2 (`queue`) are counted apart; an empty class always takes one
/// message. What is above 2^30 counts as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// QoS 0 messages that may wait. Default 65,536.
    pub once_messages: u32,
    /// Bytes of QoS 0 messages that may wait, those taken but not yet written included. Default 8 MiB.
    pub once_bytes: u32,
    /// QoS 1 and 2 messages that may wait. Default 65,536.
    pub queue_messages: u32,
    /// Bytes of QoS 1 and 2 messages that may wait. Default 8 MiB.
    pub queue_bytes: u32,
    /// What happens at a bound. Default [`Overflow::DropOldest`].
    pub overflow: Overflow,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self {
            once_messages: 65_536,
            once_bytes: 8 << 20,
            queue_messages: 65_536,
            queue_bytes: 8 << 20,
            overflow: Overflow::DropOldest,
        }
    }
}

impl MailboxLimits {
    /// Sums of a few bounds and packets then stay far below what 32 bits can hold.
    const fn clamped(self) -> Self {
        const fn clamp(bound: u32) -> u32 {
            if bound < 1 << 30 { bound } else { 1 << 30 }
        }
        Self {
            once_messages: clamp(self.once_messages),
            once_bytes: clamp(self.once_bytes),
            queue_messages: clamp(self.queue_messages),
            queue_bytes: clamp(self.queue_bytes),
            overflow: self.overflow,
        }
    }
}

/// What a mailbox does with a message that exceeds its bounds. Every loss is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The message that waits longest makes room.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The new message is dropped and the connection is to be closed (0x97 Quota exceeded).
    Disconnect,
}

/// What a push did. The caller wakes `wake` once it holds no lock.
#[derive(Debug, Default)]
#[must_use = "a waker in it must be woken"]
pub struct Pushed {
    /// The owner slept for this lane: wake it.
    pub wake: Option<Waker>,
    /// Messages lost at the bound.
    pub dropped: u32,
    /// A class is above half of a bound: the publisher may hold back.
    pub above_half: bool,
    /// The policy is [`Overflow::Disconnect`] and the bound was hit.
    pub disconnect: bool,
    /// The mailbox is closed for good: nothing was taken, and nothing counts as lost.
    pub closed: bool,
}

/// What the owner is ready to send now.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// QoS 0 messages may be sent (the output has room).
    pub once: bool,
    /// How many QoS 1 and 2 messages may be sent (the peer's quota, or 0 while the output is full).
    pub queue: u16,
}

/// What the owner took. Reused from turn to turn; [`Mailbox::take`] appends to it.
#[derive(Debug)]
pub struct Taken<C> {
    /// How many finished QoS 0 packets the last take of such put straight into the output.
    pub finished: u32,
    /// QoS 0 messages to encode after the bytes that went straight to the output.
    pub late: Vec<Late>,
    /// QoS 1 and 2 messages to send.
    pub queue: Vec<Outbound>,
    /// Orders to the owner.
    pub control: Vec<C>,
}

impl<C> Taken<C> {
    /// Nothing, and no memory.
    pub const EMPTY: Self = Self { finished: 0, late: Vec::new(), queue: Vec::new(), control: Vec::new() };
}

impl<C> Default for Taken<C> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A QoS 0 message of the `late` lane.
#[derive(Debug)]
pub enum Late {
    /// A message whose head is still to be written.
    Message(Outbound),
    /// Finished frames that came while others had to wait, and how many.
    Finished(Vec<u8>, u32),
}

/// How full a mailbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages.
    pub messages: u32,
    /// Bytes.
    pub bytes: u32,
}

impl Load {
    const fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }

    const fn remove(&mut self, less: Self) {
        self.messages = self.messages.saturating_sub(less.messages);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

/// Most bytes of QoS 0 and of `queue` that one [`Mailbox::take`] hands out, each: 64 KiB, so that turns stay short.
/// Only finished frames are taken all at once, because they cost nothing.
const TAKE_BYTES: usize = 64 << 10;

impl<C> Mailbox<C> {
    /// An open mailbox whose owner is awake.
    pub fn new(limits: MailboxLimits, budget: Arc<Budget>) -> Self {
        Self { lanes: Mutex::new(Lanes::new(limits)), budget }
    }

    /// Adds finished QoS 0 frames: `count` whole frames, one behind the other, made for the owner of this epoch.
    /// Another owner may want another layout, so for it they do not exist.
    pub fn push_once(&self, epoch: u32, frames: &[u8], count: u32) -> Pushed {
        self.push_batch(epoch, frames, count, std::iter::empty())
    }

    /// Adds a QoS 0 message whose head is written when it leaves.
    pub fn push_late(&self, message: Outbound) -> Pushed {
        self.push(|lanes, lost| {
            let mut pushed = lanes.push_late(message, &self.budget, lost);
            lanes.finish_push(&mut pushed, true, false);
            pushed
        })
    }

    /// Adds a QoS 1 or 2 message.
    pub fn push_queue(&self, message: Outbound) -> Pushed {
        self.push(|lanes, lost| {
            let mut pushed = lanes.push_queue(message, &self.budget, lost);
            lanes.finish_push(&mut pushed, false, true);
            pushed
        })
    }

    /// Adds finished QoS 0 frames, as [`push_once`](Self::push_once) does, and messages with QoS 1 and 2 under one
    /// lock.
    pub fn push_batch(
        &self,
        epoch: u32,
        frames: &[u8],
        count: u32,
        queue: impl ExactSizeIterator<Item = Outbound>,
    ) -> Pushed {
        let (once, kept) = (count > 0, queue.len() > 0);
        self.push(|lanes, lost| {
            let mut pushed = Pushed::default();
            if once {
                pushed = lanes.push_once(epoch, frames, count, &self.budget, lost);
            }
            lanes.expect(queue.len());
            for message in queue {
                let one = lanes.push_queue(message, &self.budget, lost);
                pushed.dropped += one.dropped;
                pushed.disconnect |= one.disconnect;
                pushed.closed |= one.closed;
            }
            lanes.finish_push(&mut pushed, once, kept);
            pushed
        })
    }

    /// Adds an order to the owner and returns its waker if it sleeps. Orders are few and are never refused.
    #[must_use = "a waker in it must be woken"]
    pub fn push_control(&self, order: C) -> Option<Waker> {
        let mut lanes = self.lanes.lock();
        lanes.control.push(order);
        lanes.wake_any()
    }

    /// Takes what the owner wants, or marks the owner asleep and returns `true` if there is nothing of that.
    ///
    /// The owner calls this only once everything that it took before is written, so whatever still counted as taken
    /// is now forgotten. Finished frames go straight into `out` (by exchange when it is empty), the rest into
    /// `taken`. Publishers that wait for room are woken when both classes are below a quarter.
    ///
    /// As long as this returns `false` the owner counts as awake: it comes back here, or to
    /// [`sleep_for_control`](Self::sleep_for_control), before it waits for anything.
    pub fn take(&self, want: Want, out: &mut Vec<u8>, taken: &mut Taken<C>, waker: &Waker) -> bool {
        let mut lanes = self.lanes.lock();
        let found = lanes.take(want, out, taken, waker);
        let waiters = lanes.make_room(&self.budget);
        drop(lanes);
        drop(found.waker);
        found.ready.append_to(out);
        wake_all(waiters);
        !found.found
    }

    /// Marks the owner asleep for control alone, while its output is blocked. Returns `false`, without sleeping,
    /// if an order waits.
    pub fn sleep_for_control(&self, waker: &Waker) -> bool {
        let mut lanes = self.lanes.lock();
        let found = lanes.sleep_for_control(waker);
        drop(lanes);
        drop(found.waker);
        found.ready.give_back();
        !found.found
    }

    /// Takes the orders alone, for an owner whose output is blocked.
    pub fn take_control(&self, orders: &mut Vec<C>) {
        orders.append(&mut self.lanes.lock().control);
    }

    /// Puts QoS 1 and 2 messages that could not be sent back to the front, in their order.
    pub fn put_back(&self, messages: impl DoubleEndedIterator<Item = Outbound>) {
        let mut lanes = self.lanes.lock();
        for message in messages.rev() {
            lanes.put_back(message);
        }
    }

    /// Registers a publisher that waits for room and returns `true`, or returns `false` if both classes are below a
    /// quarter of their bounds already, or nobody is there to make room.
    pub fn wait_for_room(&self, waker: &Waker) -> bool {
        self.lanes.lock().wait_for_room(waker)
    }

    /// Whether a class is above half of a bound. Never while parked or closed: nobody makes room then, so nobody waits.
    pub fn above_half(&self) -> bool {
        self.lanes.lock().above(2)
    }

    /// Whether a class is above a quarter of a bound. Never while parked or closed.
    pub fn above_quarter(&self) -> bool {
        self.lanes.lock().above(4)
    }

    /// Gives the mailbox to a connection with these bounds: QoS 0 is accepted, the owner counts as awake. The epoch
    /// tells this owner from earlier ones.
    pub fn open(&self, limits: MailboxLimits, epoch: u32) {
        let mut lanes = self.lanes.lock();
        let former = lanes.open(limits, epoch);
        let waiters = lanes.make_room(&self.budget);
        drop(lanes);
        drop(former);
        wake_all(waiters);
    }

    /// Takes the mailbox from its connection: QoS 0 is discarded from now on, QoS 1 and 2 wait within these bounds.
    /// Orders that the connection did not see are dropped. Returns how many QoS 0 messages were discarded and how
    /// many QoS 1 and 2 messages fell to the new bounds.
    pub fn park(&self, limits: MailboxLimits) -> (u32, u32) {
        let mut lost = Vec::new();
        let mut lanes = self.lanes.lock();
        let removed = lanes.park(limits, &mut lost);
        let waiters = lanes.make_room(&self.budget);
        drop(lanes);
        wake_all(waiters);
        (removed.once.load().messages, weight(lost.len()))
    }

    /// Closes the mailbox until it is [opened](Self::open) or [parked](Self::park) again: whoever pushes is told so.
    /// Returns the QoS 1 and 2 messages that waited, in order; QoS 0 is discarded. Orders stay.
    pub fn close(&self) -> Vec<Outbound> {
        let mut lanes = self.lanes.lock();
        lanes.close();
        let removed = lanes.clear();
        let waiters = lanes.make_room(&self.budget);
        drop(lanes);
        wake_all(waiters);
        removed.queue.into()
    }

    /// Drops every message and returns how many there were. Orders stay.
    pub fn clear(&self) -> u32 {
        let mut lanes = self.lanes.lock();
        let removed = lanes.clear();
        let waiters = lanes.make_room(&self.budget);
        drop(lanes);
        wake_all(waiters);
        removed.once.load().messages + weight(removed.queue.len())
    }

    /// Removes the QoS 1 and 2 messages for which `wanted` says so, in order. `wanted` runs under the lock: it must
    /// not use this mailbox.
    pub fn extract(&self, wanted: impl FnMut(&Outbound) -> bool) -> Vec<Outbound> {
        let mut lanes = self.lanes.lock();
        let found = lanes.extract(wanted);
        let waiters = lanes.make_room(&self.budget);
        drop(lanes);
        wake_all(waiters);
        found
    }

    /// What waits at QoS 0 and at QoS 1/2. Bytes that were taken and are not written yet count too.
    pub fn load(&self) -> (Load, Load) {
        self.lanes.lock().load()
    }

    #[inline]
    fn push(&self, push: impl FnOnce(&mut Lanes<C>, &mut Vec<Outbound>) -> Pushed) -> Pushed {
        // Dropped after the guard, because the drop of a payload can be a user's.
        let mut lost = Vec::new();
        let mut lanes = self.lanes.lock();
        push(&mut lanes, &mut lost)
    }
}

impl<C> Drop for Mailbox<C> {
    fn drop(&mut self) {
        // Nobody makes room any more, and what was drawn goes back.
        self.park(MailboxLimits::default());
        self.clear();
    }
}

impl<C> fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (once, queue) = self.load();
        f.debug_struct("Mailbox").field("once", &once).field("queue", &queue).finish_non_exhaustive()
    }
}

fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// Sizes are counted in 32 bits: a mailbox never holds 4 GiB.
fn weight(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
