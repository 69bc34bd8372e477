//! Owners that come and go: opening, parking, closing, clearing.

use super::*;

#[test]
fn a_parked_mailbox_keeps_qos_1_and_2_and_nothing_else() {
    let (count, waker) = Count::waker();
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frames([1, 2]), 2));
    pushed(&mailbox.push_late(late(3)));
    pushed(&mailbox.push_queue(queued(4)));
    assert!(take_with(&mailbox, Want { once: false, queue: 0 }, &waker).asleep);
    assert!(mailbox.push_control(9).is_some());
    assert_eq!(mailbox.park(MailboxLimits::default()), (3, 0));
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1, "the owner's waker is not kept");
    pushed(&mailbox.push_once(0, &frames([5]), 1));
    pushed(&mailbox.push_late(late(6)));
    pushed(&mailbox.push_queue(queued(7)));
    assert_eq!(mailbox.load().0, Load::default());
    mailbox.open(MailboxLimits::default(), 0);
    pushed(&mailbox.push_once(0, &frames([8]), 1));
    let got = take(&mailbox, ALL);
    assert_eq!((got.once, got.queue, got.control), (vec![8], vec![4, 7], vec![]));
}

#[test]
fn parking_forgets_what_was_taken_and_cuts_to_the_new_bounds() {
    for (overflow, left) in [
        (Overflow::DropOldest, vec![4, 5]),
        (Overflow::DropNewest, vec![2, 3]),
        (Overflow::Disconnect, vec![2, 3]),
    ] {
        let mailbox = open();
        for id in 1..=5 {
            pushed(&mailbox.push_queue(queued(id)));
        }
        assert_eq!(take(&mailbox, Want { once: false, queue: 1 }).queue, [1]);
        let limits = MailboxLimits { queue_messages: 2, overflow, ..MailboxLimits::default() };
        assert_eq!(mailbox.park(limits), (0, 2));
        assert_eq!(mailbox.load().1, Load { messages: 2, bytes: 2 * queued(1).weight() as u32 });
        mailbox.open(limits, 0);
        assert_eq!(take(&mailbox, ALL).queue, left);
    }
    let mailbox = open();
    pushed(&mailbox.push_queue(queued(1)));
    assert_eq!(mailbox.park(MailboxLimits { queue_messages: 0, ..MailboxLimits::default() }), (0, 0));
    assert_eq!(mailbox.load().1.messages, 1, "one message is always kept");
}

#[test]
fn clearing_drops_every_message_and_no_order() {
    let mailbox = open();
    pushed(&mailbox.push_once(0, &frames([1]), 1));
    assert_eq!(take(&mailbox, ALL).once, [1]);
    pushed(&mailbox.push_once(0, &frames([2]), 1));
    pushed(&mailbox.push_late(late(3)));
    pushed(&mailbox.push_queue(queued(4)));
    assert!(mailbox.push_control(5).is_none());
    assert_eq!(mailbox.clear(), 3);
    assert_eq!(mailbox.load().0, Load { messages: 0, bytes: FRAME }, "what is unwritten still counts");
    assert_eq!(take(&mailbox, ALL), Got { control: vec![5], ..Got::default() });
    assert!(take(&mailbox, ALL).asleep);
}

#[test]
fn what_is_extracted_is_gone_and_the_rest_keeps_its_order() {
    let mailbox = open();
    for id in 0..7 {
        pushed(&mailbox.push_queue(queued(id)));
    }
    let odd = mailbox.extract(|message| id(message.frame.payload()) % 2 == 1);
    assert!(odd.iter().map(|message| id(message.frame.payload())).eq([1, 3, 5]));
    assert_eq!(mailbox.load().1.messages, 4);
    assert_eq!(take(&mailbox, ALL).queue, [0, 2, 4, 6]);
}

/// A payload of a user's own, whose drop uses the mailbox.
struct Meddling(Arc<Mailbox<u8>>);

impl AsRef<[u8]> for Meddling {
    fn as_ref(&self) -> &[u8] {
        &[0; 5000]
    }
}

impl Drop for Meddling {
    fn drop(&mut self) {
        self.0.load();
    }
}

#[test]
fn no_message_is_dropped_under_the_lock() {
    let limits = MailboxLimits { once_messages: 1, queue_messages: 1, ..MailboxLimits::default() };
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let mailbox = Arc::new(mailbox(MailboxLimits { overflow, ..limits }));
        let meddling = |qos| {
            let payload = bytes::Bytes::from_owner(Meddling(Arc::clone(&mailbox)));
            Outbound::new(&Message::new("a", payload).unwrap().qos(qos), Moment::ZERO)
        };
        for round in 0..3 {
            for _ in 0..2 {
                let _ = mailbox.push_late(meddling(QoS::AtMostOnce));
                let _ = mailbox.push_queue(meddling(QoS::AtLeastOnce));
            }
            match round {
                0 => assert_eq!(mailbox.clear(), 2),
                1 => assert_eq!(mailbox.park(limits), (1, 0)),
                _ => drop(mailbox.push_late(meddling(QoS::AtMostOnce))),
            }
        }
        mailbox.clear();
    }
}

#[test]
fn frames_for_another_owner_do_not_exist() {
    let mailbox = open();
    mailbox.park(MailboxLimits::default());
    mailbox.open(MailboxLimits::default(), 5);
    assert!(take(&mailbox, ALL).asleep);
    for epoch in [0, 4, 6] {
        let refused = mailbox.push_batch(epoch, &frames([1]), 1, std::iter::empty());
        pushed(&refused);
        assert!(refused.wake.is_none(), "there is nothing to be woken for");
    }
    assert!(mailbox.push_batch(4, &frames([1]), 1, [queued(2)].into_iter()).wake.is_some());
    pushed(&mailbox.push_once(5, &frames([3]), 1));
    let got = take(&mailbox, ALL);
    assert_eq!((got.once, got.queue), (vec![3], vec![2]), "only the layout of frames belongs to an owner");
}

#[test]
fn a_closed_mailbox_hands_out_its_queue_and_takes_nothing() {
    let budget = Arc::new(Budget::unlimited());
    let mailbox = Mailbox::<u8>::new(MailboxLimits::default(), Arc::clone(&budget));
    let (count, waker) = Count::waker();
    pushed(&mailbox.push_once(0, &frames([1]), 1));
    pushed(&mailbox.push_late(message(2, 30_000, QoS::AtMostOnce)));
    pushed(&mailbox.push_queue(queued(3)));
    pushed(&mailbox.push_queue(message(4, 3 << 20, QoS::AtLeastOnce)));
    assert!(mailbox.wait_for_room(&waker));
    assert!(mailbox.push_control(5).is_none());
    let left = mailbox.close();
    assert!(left.iter().map(|message| id(message.frame.payload())).eq([3, 4]));
    assert_eq!((count.woken(), budget.drawn()), (1, 0));
    assert_eq!(take(&mailbox, ALL), Got { control: vec![5], ..Got::default() }, "orders still come through");
    assert!(take(&mailbox, ALL).asleep);
    for refused in [
        mailbox.push_once(0, &frames([6]), 1),
        mailbox.push_late(late(6)),
        mailbox.push_queue(queued(6)),
        mailbox.push_batch(0, &frames([6]), 1, [queued(6)].into_iter()),
    ] {
        pushed(&refused);
        assert!(refused.closed && refused.wake.is_none() && !refused.above_half);
    }
    assert_eq!(mailbox.load(), (Load::default(), Load::default()));
    assert!(mailbox.push_control(7).is_some());
    mailbox.open(MailboxLimits::default(), 0);
    assert!(!mailbox.push_queue(queued(8)).closed);
    assert!(mailbox.close().len() == 1 && mailbox.park(MailboxLimits::default()) == (0, 0));
    assert!(!mailbox.push_queue(queued(9)).closed);
    assert_eq!(mailbox.load().1.messages, 1);
}

#[test]
fn nobody_waits_for_a_closed_mailbox() {
    let limits = MailboxLimits { once_bytes: 4 * FRAME, ..MailboxLimits::default() };
    let mailbox = mailbox(limits);
    let (count, waker) = Count::waker();
    pushed(&mailbox.push_once(0, &frames(0..4), 4));
    assert_eq!(take(&mailbox, ALL).once.len(), 4);
    assert!(mailbox.wait_for_room(&waker), "what is unwritten takes the room");
    assert!(mailbox.close().is_empty());
    assert_eq!(count.woken(), 1);
    assert!(!mailbox.wait_for_room(&waker));
}
