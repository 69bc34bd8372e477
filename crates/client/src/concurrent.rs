//! Handling several messages at a time.
//!
//! Relates to: [`Subscription::for_each_concurrent`](crate::Subscription::for_each_concurrent), which is made of this.
//! Leaves out: the order of acknowledgements, which the machine keeps whoever finishes first.

use std::future::{Future, poll_fn};
use std::panic;
use std::task::{Context, Poll};

use gantline_protocol::{Message, ReasonCode};
use tokio::task::{JoinError, JoinSet};

use crate::subscription::{Tap, Unacknowledged};

/// What comes next.
enum Step {
    Taken(Unacknowledged),
    /// A handler did not come to its end.
    Broken(JoinError),
    End,
}

/// Calls a function with each message, for at most so many at a time, and acknowledges each when its handler is done. A
/// handler that panics ends it all, unacknowledged.
pub(crate) async fn for_each<F, T>(mut tap: Tap, limit: usize, mut handle: F)
where
    F: FnMut(Message) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let mut handlers = JoinSet::new();
    loop {
        match poll_fn(|cx| poll_step(&mut tap, limit, &mut handlers, cx)).await {
            Step::Taken(message) => {
                let done = handle(Message::clone(&message));
                handlers.spawn(async move {
                    done.await;
                    message.acknowledge(ReasonCode::Success);
                });
            }
            Step::Broken(error) => match error.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                // The runtime is shut down.
                Err(_) => return,
            },
            Step::End => return,
        }
    }
}

fn poll_step(tap: &mut Tap, limit: usize, handlers: &mut JoinSet<()>, cx: &mut Context<'_>) -> Poll<Step> {
    while let Poll::Ready(Some(done)) = handlers.poll_join_next(cx) {
        if let Err(error) = done {
            return Poll::Ready(Step::Broken(error));
        }
    }
    if handlers.len() >= limit.max(1) {
        return Poll::Pending;
    }
    match tap.poll_unacknowledged(cx) {
        Poll::Ready(Some(message)) => Poll::Ready(Step::Taken(message)),
        Poll::Ready(None) if handlers.is_empty() => Poll::Ready(Step::End),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}
