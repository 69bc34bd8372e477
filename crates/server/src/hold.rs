//! Holding a publisher back while its receivers catch up.
//!
//! A publisher whose receivers' mailboxes are above half keeps its acknowledgements, so that the publisher's own window
//! stops it. That ends when they are below a quarter, at the latest after 50 ms, and lasts at most 50 ms of any second.
//! Who is still above half then is not waited for any more. Relates to: `broker/patience.rs`, the receivers' side;
//! `connection.rs`, which also leaves its socket unread where that is safe. Leaves out: the acknowledgements.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gantline_protocol::Moment;
use tokio::time::{Sleep, sleep};

use crate::broker::counters::Counters;
use crate::broker::slot::ClientSlot;

/// What a publisher is waiting for.
#[derive(Debug)]
pub(crate) struct Hold {
    receivers: Vec<Arc<ClientSlot>>,
    began: Moment,
    until: Moment,
    timer: Pin<Box<Sleep>>,
}

/// How long a publisher may still be held: what it was held in the last second counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HoldCredit {
    /// Milliseconds for which it was held, in each of the latest slices of time.
    used: [u8; SLICES],
    /// The number of the latest slice.
    slice: u64,
}

impl HoldCredit {
    /// Begins to wait for these receivers, unless the credit of this second is used up.
    pub(crate) fn hold(
        &mut self,
        counters: &Counters,
        receivers: impl Iterator<Item = Arc<ClientSlot>>,
        now: Moment,
    ) -> Option<Hold> {
        let left = self.left(now);
        if left.is_zero() {
            return None;
        }
        counters.holds.add(1);
        let until = now.plus(left);
        let timer = Box::pin(sleep(left));
        let mut hold = Hold { receivers: Vec::new(), began: now, until, timer };
        hold.extend(receivers);
        Some(hold)
    }

    fn left(&mut self, now: Moment) -> Duration {
        self.go_on(now);
        let used = self.used.iter().copied().map(u32::from).sum();
        Duration::from_millis(LONGEST.saturating_sub(used).into())
    }

    /// Forgets the slices that are over.
    fn go_on(&mut self, now: Moment) {
        let slice = now.as_millis() / SLICE;
        let passed = slice.saturating_sub(self.slice).min(SLICES as u64);
        (0..passed).for_each(|back| self.used[((slice - back) % SLICES as u64) as usize] = 0);
        self.slice = self.slice.max(slice);
    }

    /// A hold is over.
    pub(crate) fn used(&mut self, hold: &Hold, now: Moment) {
        // A hold that was shorter than a millisecond counts as one, so that the sum stays bounded.
        let millis = now.since(hold.began).as_millis().max(1);
        self.spend(u8::try_from(millis).unwrap_or(u8::MAX), now);
    }

    fn spend(&mut self, millis: u8, now: Moment) {
        self.go_on(now);
        let used = &mut self.used[(self.slice % SLICES as u64) as usize];
        *used = used.saturating_add(millis);
    }
}

impl Hold {
    /// Adds receivers that have filled up meanwhile.
    pub(crate) fn extend(&mut self, receivers: impl Iterator<Item = Arc<ClientSlot>>) {
        self.receivers.extend(receivers);
        self.receivers.sort_unstable_by_key(Arc::as_ptr);
        self.receivers.dedup_by(|one, other| Arc::ptr_eq(one, other));
    }

    /// Whether it is over. If not, the task is woken when it may be.
    pub(crate) fn poll(&mut self, counters: &Counters, now: Moment, cx: &mut Context<'_>) -> Poll<()> {
        self.receivers.retain(|slot| slot.mailbox.wait_for_room(cx.waker()));
        if self.receivers.is_empty() {
            return Poll::Ready(());
        }
        if self.until > now && self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        for slot in &self.receivers {
            if slot.mailbox.above_half() && slot.patience.exhaust() {
                slot.quarantined(counters);
            }
        }
        Poll::Ready(())
    }
}

/// The most that a publisher is held, in milliseconds of any second.
pub(crate) const LONGEST: u32 = 50;
/// Time is cut into slices of so many milliseconds, and a second touches at most so many of them.
const SLICE: u64 = 250;
const SLICES: usize = 5;

#[cfg(test)]
mod tests {
    use gantline_protocol::Moment;

    use super::{HoldCredit, LONGEST};

    /// Begin and end of the holds of a publisher that is held for up to so many milliseconds if it may be, and then
    /// publishes for so many, over and over.
    fn holds(schedule: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let (mut credit, mut now, mut holds) = (HoldCredit::default(), 0, Vec::new());
        for &(most, pause) in schedule.iter().cycle() {
            if now >= 10_000 {
                break;
            }
            let left = credit.left(Moment::from_millis(now)).as_millis() as u64;
            if left > 0 {
                let end = now + left.min(most);
                credit.spend((end - now) as u8, Moment::from_millis(end));
                holds.push((now, end));
                now = end;
            }
            now += pause;
        }
        holds
    }

    #[test]
    fn nobody_is_held_longer_than_50_ms_of_any_second() {
        let schedules: [&[_]; 6] = [
            &[(50, 1)],
            &[(1, 1)],
            &[(1, 949), (50, 1), (50, 1)],
            &[(3, 17)],
            &[(20, 300)],
            &[(49, 901), (7, 1)],
        ];
        for schedule in schedules {
            let holds = holds(schedule);
            for from in 0..9_000 {
                let held = holds
                    .iter()
                    .map(|(begin, end)| end.min(&(from + 1_000)).saturating_sub(*begin.max(&from)));
                let held: u64 = held.sum();
                assert!(held <= LONGEST.into(), "{held} ms behind {from} by {schedule:?}");
            }
        }
    }

    #[test]
    fn what_was_used_is_there_again_after_a_second_and_a_slice() {
        let mut credit = HoldCredit::default();
        credit.spend(50, Moment::from_millis(249));
        assert!(credit.left(Moment::from_millis(1_249)).is_zero());
        assert_eq!(credit.left(Moment::from_millis(1_250)).as_millis(), 50);
        assert_eq!(credit.left(Moment::from_millis(1 << 40)).as_millis(), 50);
    }
}
