//! How long one publisher waits for its acknowledgements, and for how much of a second it was held back.
//!
//! Acknowledgements come in the order of their messages, so the first that comes belongs to the oldest message that is
//! open. A broker that holds a publisher back keeps several acknowledgements at once: their waits overlap, and time
//! counts once. Relates to: `publisher`, which owns one. Leaves out: why somebody waits.

use std::{collections::VecDeque, time::Duration};

use crate::bench::histogram::Histogram;

const SECOND: u64 = 1_000_000_000;

/// The waits of one publisher. All times are in nanoseconds since the same start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// When the messages were sent that are not acknowledged.
    open: VecDeque<u64>,
    long: Vec<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    sent: u64,
    acknowledged: u64,
}

impl Waits {
    /// Waits that are shorter go into the histogram only.
    pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

    /// A message was sent.
    pub(crate) fn sent(&mut self, now: u64) {
        self.open.push_back(now);
    }

    /// The oldest open message was acknowledged; its wait goes into `all` as well.
    pub(crate) fn acknowledged(&mut self, now: u64, all: &mut Histogram) {
        let Some(sent) = self.open.pop_front() else { return };
        let wait = now.saturating_sub(sent);
        all.add(wait);
        if Duration::from_nanos(wait) >= Self::SHORTEST {
            self.long.push(Wait { sent, acknowledged: now });
        }
    }

    /// The longest time for which the publisher was held back in any one second: for which an acknowledgement was
    /// missing that is normally there within `normal`, which is at least [`SHORTEST`](Self::SHORTEST).
    pub(crate) fn worst_second(&self, normal: Duration) -> Duration {
        let held = self.held(normal.as_nanos() as u64);
        // The worst second may begin with a hold: what a later one gains at its end it loses at its beginning.
        let from = |(index, first): (usize, &(u64, u64))| {
            let end = first.0 + SECOND;
            let within = held[index..].iter().take_while(|hold| hold.0 < end);
            within.map(|hold| hold.1.min(end) - hold.0).sum()
        };
        Duration::from_nanos(held.iter().enumerate().map(from).max().unwrap_or(0))
    }

    /// Begin and end of each time in which an acknowledgement was overdue, in order and without overlap.
    fn held(&self, normal: u64) -> Vec<(u64, u64)> {
        let mut held: Vec<(u64, u64)> = Vec::new();
        for wait in &self.long {
            let (begin, end) = (wait.sent + normal, wait.acknowledged);
            match held.last_mut() {
                _ if end <= begin => {}
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ => held.push((begin, end)),
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const NORMAL: Duration = Duration::from_millis(2);

    /// Messages that were sent and acknowledged at these milliseconds.
    fn waits(messages: &[(u64, u64)]) -> (Waits, Histogram) {
        let (mut waits, mut all) = (Waits::default(), Histogram::default());
        messages.iter().for_each(|(sent, _)| waits.sent(sent * MS));
        messages.iter().for_each(|(_, acknowledged)| waits.acknowledged(acknowledged * MS, &mut all));
        (waits, all)
    }

    fn worst(messages: &[(u64, u64)]) -> u128 {
        waits(messages).0.worst_second(NORMAL).as_millis()
    }

    #[test]
    fn a_normal_wait_holds_nobody() {
        let (waits, all) = waits(&[(0, 1), (5, 7), (9, 9)]);
        assert_eq!(waits.worst_second(NORMAL), Duration::ZERO);
        assert_eq!(all.highest(), 2 * MS);
    }

    #[test]
    fn time_counts_once_when_several_acknowledgements_are_kept() {
        assert_eq!(worst(&[(0, 52), (10, 52), (20, 52)]), 50);
        assert_eq!(worst(&[(0, 22), (10, 52)]), 40 + 10, "2 to 22, then 12 to 52");
    }

    #[test]
    fn holds_add_up_within_a_second_only() {
        assert_eq!(worst(&[(0, 32), (500, 522)]), 50);
        assert_eq!(worst(&[(0, 32), (1500, 1522)]), 30);
        assert_eq!(worst(&[(0, 12), (900, 932), (1100, 1142)]), 70, "the second need not begin with the run");
        assert_eq!(worst(&[(0, 52), (990, 1022)]), 50 + 10, "2 to 52 and 992 to 1002");
    }

    #[test]
    fn nobody_is_held_for_more_than_a_second_of_a_second() {
        assert_eq!(worst(&[(0, 5000)]), 1000);
        assert_eq!(worst(&[(0, 5000), (5100, 5202), (5300, 5402)]), 1000);
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_no_wait() {
        let (mut waits, mut all) = (Waits::default(), Histogram::default());
        waits.acknowledged(5, &mut all);
        assert_eq!((waits.worst_second(NORMAL), all.highest()), (Duration::ZERO, 0));
    }
}
