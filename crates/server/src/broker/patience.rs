//! Whether publishers wait for a slow client: the quarantine of decision "slow consumers".
//!
//! A client that was waited for in vain is *quarantined*: nobody waits for it until its mailbox has stayed below a
//! quarter for a second, twice as long at each relapse. So is, before anybody waits, one whose socket has taken nothing
//! for as long as a wait would last: the answer is known. Relates to: `hold.rs`, the publisher's side; the mailbox,
//! which says how full it is. Leaves out: the clock.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use gantline_protocol::Moment;

use crate::hold::LONGEST;

/// The record of one client. A hint for publishers: races between them cost at most one more wait.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Since when the mailbox has been calm, in milliseconds; [`BUSY`] while it is not, [`TRUSTED`] without quarantine.
    calm_since: AtomicU64,
    /// How often the client was quarantined of late.
    relapses: AtomicU8,
    /// Since when the socket has taken nothing, in milliseconds, of which 32 bits are enough; 0 while it takes
    /// something.
    blocked_since: AtomicU32,
}

impl Patience {
    /// Whether nobody is to wait for the client.
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.calm_since.load(Ordering::Relaxed) != TRUSTED
    }

    /// Whether a publisher is to wait for the client, whose mailbox is above half. If that begins a quarantine,
    /// `begins` is told.
    pub(crate) fn is_worth_a_wait(&self, now: Moment, begins: impl FnOnce()) -> bool {
        self.observe(|| false, now);
        let since = self.blocked_since.load(Ordering::Relaxed);
        if since != 0 && short(now).wrapping_sub(since) >= LONGEST && self.exhaust() {
            begins();
        }
        !self.is_exhausted()
    }

    /// The socket takes no more at the moment; `moved` says whether it has just taken something.
    pub(crate) fn block(&self, now: Moment, moved: bool) {
        if moved || self.blocked_since.load(Ordering::Relaxed) == 0 {
            self.blocked_since.store(short(now), Ordering::Relaxed);
        }
    }

    /// The socket took all, or there is a new one.
    #[inline]
    pub(crate) fn unblock(&self) {
        if self.blocked_since.load(Ordering::Relaxed) != 0 {
            self.blocked_since.store(0, Ordering::Relaxed);
        }
    }

    /// Somebody waited in vain. Returns whether a quarantine begins with that.
    pub(crate) fn exhaust(&self) -> bool {
        let begins = self.calm_since.swap(BUSY, Ordering::Relaxed) == TRUSTED;
        if begins {
            let relapses = self.relapses.load(Ordering::Relaxed);
            self.relapses.store(relapses.saturating_add(1), Ordering::Relaxed);
        }
        begins
    }

    /// The mailbox was seen. Ends the quarantine when it has been calm, that is below a quarter, for long enough.
    #[inline]
    pub(crate) fn observe(&self, is_calm: impl FnOnce() -> bool, now: Moment) {
        if self.is_exhausted() {
            self.observe_quarantined(is_calm(), now);
        }
    }

    #[cold]
    fn observe_quarantined(&self, calm: bool, now: Moment) {
        let (since, now) = (self.calm_since.load(Ordering::Relaxed), now.as_millis());
        if since < BUSY && now.saturating_sub(since) >= self.term() {
            // It was calm for long enough before whatever fills it now.
            self.calm_since.store(TRUSTED, Ordering::Relaxed);
        } else if !calm {
            self.calm_since.store(BUSY, Ordering::Relaxed);
        } else if since == BUSY {
            self.calm_since.store(now, Ordering::Relaxed);
        }
    }

    /// How long the mailbox has to be calm, in milliseconds.
    fn term(&self) -> u64 {
        let doublings = self.relapses.load(Ordering::Relaxed).saturating_sub(1);
        LONGEST_TERM.min(FIRST_TERM << doublings.min(10))
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            calm_since: AtomicU64::new(TRUSTED),
            relapses: AtomicU8::new(0),
            blocked_since: AtomicU32::new(0),
        }
    }
}

/// A moment in 32 bits, and never 0.
fn short(moment: Moment) -> u32 {
    (moment.as_millis() as u32).max(1)
}

const TRUSTED: u64 = u64::MAX;
const BUSY: u64 = u64::MAX - 1;
const FIRST_TERM: u64 = 1_000;
const LONGEST_TERM: u64 = 60_000;

#[cfg(test)]
mod tests {
    use gantline_protocol::Moment;

    use super::Patience;

    const fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_client_is_trusted_again_after_a_second_below_a_quarter() {
        let patience = Patience::default();
        assert!(!patience.is_exhausted());
        patience.exhaust();
        patience.observe(|| true, at(100));
        patience.observe(|| true, at(1_099));
        assert!(patience.is_exhausted());
        patience.observe(|| true, at(1_100));
        assert!(!patience.is_exhausted());
    }

    #[test]
    fn a_busy_moment_begins_the_second_anew() {
        let patience = Patience::default();
        patience.exhaust();
        patience.observe(|| true, at(0));
        patience.observe(|| false, at(500));
        patience.observe(|| true, at(900));
        patience.observe(|| true, at(1_800));
        assert!(patience.is_exhausted());
        patience.observe(|| true, at(1_900));
        assert!(!patience.is_exhausted());
    }

    #[test]
    fn a_long_calm_counts_even_if_nobody_looked() {
        let patience = Patience::default();
        patience.exhaust();
        patience.observe(|| true, at(0));
        patience.observe(|| false, at(5_000));
        assert!(!patience.is_exhausted());
    }

    #[test]
    fn who_takes_nothing_for_as_long_as_a_wait_is_not_waited_for() {
        let patience = Patience::default();
        assert!(patience.is_worth_a_wait(at(0), || ()));
        patience.block(at(100), true);
        patience.block(at(120), false);
        assert!(patience.is_worth_a_wait(at(149), || ()), "it may take something yet");
        patience.block(at(149), true);
        assert!(patience.is_worth_a_wait(at(150), || ()), "it has");
        assert!(!patience.is_worth_a_wait(at(199), || ()));
        patience.unblock();
        assert!(!patience.is_worth_a_wait(at(200), || ()), "not before the quarantine is over");
    }

    #[test]
    fn a_socket_that_took_all_is_not_blocked() {
        let patience = Patience::default();
        patience.block(at(0), false);
        patience.unblock();
        assert!(patience.is_worth_a_wait(at(1_000), || ()));
    }

    #[test]
    fn the_clock_may_go_beyond_32_bits() {
        let patience = Patience::default();
        patience.block(at((1 << 32) - 10), false);
        assert!(patience.is_worth_a_wait(at(1 << 32), || ()));
        assert!(!patience.is_worth_a_wait(at((1 << 32) + 41), || ()));
    }

    #[test]
    fn the_term_doubles_with_each_relapse_up_to_a_minute() {
        let patience = Patience::default();
        let mut now = 0;
        for term in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            patience.exhaust();
            patience.observe(|| true, at(now));
            patience.observe(|| true, at(now + term - 1));
            assert!(patience.is_exhausted(), "{term}");
            patience.observe(|| true, at(now + term));
            assert!(!patience.is_exhausted(), "{term}");
            now += term;
        }
    }
}
