//! Models of sleeping and waking: under every schedule that the checker tries, nothing waits for ever and nothing is
//! lost.
//!
//! A lost wake-up shows as a deadlock. The schedules come from fixed seeds, so a model passes always or never.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::{Message, Moment, Outbound, QoS};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use super::{Budget, Late, Mailbox, MailboxLimits, Overflow, Pushed, Taken, Want};

const SEED: u64 = 0x6d71_7474;
const SCHEDULES: usize = 10_000;
const ALL: Want = Want { once: true, queue: u16::MAX };

/// Runs a model under many schedules: half of them arbitrary, half with few but nasty preemptions.
fn model(body: impl Fn() + Send + Sync + Clone + 'static) {
    Runner::new(RandomScheduler::new_from_seed(SEED, SCHEDULES), Config::default()).run(body.clone());
    Runner::new(PctScheduler::new_from_seed(SEED, 3, SCHEDULES), Config::default()).run(body);
}

fn mailbox(limits: MailboxLimits) -> Arc<Mailbox<u32>> {
    Arc::new(Mailbox::new(limits, Arc::new(Budget::unlimited())))
}

fn frame(id: u8) -> [u8; 6] {
    [0x30, 4, 0, 1, b'a', id]
}

fn message(id: u8, qos: QoS) -> Outbound {
    Outbound::new(&Message::new("a", vec![id]).unwrap().qos(qos), Moment::ZERO)
}

fn wake(pushed: Pushed) {
    assert_eq!(pushed.dropped, 0);
    wake_owner(pushed.wake);
}

fn wake_owner(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// An owner as a connection task is one, and what it has got.
struct Owner {
    mailbox: Arc<Mailbox<u32>>,
    out: Vec<u8>,
    taken: Taken<u32>,
    once: Vec<u8>,
    queue: Vec<u8>,
    control: Vec<u32>,
}

impl Owner {
    fn new(mailbox: &Arc<Mailbox<u32>>) -> Self {
        Self {
            mailbox: Arc::clone(mailbox),
            out: Vec::new(),
            taken: Taken::default(),
            once: Vec::new(),
            queue: Vec::new(),
            control: Vec::new(),
        }
    }

    fn got(&self) -> usize {
        self.once.len() + self.queue.len() + self.control.len()
    }

    /// Takes until there is nothing and the owner sleeps, or it has got enough.
    fn poll(&mut self, cx: &Context<'_>, want: Want, enough: impl Fn(&Self) -> bool) -> Poll<()> {
        while !enough(self) {
            if self.mailbox.take(want, &mut self.out, &mut self.taken, cx.waker()) {
                return Poll::Pending;
            }
            self.note();
        }
        Poll::Ready(())
    }

    fn note(&mut self) {
        self.once.extend(self.out.drain(..).skip(5).step_by(6));
        for late in self.taken.late.drain(..) {
            match late {
                Late::Message(message) => self.once.extend(message.frame.payload()),
                Late::Finished(bytes, _) => self.once.extend(bytes.iter().skip(5).step_by(6)),
            }
        }
        self.queue.extend(self.taken.queue.drain(..).map(|message| message.frame.payload()[0]));
        self.control.append(&mut self.taken.control);
    }

    fn run(&mut self, want: Want, enough: impl Fn(&Self) -> bool) {
        block_on(poll_fn(|cx| self.poll(cx, want, &enough)));
    }
}

#[test]
fn shuttle_every_lane_wakes_the_owner() {
    model(|| {
        let mailbox = mailbox(MailboxLimits::default());
        let pushers: [fn(&Mailbox<u32>); 5] = [
            |mailbox| (0..2).for_each(|id| wake(mailbox.push_once(0, &frame(id), 1))),
            |mailbox| wake(mailbox.push_late(message(9, QoS::AtMostOnce))),
            |mailbox| (0..2).for_each(|id| wake(mailbox.push_queue(message(id, QoS::AtLeastOnce)))),
            |mailbox| {
                let queue = [message(7, QoS::ExactlyOnce)].into_iter();
                wake(mailbox.push_batch(0, &frame(7), 1, queue));
            },
            |mailbox| (0..2).for_each(|order| wake_owner(mailbox.push_control(order))),
        ];
        let threads = pushers.map(|push| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || push(&mailbox))
        });
        let mut owner = Owner::new(&mailbox);
        // One of the queue at a time, so that it is taken in several turns.
        owner.run(Want { once: true, queue: 1 }, |owner| owner.got() == 9);
        for thread in threads {
            thread.join().unwrap();
        }
        let of = |ids: &[u8]| ids.iter().filter(|id| **id < 2).copied().collect::<Vec<_>>();
        assert_eq!((of(&owner.once), of(&owner.queue)), (vec![0, 1], vec![0, 1]));
        assert_eq!(owner.control, [0, 1]);
        owner.once.sort_unstable();
        owner.queue.sort_unstable();
        assert_eq!((owner.once, owner.queue), (vec![0, 1, 7, 9], vec![0, 1, 7]));
    });
}

/// What comes for a lane that the owner does not want must not use up the wake-up of one that it wants.
#[test]
fn shuttle_a_lane_that_is_not_wanted_leaves_the_sleep_of_the_others() {
    for (want, other_first) in
        [(Want { once: true, queue: 0 }, true), (Want { once: false, queue: 1 }, false)]
    {
        model(move || {
            let mailbox = mailbox(MailboxLimits::default());
            let (first, second) = (Arc::clone(&mailbox), Arc::clone(&mailbox));
            let once = thread::spawn(move || wake(first.push_once(0, &frame(1), 1)));
            let queue = thread::spawn(move || wake(second.push_queue(message(1, QoS::AtLeastOnce))));
            let mut owner = Owner::new(&mailbox);
            owner.run(want, |owner| owner.got() == 1);
            assert_eq!(owner.once.len(), usize::from(other_first));
            once.join().unwrap();
            queue.join().unwrap();
            owner.run(ALL, |owner| owner.got() == 2);
        });
    }
}

/// While the output is blocked only orders wake; what was pushed meanwhile is there afterwards.
#[test]
fn shuttle_a_blocked_owner_is_woken_by_control() {
    model(|| {
        let mailbox = mailbox(MailboxLimits::default());
        let (first, second) = (Arc::clone(&mailbox), Arc::clone(&mailbox));
        let messages = thread::spawn(move || {
            wake(first.push_once(0, &frame(1), 1));
            wake(first.push_queue(message(1, QoS::AtLeastOnce)));
        });
        let orders = thread::spawn(move || (0..2).for_each(|order| wake_owner(second.push_control(order))));
        let mut owner = Owner::new(&mailbox);
        block_on(poll_fn(|cx| {
            while owner.control.len() < 2 {
                if mailbox.sleep_for_control(cx.waker()) {
                    return Poll::Pending;
                }
                mailbox.take_control(&mut owner.control);
            }
            Poll::Ready(())
        }));
        assert_eq!((owner.control.as_slice(), owner.got()), (&[0, 1][..], 2));
        owner.run(ALL, |owner| owner.got() == 4);
        messages.join().unwrap();
        orders.join().unwrap();
    });
}

fn tight() -> MailboxLimits {
    MailboxLimits { once_messages: 8, queue_messages: 8, ..MailboxLimits::default() }
}

async fn room(mailbox: &Mailbox<u32>) {
    poll_fn(|cx| if mailbox.wait_for_room(cx.waker()) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Publishers that wait whenever the mailbox is above a quarter never exceed its bound and never wait for ever.
#[test]
fn shuttle_publishers_that_wait_for_room_go_on() {
    model(|| {
        let mailbox = mailbox(tight());
        let publishers = [0, 4].map(|first| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for id in first..first + 4 {
                    wake(mailbox.push_once(0, &frame(id), 1));
                    wake(mailbox.push_queue(message(id, QoS::AtLeastOnce)));
                    block_on(room(&mailbox));
                }
            })
        });
        let mut owner = Owner::new(&mailbox);
        owner.run(Want { once: true, queue: 2 }, |owner| owner.got() == 16);
        // What was taken counts until the owner comes back, and only then is there room for the last ones.
        assert!(mailbox.take(ALL, &mut owner.out, &mut owner.taken, Waker::noop()), "that was all");
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
}

/// Whoever waits for room is released by everything that makes room, or ends the hope for it.
#[test]
fn shuttle_waiting_publishers_are_released() {
    let releases: [fn(&Mailbox<u32>); 5] = [
        |mailbox| assert_eq!(mailbox.close().len(), 5),
        |mailbox| assert_eq!(mailbox.park(tight()), (0, 0)),
        |mailbox| assert_eq!(mailbox.clear(), 5),
        |mailbox| assert_eq!(mailbox.extract(|_| true).len(), 5),
        |mailbox| mailbox.open(MailboxLimits { queue_messages: 100, ..tight() }, 0),
    ];
    for release in releases {
        model(move || {
            let mailbox = mailbox(tight());
            for id in 0..5 {
                wake(mailbox.push_queue(message(id, QoS::AtLeastOnce)));
            }
            let publisher = thread::spawn({
                let mailbox = Arc::clone(&mailbox);
                move || block_on(room(&mailbox))
            });
            release(&mailbox);
            publisher.join().unwrap();
        });
    }
}

/// A connection leaves and the next one comes while messages keep coming: those of QoS 1 all arrive, in order.
#[test]
fn shuttle_a_mailbox_changes_its_owner() {
    model(|| {
        let limits = MailboxLimits { overflow: Overflow::DropNewest, ..MailboxLimits::default() };
        let mailbox = mailbox(limits);
        let publisher = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                for id in 0..4 {
                    wake(mailbox.push_queue(message(id, QoS::AtLeastOnce)));
                    wake(mailbox.push_once(0, &frame(id), 1));
                }
                wake_owner(mailbox.push_control(1));
            }
        });
        let owners = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                let mut first = Owner::new(&mailbox);
                first.run(ALL, |owner| !owner.queue.is_empty());
                mailbox.park(limits);
                mailbox.open(limits, 0);
                let mut second = Owner::new(&mailbox);
                second.queue = first.queue;
                second.run(ALL, |owner| owner.queue.len() == 4);
                second.queue
            }
        });
        publisher.join().unwrap();
        assert_eq!(owners.join().unwrap(), [0, 1, 2, 3]);
    });
}
