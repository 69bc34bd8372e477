//! Asking a hook: user code that may panic, and may take its time within a limit.
//!
//! The task of the connection that the hook is about calls and polls it, under no lock, so nobody else waits. Relates
//! to: `decision.rs`. Leaves out: what is made of the decision.

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

/// Asks a hook.
pub(crate) fn ask<T>(waker: &Waker, limit: Duration, hook: impl FnOnce() -> Decision<T>) -> Asked<T> {
    match guarded(hook) {
        Some(Decision::Now(decision)) => Asked::Decided(decision),
        Some(Decision::Later(decision)) => wait(waker, limit, decision),
        None => Asked::Panicked,
    }
}

/// Calls user code. `None` if it panicked; what it leaves behind is dropped unseen.
#[inline]
pub(crate) fn guarded<T>(hook: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(hook)).ok()
}

/// Waits for a decision. A future that is ready at once costs no timer.
pub(crate) fn wait<T>(
    waker: &Waker,
    limit: Duration,
    mut decision: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Asked<T> {
    match poll_guarded(&mut decision, &mut Context::from_waker(waker)) {
        Poll::Ready(Ok(decision)) => Asked::Decided(decision),
        Poll::Ready(Err(_)) => Asked::Panicked,
        Poll::Pending => Asked::Waits(Waiting { decision, limit: Box::pin(sleep(limit)) }),
    }
}

/// Tells a hook that decides nothing. Whether it did not panic.
pub(crate) fn tell(hook: impl FnOnce()) -> bool {
    guarded(hook).is_some()
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
    match guarded(|| decision.as_mut().poll(cx)) {
        Some(polled) => polled.map(Ok),
        None => Poll::Ready(Err(Undecided::Panicked)),
    }
}

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}
