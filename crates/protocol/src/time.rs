//! Time as the state machines see it: a number that the caller passes in.
//!
//! Relates to: the machines and timers, which compare moments. Leaves out: clocks. Nothing in this crate asks what time
//! it is, so a test can let a day pass in a microsecond.

use std::time::Duration;

/// A point in time: milliseconds since a base that the caller chose, such as the start of its process.
///
/// Moments of different bases must not be mixed. The default is [`Moment::ZERO`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The base itself.
    pub const ZERO: Self = Self(0);

    /// Later than every other moment: "no timeout", "does not expire".
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment so many milliseconds after the base.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The milliseconds since the base.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment so much later, in whole milliseconds. What would be beyond [`NEVER`](Self::NEVER) is `NEVER`.
    pub const fn plus(self, span: Duration) -> Self {
        let millis = span.as_millis();
        if millis > u64::MAX as u128 { Self::NEVER } else { Self(self.0.saturating_add(millis as u64)) }
    }

    /// The moment so many seconds later, as intervals on the wire are given.
    pub const fn plus_secs(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds as u64 * 1000))
    }

    /// How much time has passed since `earlier`; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_stays_never() {
        assert_eq!(Moment::NEVER.plus_secs(1), Moment::NEVER);
        assert_eq!(Moment::ZERO.plus(Duration::MAX), Moment::NEVER);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let (early, late) = (Moment::from_millis(250), Moment::from_millis(1250));
        assert_eq!(late.since(early), Duration::from_secs(1));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.plus_secs(1), late);
    }
}
