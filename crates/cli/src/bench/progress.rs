//! The line on stderr that says how far a scenario is, if stderr is a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// How often the line changes.
const PERIOD: Duration = Duration::from_millis(250);
/// To the first column, and what stood there is gone.
const CLEAR: &str = "\r\x1b[K";

/// The line. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// When it changes next; `None` if nobody would see it.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// On stderr, if that is a terminal.
    pub(crate) fn new() -> Self {
        Self { next: io::stderr().is_terminal().then(Instant::now), shown: false }
    }

    /// Nowhere.
    pub(crate) const fn off() -> Self {
        Self { next: None, shown: false }
    }

    /// Shows `text`, if it is time to.
    pub(crate) fn show(&mut self, now: Instant, text: impl FnOnce() -> String) {
        if self.next.is_some_and(|next| now >= next) {
            self.next = Some(now + PERIOD);
            self.shown = true;
            let _ = write!(io::stderr(), "{CLEAR}{}", text());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}
