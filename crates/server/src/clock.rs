//! The clock of a server: moments since it began.
//!
//! A task reads it once for each wake-up and hands the moment down. Leaves out: waiting.

use std::time::Duration;

use gantline_protocol::Moment;
use tokio::time::Instant;

/// Where the moments of a server begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn new() -> Self {
        // A second on, so that the first moment is not zero, which a wheel takes for the past.
        Self { began: Instant::now() }
    }

    /// The present.
    #[inline]
    pub(crate) fn now(self) -> Moment {
        Moment::ZERO.plus(self.began.elapsed())
    }

    /// The instant of a moment; `None` if it never comes.
    pub(crate) fn instant(self, moment: Moment) -> Option<Instant> {
        if moment == Moment::NEVER { None } else { self.began.checked_add(moment.since(Moment::ZERO)) }
    }

    /// The instant after this much time.
    pub(crate) fn after(self, time: Duration) -> Instant {
        Instant::now() + time
    }
}
