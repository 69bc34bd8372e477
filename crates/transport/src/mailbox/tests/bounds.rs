//! Bounds, what is lost at them, the budget, and who waits for room.

use super::*;

fn weight(id: u16, len: usize) -> u32 {
    u32::try_from(message(id, len, QoS::AtLeastOnce).weight()).unwrap()
}

fn few(overflow: Overflow) -> MailboxLimits {
    MailboxLimits { once_messages: 3, queue_messages: 3, overflow, ..MailboxLimits::default() }
}

fn small(overflow: Overflow) -> MailboxLimits {
    let (once_bytes, queue_bytes) = (3 * FRAME, 3 * weight(0, 2));
    MailboxLimits { once_bytes, queue_bytes, overflow, ..MailboxLimits::default() }
}

#[test]
fn the_oldest_make_room() {
    for limits in [few(Overflow::DropOldest), small(Overflow::DropOldest)] {
        let mailbox = mailbox(limits);
        pushed(&mailbox.push_once(0, &frames(0..3), 3));
        let lost = mailbox.push_once(0, &frames(3..5), 2);
        assert_eq!((lost.dropped, lost.disconnect), (2, false));
        assert_eq!(mailbox.push_once(0, &frames(5..15), 10).dropped, 10, "more than fit at all");
        for id in 0..3 {
            pushed(&mailbox.push_queue(queued(id)));
        }
        assert_eq!(mailbox.push_queue(queued(3)).dropped, 1);
        let got = take(&mailbox, ALL);
        assert_eq!((got.once, got.queue), (vec![12, 13, 14], vec![1, 2, 3]));
    }
}

#[test]
fn the_newest_are_refused() {
    for (overflow, disconnect) in [(Overflow::DropNewest, false), (Overflow::Disconnect, true)] {
        for limits in [few(overflow), small(overflow)] {
            let mailbox = mailbox(limits);
            pushed(&mailbox.push_once(0, &frames(0..2), 2));
            let lost = mailbox.push_once(0, &frames(2..5), 3);
            assert_eq!((lost.dropped, lost.disconnect), (2, disconnect), "as many as fit are taken");
            assert_eq!(mailbox.push_late(late(5)).dropped, 1);
            for id in 0..3 {
                pushed(&mailbox.push_queue(queued(id)));
            }
            let lost = mailbox.push_queue(queued(3));
            assert_eq!((lost.dropped, lost.disconnect), (1, disconnect));
            let lost = mailbox.push_batch(0, &frames([6]), 1, [queued(4), queued(5)].into_iter());
            assert_eq!((lost.dropped, lost.disconnect), (3, disconnect));
            let got = take(&mailbox, ALL);
            assert_eq!((got.once, got.queue), (vec![0, 1, 2], vec![0, 1, 2]));
        }
    }
}

#[test]
fn the_oldest_of_late_messages_and_the_frames_behind_them_make_room() {
    let mailbox = mailbox(few(Overflow::DropOldest));
    pushed(&mailbox.push_once(0, &frames([0]), 1));
    pushed(&mailbox.push_late(late(1)));
    pushed(&mailbox.push_once(0, &frames([2]), 1));
    for id in 3..6 {
        assert_eq!(mailbox.push_once(0, &frames([id]), 1).dropped, 1);
    }
    assert_eq!(mailbox.load().0, Load { messages: 3, bytes: 3 * FRAME });
    assert_eq!(mailbox.push_late(late(6)).dropped, 1);
    assert_eq!(take(&mailbox, ALL).once, [4, 5, 6]);
}

#[test]
fn an_empty_class_always_takes_one_message() {
    let none = MailboxLimits {
        once_messages: 0,
        once_bytes: 0,
        queue_messages: 0,
        queue_bytes: 0,
        ..few(Overflow::DropNewest)
    };
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect] {
        let budget = Arc::new(Budget::new(0));
        let mailbox = Mailbox::<u8>::new(MailboxLimits { overflow, ..none }, Arc::clone(&budget));
        pushed(&mailbox.push_once(0, &frame(1, 9_000), 1));
        pushed(&mailbox.push_queue(message(2, 9_000, QoS::AtLeastOnce)));
        assert_eq!(mailbox.push_once(0, &frame(3, 9_000), 1).dropped, 1);
        assert_eq!(mailbox.push_queue(message(4, 9_000, QoS::AtLeastOnce)).dropped, 1);
        let got = take(&mailbox, ALL);
        let oldest = overflow == Overflow::DropOldest;
        assert_eq!((got.once, got.queue), if oldest { (vec![3], vec![4]) } else { (vec![1], vec![2]) });
        // What is taken counts, but the class is empty.
        pushed(&mailbox.push_late(message(5, 9_000, QoS::AtMostOnce)));
        assert_eq!(budget.drawn(), 0, "what the budget cannot cover is not drawn");
    }
}

#[test]
fn the_classes_are_bounded_apart_also_by_what_is_unwritten() {
    let mailbox = mailbox(small(Overflow::DropNewest));
    let fill = || {
        pushed(&mailbox.push_once(0, &frames(0..3), 3));
        (0..3).for_each(|id| pushed(&mailbox.push_queue(queued(id))));
    };
    fill();
    assert_eq!(take(&mailbox, QUEUE).queue.len(), 3);
    pushed(&mailbox.push_queue(queued(3)));
    assert_eq!(mailbox.push_queue(queued(4)).dropped, 1, "three are not written yet");
    assert_eq!(mailbox.load().0.bytes, 3 * FRAME, "which is no matter of QoS 0");
    assert_eq!(take(&mailbox, ALL).once.len(), 3);
    pushed(&mailbox.push_once(0, &frames([3]), 1));
    assert_eq!(mailbox.push_once(0, &frames([4]), 1).dropped, 1);
    assert_eq!(take(&mailbox, ALL).once, [3]);
    assert!(take(&mailbox, ALL).asleep);
    fill();
}

#[test]
fn bounds_without_limit_do_not_overflow() {
    let limits = MailboxLimits {
        once_messages: u32::MAX,
        once_bytes: u32::MAX,
        queue_messages: u32::MAX,
        queue_bytes: u32::MAX,
        overflow: Overflow::DropOldest,
    };
    let mailbox = mailbox(limits);
    pushed(&mailbox.push_once(0, &frames(0..2), 2));
    pushed(&mailbox.push_queue(queued(2)));
    assert!(!mailbox.above_quarter());
    assert_eq!(take(&mailbox, ALL).once, [0, 1]);
}

#[test]
fn dropping_the_oldest_of_many_costs_little() {
    // Were the buffer moved at each drop, this would copy terabytes.
    let limits = MailboxLimits { once_messages: 100_000, ..MailboxLimits::default() };
    for held_up in [false, true] {
        let mailbox = mailbox(limits);
        if held_up {
            pushed(&mailbox.push_late(late(0)));
        }
        let many = frames((0..1000).map(|id| id % 7));
        for _ in 0..100 {
            let _ = mailbox.push_once(0, &many, 1000);
        }
        for _ in 0..100 {
            assert_eq!(mailbox.push_once(0, &many, 1000).dropped, 1000);
        }
        assert_eq!(mailbox.load().0, Load { messages: 100_000, bytes: 100_000 * FRAME });
    }
}

// ---- budget ----

#[test]
fn the_budget_is_drawn_in_steps_and_given_back() {
    let budget = Arc::new(Budget::new(u64::from(4 * Budget::STEP)));
    let mailbox = Mailbox::<u8>::new(MailboxLimits::default(), Arc::clone(&budget));
    pushed(&mailbox.push_once(0, &frame(1, 4000), 1));
    assert_eq!(budget.drawn(), 0, "the first step is free");
    pushed(&mailbox.push_once(0, &frame(2, 4000), 1));
    assert_eq!(budget.drawn(), u64::from(Budget::STEP));
    pushed(&mailbox.push_queue(message(3, 4000, QoS::AtLeastOnce)));
    assert_eq!(budget.drawn(), u64::from(2 * Budget::STEP));
    assert_eq!(take(&mailbox, ALL).once, [1, 2]);
    assert_eq!(budget.drawn(), u64::from(2 * Budget::STEP), "not written yet");
    assert!(take(&mailbox, ALL).asleep);
    assert_eq!(budget.drawn(), 0);
}

#[test]
fn an_exhausted_budget_is_a_bound() {
    for (overflow, left) in [(Overflow::DropOldest, vec![2]), (Overflow::DropNewest, vec![1])] {
        let budget = Arc::new(Budget::new(u64::from(2 * Budget::STEP)));
        assert_eq!(budget.limit(), 8192);
        let mailbox = || {
            Mailbox::<u8>::new(MailboxLimits { overflow, ..MailboxLimits::default() }, Arc::clone(&budget))
        };
        let (first, second) = (mailbox(), mailbox());
        pushed(&first.push_queue(message(0, 12_000, QoS::AtLeastOnce)));
        assert_eq!(budget.drawn(), 8192);
        pushed(&second.push_once(0, &frame(1, 4000), 1));
        assert_eq!(second.push_once(0, &frame(2, 4000), 1).dropped, 1);
        assert_eq!(take(&second, ALL).once, left);
        assert_eq!(first.extract(|_| true).len(), 1);
        assert_eq!(budget.drawn(), 0, "what is extracted is given back");
        assert!(take(&second, ALL).asleep);
        (0..3).for_each(|id| pushed(&second.push_once(0, &frame(id, 4000), 1)));
    }
}

#[test]
fn the_budget_comes_back_however_messages_leave() {
    let leave: [fn(&Mailbox<u8>); 3] = [
        |mailbox| assert_eq!(mailbox.clear(), 4),
        |mailbox| assert_eq!(mailbox.park(few(Overflow::DropOldest)), (2, 0)),
        |_| {},
    ];
    for (index, leave) in leave.iter().enumerate() {
        let budget = Arc::new(Budget::unlimited());
        let mailbox = Mailbox::<u8>::new(MailboxLimits::default(), Arc::clone(&budget));
        for id in 0..2 {
            pushed(&mailbox.push_once(0, &frame(id, 20_000), 1));
            pushed(&mailbox.push_queue(message(id, 20_000, QoS::AtLeastOnce)));
        }
        leave(&mailbox);
        assert_eq!(budget.drawn(), [0, 36_864, 77_824][index]);
        drop(mailbox);
        assert_eq!(budget.drawn(), 0);
    }
}

// ---- room ----

#[test]
fn a_push_says_when_a_class_is_above_half() {
    let limits = MailboxLimits { once_messages: 4, queue_messages: 4, ..MailboxLimits::default() };
    let mailbox = mailbox(limits);
    for id in 0..2 {
        assert!(!mailbox.push_once(0, &frames([id]), 1).above_half);
        assert!(!mailbox.push_queue(queued(id)).above_half);
    }
    assert!(!mailbox.above_half() && mailbox.above_quarter());
    assert!(mailbox.push_queue(queued(2)).above_half && mailbox.above_half());
    mailbox.park(limits);
    assert!(!mailbox.push_queue(queued(3)).above_half, "nobody waits for a parked one");
    assert!(!mailbox.above_half() && !mailbox.above_quarter());
}

#[test]
fn waiting_publishers_are_woken_once_both_classes_are_below_a_quarter() {
    let limits = MailboxLimits { once_messages: 8, queue_messages: 8, ..MailboxLimits::default() };
    let mailbox = mailbox(limits);
    let ((first, first_waker), (second, second_waker)) = (Count::waker(), Count::waker());
    let woken = || (first.woken(), second.woken());
    pushed(&mailbox.push_once(0, &frames(0..2), 2));
    assert!(!mailbox.wait_for_room(&first_waker), "a quarter is not above a quarter");
    pushed(&mailbox.push_once(0, &frames(2..5), 3));
    (0..5).for_each(|id| pushed(&mailbox.push_queue(queued(id))));
    assert!(mailbox.wait_for_room(&first_waker) && mailbox.wait_for_room(&second_waker));
    assert!(mailbox.wait_for_room(&first_waker), "again, but it waits once");
    assert_eq!(take(&mailbox, ONCE).once.len(), 5);
    assert_eq!(take(&mailbox, Want { once: true, queue: 2 }).queue.len(), 2);
    assert_eq!(woken(), (0, 0));
    assert_eq!(take(&mailbox, Want { once: true, queue: 1 }).queue.len(), 1);
    assert_eq!(woken(), (1, 1));
    assert!(!mailbox.wait_for_room(&first_waker));
}

#[test]
fn unwritten_bytes_take_room_until_the_owner_comes_back() {
    let mailbox = mailbox(small(Overflow::DropOldest));
    let (count, waker) = Count::waker();
    pushed(&mailbox.push_once(0, &frames(0..3), 3));
    assert!(mailbox.wait_for_room(&waker));
    assert_eq!(take(&mailbox, ALL).once.len(), 3);
    assert_eq!((count.woken(), mailbox.above_half()), (0, true));
    assert!(take(&mailbox, ALL).asleep);
    assert_eq!((count.woken(), mailbox.above_half()), (1, false));
}

#[test]
fn whoever_waits_is_released_when_there_is_nobody_to_wait_for() {
    let limits = few(Overflow::DropOldest);
    let ends: [fn(Mailbox<u8>); 4] = [
        |mailbox| assert_eq!(mailbox.park(few(Overflow::DropOldest)), (3, 0)),
        |mailbox| assert_eq!(mailbox.clear(), 6),
        |mailbox| mailbox.open(MailboxLimits::default(), 0),
        drop,
    ];
    for end in ends {
        let (count, waker) = Count::waker();
        let mailbox = mailbox(limits);
        pushed(&mailbox.push_once(0, &frames(0..3), 3));
        (0..3).for_each(|id| pushed(&mailbox.push_queue(queued(id))));
        assert!(mailbox.wait_for_room(&waker));
        end(mailbox);
        assert_eq!(count.woken(), 1);
    }
}
