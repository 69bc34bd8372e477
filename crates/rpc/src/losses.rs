//! The connections that end, and which calls that concerns.
//!
//! A task hears of each loss when it is told. A call that begins hears of those that were told by then itself, and
//! counts as later than they: so one that begins on the next connection is not ended by the late notice of a loss
//! before it. Leaves out: what becomes of the calls (`calls.rs`).

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use gantline_client::DisconnectCause;
use parking_lot::Mutex;

use crate::calls::Calls;
use crate::error::CallError;

/// What the client tells of its connections that ended.
pub(crate) struct Losses(Mutex<Heard>);

struct Heard {
    told: Box<dyn Stream<Item = DisconnectCause> + Send + Unpin>,
    /// How many so far.
    count: u64,
    /// Of the task, for whoever listens in between.
    watch: Waker,
}

impl Losses {
    pub(crate) fn new(told: impl Stream<Item = DisconnectCause> + Send + Unpin + 'static) -> Self {
        Self(Mutex::new(Heard { told: Box::new(told), count: 0, watch: Waker::noop().clone() }))
    }

    /// Ends the calls that began before what is told by now. Returns how many connections were lost so far.
    pub(crate) fn hear(&self, calls: &Calls) -> u64 {
        let mut losses = Vec::new();
        let mut heard = self.0.lock();
        let Heard { told, count, watch } = &mut *heard;
        let cx = &mut Context::from_waker(watch);
        while let Poll::Ready(Some(cause)) = Pin::new(&mut **told).poll_next(cx) {
            *count += 1;
            losses.push((*count, cause));
        }
        let count = *count;
        drop(heard);
        for (number, cause) in losses {
            calls.fail_before(number, &CallError::ConnectionLost(cause));
        }
        count
    }

    /// Hears of each loss when it is told. One task at a time.
    pub(crate) async fn watch(&self, calls: &Calls) -> Infallible {
        poll_fn(|cx| {
            let former = std::mem::replace(&mut self.0.lock().watch, cx.waker().clone());
            drop(former);
            self.hear(calls);
            Poll::Pending
        })
        .await
    }
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").field("count", &self.0.lock().count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::calls::Call;

    struct Told(UnboundedReceiver<DisconnectCause>);

    impl Stream for Told {
        type Item = DisconnectCause;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DisconnectCause>> {
            self.0.poll_recv(cx)
        }
    }

    fn losses() -> (UnboundedSender<DisconnectCause>, Losses) {
        let (tell, told) = unbounded_channel();
        (tell, Losses::new(Told(told)))
    }

    fn lost(call: &Call<'_>) -> Option<DisconnectCause> {
        match call.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(CallError::ConnectionLost(cause))) => Some(cause),
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_loss_ends_the_calls_before_it_and_none_behind_it() {
        let (calls, (tell, losses)) = (Calls::default(), losses());
        let first = calls.begin(None, losses.hear(&calls));
        tell.send(DisconnectCause::ClosedByServer).unwrap();
        let second = calls.begin(None, losses.hear(&calls));
        assert!(matches!(lost(&first), Some(DisconnectCause::ClosedByServer)));
        assert!(lost(&second).is_none());
        tell.send(DisconnectCause::Requested).unwrap();
        losses.hear(&calls);
        assert!(matches!(lost(&second), Some(DisconnectCause::Requested)));
    }

    #[test]
    fn of_several_losses_the_first_one_counts() {
        let (calls, (tell, losses)) = (Calls::default(), losses());
        let call = calls.begin(None, losses.hear(&calls));
        tell.send(DisconnectCause::ClosedByServer).unwrap();
        tell.send(DisconnectCause::Requested).unwrap();
        assert_eq!(losses.hear(&calls), 2);
        assert!(matches!(lost(&call), Some(DisconnectCause::ClosedByServer)));
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_is_woken_though_a_call_listens_in_between() {
        let (calls, (tell, losses)) = (Calls::default(), losses());
        let woken = Arc::new(Woken::default());
        let mut watch = Box::pin(losses.watch(&calls));
        let polled = watch.as_mut().poll(&mut Context::from_waker(&Arc::clone(&woken).into()));
        assert!(polled.is_pending());
        losses.hear(&calls);
        tell.send(DisconnectCause::ClosedByServer).unwrap();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
