//! What comes out of a mailbox, in which order, what is lost at its bounds, and who is woken.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod bounds;
mod owners;
mod random;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use gantline_protocol::{Frame, Head, Message, Moment, Outbound, QoS};

use super::once::Frames;
use super::{Budget, Late, Load, Mailbox, MailboxLimits, Overflow, Pushed, Taken, Want};

const ALL: Want = Want { once: true, queue: u16::MAX };
const ONCE: Want = Want { once: true, queue: 0 };
const QUEUE: Want = Want { once: false, queue: u16::MAX };

fn mailbox(limits: MailboxLimits) -> Mailbox<u8> {
    Mailbox::new(limits, Arc::new(Budget::unlimited()))
}

fn open() -> Mailbox<u8> {
    mailbox(MailboxLimits::default())
}

/// A message whose payload has `len` bytes and ends with `id`.
fn message(id: u16, len: usize, qos: QoS) -> Outbound {
    let payload = [vec![0; len - 2], id.to_be_bytes().to_vec()].concat();
    Outbound::new(&Message::new("a", payload).unwrap().qos(qos), Moment::ZERO)
}

fn late(id: u16) -> Outbound {
    message(id, 2, QoS::AtMostOnce)
}

fn queued(id: u16) -> Outbound {
    message(id, 2, QoS::AtLeastOnce)
}

/// The finished frame of a message whose payload has `len` bytes and ends with `id`.
fn frame(id: u16, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::write(&message(id, len, QoS::AtMostOnce).frame, &Head::default(), false, &mut out);
    out
}

fn frames(ids: impl IntoIterator<Item = u16>) -> Vec<u8> {
    ids.into_iter().flat_map(|id| frame(id, 2)).collect()
}

/// Bytes of one of [`frames`].
const FRAME: u32 = 7;

fn id(ending: &[u8]) -> u16 {
    u16::from_be_bytes([ending[ending.len() - 2], ending[ending.len() - 1]])
}

#[track_caller]
fn pushed(pushed: &Pushed) {
    assert_eq!((pushed.dropped, pushed.disconnect), (0, false));
}

/// What one look into the mailbox gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    asleep: bool,
    once: Vec<u16>,
    queue: Vec<u16>,
    control: Vec<u8>,
}

fn take_with(mailbox: &Mailbox<u8>, want: Want, waker: &Waker) -> Got {
    let (mut out, mut taken) = (Vec::new(), Taken::default());
    let asleep = mailbox.take(want, &mut out, &mut taken, waker);
    let mut once: Vec<u16> = Frames(&out).map(id).collect();
    for late in taken.late {
        match late {
            Late::Message(message) => once.push(id(message.frame.payload())),
            Late::Finished(frames, count) => {
                assert_eq!(Frames(&frames).count(), count as usize);
                once.extend(Frames(&frames).map(id));
            }
        }
    }
    let queue = taken.queue.iter().map(|message| id(message.frame.payload())).collect();
    Got { asleep, once, queue, control: taken.control }
}

fn take(mailbox: &Mailbox<u8>, want: Want) -> Got {
    take_with(mailbox, want, Waker::noop())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn waker() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn woken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// ---- lanes and order ----

#[test]
fn each_lane_gives_what_was_put_into_it() {
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frames([1, 2]), 2));
    pushed(&mailbox.push_queue(queued(3)));
    assert!(mailbox.push_control(7).is_none());
    pushed(&mailbox.push_queue(queued(4)));
    let got = Got { asleep: false, once: vec![1, 2], queue: vec![3, 4], control: vec![7] };
    assert_eq!(take(&mailbox, ALL), got);
    assert_eq!(take(&mailbox, ALL), Got { asleep: true, ..Got::default() });
}

#[test]
fn only_what_is_wanted_is_taken() {
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frames([1]), 1));
    for id in 2..6 {
        pushed(&mailbox.push_queue(queued(id)));
    }
    assert!(take(&mailbox, Want { once: false, queue: 0 }).asleep);
    assert_eq!(take(&mailbox, Want { once: false, queue: 3 }).queue, [2, 3, 4]);
    assert_eq!(take(&mailbox, ONCE).once, [1]);
    assert!(take(&mailbox, ONCE).asleep);
    assert_eq!(take(&mailbox, QUEUE).queue, [5]);
}

#[test]
fn finished_frames_go_behind_a_late_message_and_keep_their_order() {
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frames([1, 2]), 2));
    pushed(&mailbox.push_late(late(3)));
    pushed(&mailbox.push_once(0, &frames([4]), 1));
    pushed(&mailbox.push_once(0, &frames([5, 6]), 2));
    pushed(&mailbox.push_late(late(7)));
    pushed(&mailbox.push_once(0, &frames([8]), 1));
    let (mut out, mut taken) = (Vec::new(), Taken::default());
    assert!(!mailbox.take(ALL, &mut out, &mut taken, Waker::noop()));
    assert_eq!(out, frames([1, 2]), "what was finished before goes straight out");
    assert_eq!(taken.late.len(), 4);
    assert!(matches!(&taken.late[1], Late::Finished(bytes, 3) if *bytes == frames([4, 5, 6])));
    pushed(&mailbox.push_once(0, &frames([9]), 1));
    assert_eq!(take(&mailbox, ALL).once, [9]);
}

#[test]
fn finished_frames_come_by_exchange_or_behind_what_is_there() {
    let mailbox = open();
    let mut out = Vec::with_capacity(100);
    let mut taken = Taken::default();
    pushed(&mailbox.push_once(0, &frames([1]), 1));
    assert!(!mailbox.take(ALL, &mut out, &mut taken, Waker::noop()));
    assert_ne!(out.capacity(), 100, "exchanged");
    pushed(&mailbox.push_once(0, &frames([2]), 1));
    assert!(!mailbox.take(ALL, &mut out, &mut taken, Waker::noop()));
    assert_eq!(out, frames([1, 2]));
}

#[test]
fn a_take_is_bounded_where_messages_cost_work() {
    let mailbox = open();
    for id in 0..40 {
        pushed(&mailbox.push_late(message(id, 4000, QoS::AtMostOnce)));
        pushed(&mailbox.push_queue(message(id, 4000, QoS::AtLeastOnce)));
    }
    let first = take(&mailbox, ALL);
    assert_eq!((first.once.len(), first.queue.len()), (17, 17), "64 KiB of each");
    let (mut once, mut queue) = (first.once, first.queue);
    for _ in 0..2 {
        let next = take(&mailbox, ALL);
        once.extend(next.once);
        queue.extend(next.queue);
    }
    assert!(once.iter().copied().eq(0..40) && queue.iter().copied().eq(0..40));
}

#[test]
fn a_flood_at_qos_0_does_not_keep_the_queue_waiting() {
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frame(1, 100_000), 1));
    pushed(&mailbox.push_late(late(2)));
    pushed(&mailbox.push_queue(queued(3)));
    let got = take(&mailbox, ALL);
    assert_eq!((got.once, got.queue), (vec![1], vec![3]));
    assert_eq!(take(&mailbox, ALL).once, [2]);
}

#[test]
fn finished_frames_behind_a_late_message_are_taken_in_portions() {
    let mailbox = open();
    pushed(&mailbox.push_late(late(0)));
    let all: Vec<u16> = (1..40_000).collect();
    for some in all.chunks(9_000) {
        pushed(&mailbox.push_once(0, &frames(some.iter().copied()), u32::try_from(some.len()).unwrap()));
    }
    let (mut once, mut turns) = (Vec::new(), 0);
    while mailbox.load().0.messages > 0 {
        once.extend(take(&mailbox, ALL).once);
        turns += 1;
    }
    assert!(once.iter().copied().eq(0..40_000));
    assert_eq!(turns, 5, "280 KB in portions of 64 KiB");
}

#[test]
fn a_batch_is_put_in_under_one_lock() {
    let mailbox = open();
    pushed(&mailbox.push_batch(0, &frames([1, 2]), 2, [queued(3), queued(4)].into_iter()));
    let got = take(&mailbox, ALL);
    assert_eq!((got.once, got.queue), (vec![1, 2], vec![3, 4]));
}

#[test]
fn what_could_not_be_sent_goes_back_to_the_front() {
    let mailbox = open();
    let weight = u32::try_from(queued(1).weight()).unwrap();
    for id in 1..=4 {
        pushed(&mailbox.push_queue(queued(id)));
    }
    let mut taken = Taken::default();
    assert!(!mailbox.take(Want { once: true, queue: 3 }, &mut Vec::new(), &mut taken, Waker::noop()));
    pushed(&mailbox.push_queue(queued(5)));
    assert_eq!(mailbox.load().1, Load { messages: 2, bytes: 5 * weight }, "taken, but not written");
    mailbox.put_back(taken.queue.drain(1..));
    assert_eq!(mailbox.load().1, Load { messages: 4, bytes: 5 * weight }, "nothing counts twice");
    assert_eq!(take(&mailbox, ALL).queue, [2, 3, 4, 5]);
    assert!(take(&mailbox, ALL).asleep);
    assert_eq!(mailbox.load(), (Load::default(), Load::default()));
}

// ---- sleeping and waking ----

#[test]
fn a_sleeping_owner_is_woken_once_and_for_its_lanes_only() {
    type Push = fn(&Mailbox<u8>) -> Option<Waker>;
    let pushes: [(Push, [bool; 4]); 4] = [
        (|mailbox| mailbox.push_once(0, &frames([1]), 1).wake, [true, true, false, false]),
        (|mailbox| mailbox.push_late(late(1)).wake, [true, true, false, false]),
        (|mailbox| mailbox.push_queue(queued(1)).wake, [true, false, true, false]),
        (|mailbox| mailbox.push_control(1), [true, true, true, true]),
    ];
    for (index, want) in [ALL, ONCE, QUEUE, Want { once: false, queue: 0 }].into_iter().enumerate() {
        for (number, (push, wakes)) in pushes.iter().enumerate() {
            let mailbox = open();
            assert!(push(&mailbox).is_none(), "the owner is awake");
            mailbox.clear();
            mailbox.take_control(&mut Vec::new());
            assert!(take(&mailbox, want).asleep);
            assert_eq!(push(&mailbox).is_some(), wakes[index], "push {number} for {want:?}");
            if wakes[index] {
                assert!(push(&mailbox).is_none(), "it is awake already");
                assert!(mailbox.push_control(1).is_none());
            } else {
                assert!(mailbox.push_control(1).is_some(), "it still sleeps for the others");
            }
        }
    }
}

#[test]
fn a_batch_wakes_for_what_is_in_it() {
    for (once, queue) in [(true, false), (false, true), (true, true)] {
        for want in [ONCE, QUEUE] {
            let mailbox = open();
            assert!(take(&mailbox, want).asleep);
            let messages = queue.then(|| queued(1)).into_iter();
            let pushed = mailbox.push_batch(0, &frames([1]), u32::from(once), messages);
            assert_eq!(pushed.wake.is_some(), if want.once { once } else { queue });
        }
    }
}

#[test]
fn the_waker_of_the_last_sleep_is_woken() {
    let mailbox = open();
    let ((first, first_waker), (second, second_waker)) = (Count::waker(), Count::waker());
    assert!(take_with(&mailbox, ALL, &first_waker).asleep);
    assert!(take_with(&mailbox, ALL, &second_waker).asleep);
    mailbox.push_once(0, &frames([1]), 1).wake.unwrap().wake();
    assert_eq!((first.woken(), second.woken()), (0, 1));
    drop(first_waker);
    assert_eq!(Arc::strong_count(&first), 1, "the waker of an earlier sleep is not kept");
}

#[test]
fn an_owner_that_found_something_is_awake() {
    let mailbox = open();
    assert!(take(&mailbox, QUEUE).asleep);
    pushed(&mailbox.push_once(0, &frames([1]), 1));
    assert!(!take(&mailbox, ALL).asleep, "it was woken by something else");
    assert!(mailbox.push_queue(queued(2)).wake.is_none());
    assert!(mailbox.push_control(1).is_none());
    assert!(!mailbox.sleep_for_control(Waker::noop()), "an order waits");
    assert!(mailbox.push_control(2).is_none());
}

#[test]
fn a_blocked_owner_sleeps_for_control() {
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frames([1]), 1));
    assert!(mailbox.sleep_for_control(Waker::noop()));
    assert!(mailbox.push_once(0, &frames([2]), 1).wake.is_none());
    assert!(mailbox.push_queue(queued(3)).wake.is_none());
    assert!(mailbox.push_control(4).is_some());
    assert!(!mailbox.sleep_for_control(Waker::noop()));
    let mut orders = Vec::new();
    mailbox.take_control(&mut orders);
    assert_eq!(orders, [4]);
    assert!(mailbox.sleep_for_control(Waker::noop()));
    let got = take(&mailbox, ALL);
    assert_eq!((got.once, got.queue), (vec![1, 2], vec![3]));
}

// ---- memory ----

#[test]
fn an_idle_mailbox_is_small_and_holds_nothing_else() {
    assert!(size_of::<Mailbox<()>>() <= 256, "{}", size_of::<Mailbox<()>>());
    assert!(size_of::<Late>() <= 40, "{}", size_of::<Late>());
    let mailbox = open();
    for _ in 0..2 {
        pushed(&mailbox.push_once(0, &frames([1]), 1));
        pushed(&mailbox.push_late(late(2)));
        pushed(&mailbox.push_queue(queued(3)));
        assert!(mailbox.push_control(1).is_none());
        assert!(!take(&mailbox, ALL).asleep);
        assert!(take(&mailbox, ALL).asleep);
        assert_eq!(mailbox.lanes.lock().heap_bytes(), 0);
    }
    pushed(&mailbox.push_queue(queued(3)));
    assert_eq!(mailbox.extract(|_| true).len(), 1);
    assert_eq!(mailbox.lanes.lock().heap_bytes(), 0);
}
