//! The clock of a server or a client: moments since it began.
//!
//! A task reads it once for each wake-up and hands the moment down. Relates to: [`Moment`], time as everything
//! synchronous sees it. Leaves out: waiting.

use gantline_protocol::Moment;
use tokio::time::Instant;

/// Where the moments of a server or a client begin. It follows tokio's time, which a test can pause.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::new_without_default, reason = "no two of them are equal")]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// The present.
    #[inline]
    pub fn now(self) -> Moment {
        Moment::ZERO.plus(self.began.elapsed())
    }

    /// The instant of a moment of this clock; `None` if it never comes.
    pub fn instant(self, moment: Moment) -> Option<Instant> {
        if moment == Moment::NEVER { None } else { self.began.checked_add(moment.since(Moment::ZERO)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moment_and_its_instant_are_the_same_time() {
        tokio::time::advance(Duration::from_secs(5)).await;
        let clock = Clock::new();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), Moment::from_millis(3_000));
        assert_eq!(clock.instant(clock.now()), Some(Instant::now()));
        assert_eq!(clock.instant(Moment::NEVER), None);
    }
}
