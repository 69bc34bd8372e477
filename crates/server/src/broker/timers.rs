//! The timer wheel: what falls due, in steps of 100 ms.
//!
//! Relates to: keep-alive, CONNECT time-outs, will delays and session expiry, which all use one wheel. Leaves out: the
//! clock, and cancelling: who schedules looks again whether the matter still stands when it falls due.
//!
//! The wheel has ten levels of 64 slots. A slot of the first level is one tick, a slot of each further level is as long
//! as the whole level before it. An entry stands on the level on which its tick first differs from the present one, and
//! moves down when the present reaches its slot: at most ten moves, however far away it is.

use std::array;
use std::mem;

use gantline_protocol::Moment;

/// Entries by the moment at which they fall due.
#[derive(Debug)]
pub(crate) struct TimerWheel<T> {
    /// The present: all entries of earlier ticks and of this one have fallen due.
    tick: u64,
    /// Scheduled for the present or the past.
    overdue: Vec<T>,
    /// Each entry of a level differs from the present first in the digit of that level, and is ahead there.
    levels: Box<[Level<T>]>,
}

impl<T> TimerWheel<T> {
    /// How many entries wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.overdue.len() + self.levels.iter().flat_map(|level| &level.slots).map(Vec::len).sum::<usize>()
    }

    /// Schedules an entry. It falls due not before `at` and at most a tick after it; with [`Moment::NEVER`] it is
    /// dropped at once.
    pub(crate) fn schedule(&mut self, at: Moment, entry: T) {
        if at == Moment::NEVER {
            return;
        }
        self.place(at.as_millis().div_ceil(TICK), entry);
    }

    /// Appends all entries to `out` that have fallen due, in the order of their ticks.
    pub(crate) fn advance(&mut self, now: Moment, out: &mut Vec<T>) {
        out.append(&mut mem::take(&mut self.overdue));
        let target = now.as_millis() / TICK;
        while let Some((level, slot, start)) = self.first_slot()
            && start <= target
        {
            self.tick = start;
            for (due, entry) in self.levels[level].take(slot) {
                if due == start {
                    out.push(entry);
                } else {
                    self.place(due, entry);
                }
            }
        }
        self.tick = self.tick.max(target);
    }

    /// When to call [`advance`](Self::advance) next; `None` if nothing is scheduled. Never later than the next entry
    /// falls due, but earlier if that is far away: then the call moves entries only, and each at most ten times.
    pub(crate) fn next(&self) -> Option<Moment> {
        let tick = if self.overdue.is_empty() { self.first_slot()?.2 } else { self.tick };
        Some(Moment::from_millis(tick.saturating_mul(TICK)))
    }

    fn place(&mut self, due: u64, entry: T) {
        if due <= self.tick {
            self.overdue.push(entry);
            return;
        }
        let level = (due ^ self.tick).ilog2() / DIGIT;
        let slot = (due >> (level * DIGIT)) % SLOTS as u64;
        self.levels[level as usize].put(slot as usize, due, entry);
    }

    /// The earliest slot with entries: its level, its number and its first tick. Whatever a lower level holds comes
    /// before all that a higher one holds.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, slot) =
            self.levels.iter().enumerate().find_map(|(level, slots)| Some((level, slots.first()?)))?;
        let shift = level as u32 * DIGIT;
        let level_start = self.tick >> (shift + DIGIT) << (shift + DIGIT);
        Some((level, slot, level_start | (slot as u64) << shift))
    }
}

impl<T> Default for TimerWheel<T> {
    fn default() -> Self {
        Self { tick: 0, overdue: Vec::new(), levels: (0..LEVELS).map(|_| Level::default()).collect() }
    }
}

/// One digit of a tick: entries, with their ticks, by its value.
#[derive(Debug)]
struct Level<T> {
    /// A bit for each slot that is not empty.
    occupied: u64,
    slots: [Vec<(u64, T)>; SLOTS],
}

impl<T> Level<T> {
    fn put(&mut self, slot: usize, due: u64, entry: T) {
        self.occupied |= 1 << slot;
        self.slots[slot].push((due, entry));
    }

    /// Empties a slot, memory included.
    fn take(&mut self, slot: usize) -> Vec<(u64, T)> {
        self.occupied &= !(1 << slot);
        mem::take(&mut self.slots[slot])
    }

    fn first(&self) -> Option<usize> {
        (self.occupied != 0).then(|| self.occupied.trailing_zeros() as usize)
    }
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { occupied: 0, slots: array::from_fn(|_| Vec::new()) }
    }
}

/// The length of a tick in milliseconds.
const TICK: u64 = 100;

/// The bits of a tick that choose the slot of a level.
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;

/// Enough for every tick: 2^64 milliseconds are fewer than 2^58 ticks.
const LEVELS: usize = 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gantline_protocol::Moment;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::{TICK, TimerWheel};

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn due(wheel: &mut TimerWheel<u64>, now: u64) -> Vec<u64> {
        let mut out = Vec::new();
        wheel.advance(at(now), &mut out);
        out
    }

    #[test]
    fn an_entry_falls_due_at_its_tick_and_not_before() {
        let mut wheel = TimerWheel::default();
        wheel.schedule(at(1_000), 1);
        wheel.schedule(at(1_001), 2);
        wheel.schedule(at(1_100), 3);
        assert_eq!(due(&mut wheel, 999), []);
        assert_eq!(due(&mut wheel, 1_000), [1]);
        assert_eq!(wheel.next(), Some(at(1_100)));
        assert_eq!(due(&mut wheel, 1_099), []);
        assert_eq!(due(&mut wheel, 1_100), [2, 3]);
        assert_eq!(wheel.count(), 0);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn what_is_scheduled_for_the_past_falls_due_at_once() {
        let mut wheel = TimerWheel::default();
        assert_eq!(due(&mut wheel, 50_050), []);
        wheel.schedule(at(20), 1);
        wheel.schedule(at(50_000), 2);
        assert!(wheel.next().unwrap() <= at(50_050));
        assert_eq!(due(&mut wheel, 50_050), [1, 2]);
    }

    #[test]
    fn never_is_not_kept() {
        let mut wheel = TimerWheel::default();
        wheel.schedule(Moment::NEVER, 1);
        assert_eq!(wheel.count(), 0);
        wheel.schedule(at(u64::MAX - 1), 2);
        assert_eq!(due(&mut wheel, u64::MAX - 100), []);
        assert_eq!(wheel.count(), 1);
    }

    #[test]
    fn a_far_entry_costs_few_wake_ups() {
        let mut wheel = TimerWheel::default();
        let month = 30 * 24 * 3_600 * 1_000;
        assert_eq!(due(&mut wheel, 123_456_789), []);
        wheel.schedule(at(123_456_789 + month), 1);
        let mut wake_ups = 0;
        loop {
            wake_ups += 1;
            let next = wheel.next().unwrap();
            if due(&mut wheel, next.as_millis()) == [1] {
                assert_eq!(next, at((123_456_789 + month).div_ceil(TICK) * TICK));
                break;
            }
        }
        assert!(wake_ups <= 10, "{wake_ups}");
    }

    #[test]
    fn empty_slots_hold_no_memory() {
        let mut wheel = TimerWheel::default();
        (0..10_000).for_each(|number| wheel.schedule(at(number * 77), number));
        assert_eq!(due(&mut wheel, 10_000 * 77).len(), 10_000);
        assert_eq!(wheel.overdue.capacity(), 0);
        assert!(wheel.levels.iter().flat_map(|level| &level.slots).all(|slot| slot.capacity() == 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule { ahead: u64 },
        Advance { by: u64 },
        Sleep,
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = || prop_oneof![0..500_u64, 0..100_000_u64, 0..(1_u64 << 40), any::<u64>()];
        prop_oneof![
            4 => span().prop_map(|ahead| Step::Schedule { ahead }),
            2 => prop_oneof![0..500_u64, 0..50_000_u64, 0..(1_u64 << 38)].prop_map(|by| Step::Advance { by }),
            2 => (0..1_u8).prop_map(|_| Step::Sleep),
        ]
    }

    proptest! {
        #[test]
        fn everything_falls_due_once_never_early_and_at_most_a_tick_late(steps in vec(step(), 1..200)) {
            let (mut wheel, mut now) = (TimerWheel::default(), 0_u64);
            let mut waiting = BTreeMap::new();
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Schedule { ahead } => {
                        let when = now.saturating_add(ahead).min(1 << 60);
                        wheel.schedule(at(when), number);
                        waiting.insert(number, when);
                        continue;
                    }
                    Step::Advance { by } => now = now.saturating_add(by),
                    Step::Sleep => {
                        let Some(next) = wheel.next() else { continue };
                        let latest = waiting.values().min().unwrap().saturating_add(TICK);
                        prop_assert!(next.as_millis() < latest.max(now.saturating_add(1)), "wakes up too late");
                        now = now.max(next.as_millis());
                    }
                }
                for fired in due(&mut wheel, now) {
                    prop_assert!(waiting.remove(&fired).unwrap() <= now, "early");
                }
                prop_assert!(waiting.values().all(|when| now.saturating_sub(*when) < TICK), "late");
                prop_assert_eq!(wheel.count(), waiting.len());
            }
        }
    }
}
