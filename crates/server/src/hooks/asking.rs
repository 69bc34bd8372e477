//! Asking a hook: user code that may panic, and may take its time within a limit.
//!
//! The task of the connection that the hook is about calls and polls it, under no lock, so nobody else waits. Relates to:
//! `decision.rs`. Leaves out: what is made of the decision.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::decision::Decision;

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    Decided(T),
    /// The future is not ready, and will wake.
    Waits(Waiting<T>),
    /// The hook panicked.
    Panicked,
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    Panicked,
    TimedOut,
}

/// A hook that takes its time.
pub(crate) struct Waiting<T> {
    decision: Pin<Box<dyn Future<Output = T> + Send>>,
    limit: Pin<Box<Sleep>>,
}

/// Asks a hook. A future that is ready at once costs no timer.
#[inline]
pub(crate) fn ask<T>(waker: &Waker, limit: Duration, hook: impl FnOnce() -> Decision<T>) -> Asked<T> {
    // What a panic leaves behind is dropped unseen.
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(Decision::Now(decision)) => Asked::Decided(decision),
        Ok(Decision::Later(mut decision)) => {
            match poll_guarded(&mut decision, &mut Context::from_waker(waker)) {
                Poll::Ready(Ok(decision)) => Asked::Decided(decision),
                Poll::Ready(Err(_)) => Asked::Panicked,
                Poll::Pending => Asked::Waits(Waiting { decision, limit: Box::pin(sleep(limit)) }),
            }
        }
        Err(_) => Asked::Panicked,
    }
}

/// Tells a hook that decides nothing. Whether it did not panic.
pub(crate) fn tell(hook: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(hook)).is_ok()
}

impl<T> Waiting<T> {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Undecided>> {
        match poll_guarded(&mut self.decision, cx) {
            Poll::Pending => self.limit.as_mut().poll(cx).map(|()| Err(Undecided::TimedOut)),
            decided @ Poll::Ready(_) => decided,
        }
    }
}

impl<T> Future for Waiting<T> {
    type Output = Result<T, Undecided>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Self::poll(&mut self, cx)
    }
}

fn poll_guarded<T>(
    decision: &mut Pin<Box<dyn Future<Output = T> + Send>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, Undecided>> {
    match catch_unwind(AssertUnwindSafe(|| decision.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Undecided::Panicked)),
    }
}

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}
