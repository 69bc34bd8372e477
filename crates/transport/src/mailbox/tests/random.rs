//! Any sequence of operations against a list of messages for each class.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    Once(Vec<usize>),
    Late(usize),
    Queue(usize),
    Batch(Vec<usize>, Vec<usize>),
    Control,
    Take(bool, u16),
    PutBack(usize),
    Park,
    Open,
    Clear,
    Extract,
}

fn operation() -> impl Strategy<Value = Operation> {
    // Mostly small, with some that fill a take or a chunk.
    let len = || prop_oneof![8 => 2..60usize, 2 => 1000..5000usize, 1 => 20_000..40_000usize];
    let lens = move || vec(len(), 1..6);
    prop_oneof![
        6 => lens().prop_map(Operation::Once),
        3 => len().prop_map(Operation::Late),
        6 => len().prop_map(Operation::Queue),
        3 => (lens(), lens()).prop_map(|(once, queue)| Operation::Batch(once, queue)),
        1 => Just(Operation::Control),
        8 => (any::<bool>(), 0..5u16).prop_map(|(once, queue)| Operation::Take(once, queue)),
        2 => (0..3usize).prop_map(Operation::PutBack),
        1 => Just(Operation::Park),
        2 => Just(Operation::Open),
        1 => Just(Operation::Clear),
        1 => Just(Operation::Extract),
    ]
}

/// The messages of one class: their ids and sizes.
#[derive(Default)]
struct Class {
    held: VecDeque<(u16, u32)>,
    unwritten: u32,
    most: (u32, u32),
}

impl Class {
    fn load(&self) -> Load {
        let bytes = self.held.iter().map(|(_, bytes)| bytes).sum::<u32>() + self.unwritten;
        Load { messages: u32::try_from(self.held.len()).unwrap(), bytes }
    }

    fn is_within(&self) -> bool {
        let Load { messages, bytes } = self.load();
        messages <= 1 || (messages <= self.most.0 && bytes <= self.most.1)
    }

    /// Adds what fits and returns how many were lost.
    fn push(&mut self, messages: &[(u16, u32)], overflow: Overflow) -> u32 {
        let mut lost = 0;
        for message in messages {
            self.held.push_back(*message);
            if overflow != Overflow::DropOldest && (lost > 0 || !self.is_within()) {
                self.held.pop_back();
                lost += 1;
            }
            while overflow == Overflow::DropOldest && !self.is_within() {
                self.held.pop_front();
                lost += 1;
            }
        }
        lost
    }

    /// The owner took these, which must be the first ones.
    fn took(&mut self, ids: &[u16]) {
        self.unwritten = 0;
        for id in ids {
            let (expected, bytes) = self.held.pop_front().unwrap();
            assert_eq!(*id, expected, "in order");
            self.unwritten += bytes;
        }
    }
}

struct Run {
    mailbox: Mailbox<u8>,
    budget: Arc<Budget>,
    limits: MailboxLimits,
    once: Class,
    queue: Class,
    parked: bool,
    orders: usize,
    last: Vec<Outbound>,
    next: u16,
}

impl Run {
    fn new(limits: MailboxLimits) -> Self {
        let budget = Arc::new(Budget::unlimited());
        let once = Class { most: (limits.once_messages, limits.once_bytes), ..Class::default() };
        let queue = Class { most: (limits.queue_messages, limits.queue_bytes), ..Class::default() };
        let mailbox = Mailbox::new(limits, Arc::clone(&budget));
        Self { mailbox, budget, limits, once, queue, parked: false, orders: 0, last: Vec::new(), next: 0 }
    }

    fn id(&mut self) -> u16 {
        self.next += 1;
        self.next
    }

    fn finished(&mut self, lens: &[usize]) -> (Vec<u8>, Vec<(u16, u32)>) {
        let (mut bytes, mut known) = (Vec::new(), Vec::new());
        for len in lens {
            let id = self.id();
            let frame = frame(id, *len);
            known.push((id, u32::try_from(frame.len()).unwrap()));
            bytes.extend(frame);
        }
        (bytes, known)
    }

    fn message(&mut self, len: usize, qos: QoS) -> (Outbound, (u16, u32)) {
        let id = self.id();
        let message = message(id, len, qos);
        let bytes = u32::try_from(message.weight()).unwrap();
        (message, (id, bytes))
    }

    fn push_model(&mut self, once: &[(u16, u32)], queue: &[(u16, u32)]) -> u32 {
        let overflow = self.limits.overflow;
        let once = if self.parked { 0 } else { self.once.push(once, overflow) };
        once + queue.iter().map(|one| self.queue.push(&[*one], overflow)).sum::<u32>()
    }

    fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Once(lens) => {
                let (bytes, known) = self.finished(&lens);
                let pushed = self.mailbox.push_once(0, &bytes, u32::try_from(lens.len()).unwrap());
                assert_eq!(pushed.dropped, self.push_model(&known, &[]));
            }
            Operation::Late(len) => {
                let (message, known) = self.message(len, QoS::AtMostOnce);
                assert_eq!(self.mailbox.push_late(message).dropped, self.push_model(&[known], &[]));
            }
            Operation::Queue(len) => {
                let (message, known) = self.message(len, QoS::AtLeastOnce);
                assert_eq!(self.mailbox.push_queue(message).dropped, self.push_model(&[], &[known]));
            }
            Operation::Batch(once, queue) => {
                let (bytes, known_once) = self.finished(&once);
                let queue = queue.iter().map(|len| self.message(*len, QoS::ExactlyOnce));
                let (messages, known_queue): (Vec<_>, Vec<_>) = queue.unzip();
                let once_count = u32::try_from(once.len()).unwrap();
                let pushed = self.mailbox.push_batch(0, &bytes, once_count, messages.into_iter());
                assert_eq!(pushed.dropped, self.push_model(&known_once, &known_queue));
            }
            Operation::Control => {
                assert!(self.mailbox.push_control(0).is_none() || self.orders == 0);
                self.orders += 1;
            }
            Operation::Take(once, queue) => self.take(Want { once, queue }),
            Operation::PutBack(count) => {
                let back: Vec<_> = self.last.drain(self.last.len().saturating_sub(count)..).collect();
                for message in back.iter().rev() {
                    let bytes = u32::try_from(message.weight()).unwrap();
                    self.queue.held.push_front((id(message.frame.payload()), bytes));
                    self.queue.unwritten -= bytes;
                }
                self.mailbox.put_back(back.into_iter());
            }
            Operation::Park => self.park(),
            Operation::Open => {
                self.mailbox.open(self.limits, 0);
                (self.parked, self.once.unwritten, self.queue.unwritten) = (false, 0, 0);
                self.last.clear();
            }
            Operation::Clear => {
                let held = self.once.held.len() + self.queue.held.len();
                assert_eq!(self.mailbox.clear() as usize, held);
                self.once.held.clear();
                self.queue.held.clear();
            }
            Operation::Extract => {
                let found = self.mailbox.extract(|message| id(message.frame.payload()).is_multiple_of(3));
                let known = self.queue.held.iter().map(|(id, _)| *id).filter(|id| id.is_multiple_of(3));
                assert!(found.iter().map(|message| id(message.frame.payload())).eq(known));
                self.queue.held.retain(|(id, _)| !id.is_multiple_of(3));
            }
        }
    }

    fn take(&mut self, want: Want) {
        let (mut out, mut taken) = (Vec::new(), Taken::default());
        let asleep = self.mailbox.take(want, &mut out, &mut taken, Waker::noop());
        let mut once: Vec<u16> = Frames(&out).map(id).collect();
        for late in &taken.late {
            match late {
                Late::Message(message) => once.push(id(message.frame.payload())),
                Late::Finished(frames, _) => once.extend(Frames(frames).map(id)),
            }
        }
        let queue: Vec<u16> = taken.queue.iter().map(|message| id(message.frame.payload())).collect();
        assert_eq!(taken.control.len(), std::mem::take(&mut self.orders));
        assert_eq!(once.is_empty(), !want.once || self.once.held.is_empty(), "some, if there is any");
        assert_eq!(queue.is_empty(), want.queue == 0 || self.queue.held.is_empty());
        assert!(queue.len() <= usize::from(want.queue));
        assert_eq!(asleep, once.is_empty() && queue.is_empty() && taken.control.is_empty());
        self.once.took(&once);
        self.queue.took(&queue);
        self.last = taken.queue;
        let total = u64::from(self.once.load().bytes + self.queue.load().bytes);
        let step = u64::from(Budget::STEP);
        assert_eq!(self.budget.drawn(), total.saturating_sub(step).div_ceil(step) * step);
    }

    fn park(&mut self) {
        let cut = |class: &mut Class| {
            let before = class.held.len();
            class.unwritten = 0;
            while !class.is_within() {
                if self.limits.overflow == Overflow::DropOldest {
                    class.held.pop_front();
                } else {
                    class.held.pop_back();
                }
            }
            u32::try_from(before - class.held.len()).unwrap()
        };
        let lost = (u32::try_from(self.once.held.len()).unwrap(), cut(&mut self.queue));
        assert_eq!(self.mailbox.park(self.limits), lost);
        self.once.held.clear();
        (self.once.unwritten, self.orders, self.parked) = (0, 0, true);
        self.last.clear();
    }

    fn check(&self) {
        assert_eq!(self.mailbox.load(), (self.once.load(), self.queue.load()));
    }
}

fn run(limits: MailboxLimits, operations: Vec<Operation>) {
    let mut run = Run::new(limits);
    for operation in operations {
        run.perform(operation);
        run.check();
    }
    while !run.once.held.is_empty() || !run.queue.held.is_empty() {
        run.take(ALL);
        run.check();
    }
    let budget = Arc::clone(&run.budget);
    drop(run);
    assert_eq!(budget.drawn(), 0);
}

#[test]
fn any_sequence_gives_what_two_lists_give() {
    let limits = (0..3usize, 0..3usize).prop_map(|(overflow, size)| {
        let overflow = [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect][overflow];
        let (messages, bytes) = [(4, 8 << 20), (65_536, 20_000), (65_536, 8 << 20)][size];
        let (once_messages, queue_messages) = (messages, messages + 1);
        MailboxLimits { once_messages, once_bytes: bytes, queue_messages, queue_bytes: bytes, overflow }
    });
    let config = Config { cases: 512, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = (limits, vec(operation(), 0..60));
    let result = runner.run(&strategy, |(limits, operations)| {
        run(limits, operations);
        Ok(())
    });
    result.unwrap();
}
