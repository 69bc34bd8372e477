//! Holding a publisher back while its receivers catch up.
//!
//! A publisher whose receivers' mailboxes are above half keeps its acknowledgements, so that the publisher's own window
//! stops it. That ends when they are below a quarter, at the latest after 50 ms, and lasts at most 50 ms of any second.
//! Who is still above half then is not waited for any more. Relates to: `broker/patience.rs`, the receivers' side;
//! `connection.rs`, which also leaves its socket unread where that is safe. Leaves out: the acknowledgements.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gantline_protocol::Moment;
use tokio::time::{Sleep, sleep};

use crate::broker::slot::ClientSlot;

/// What a publisher is waiting for.
#[derive(Debug)]
pub(crate) struct Hold {
    receivers: Vec<Arc<ClientSlot>>,
    began: Moment,
    until: Moment,
    timer: Pin<Box<Sleep>>,
}

/// How long a publisher may still be held, in a window of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HoldCredit {
    window: Option<Moment>,
    used: u32,
}

impl HoldCredit {
    /// Begins to wait for these receivers, unless the credit of this second is used up.
    pub(crate) fn hold(
        &mut self,
        receivers: impl Iterator<Item = Arc<ClientSlot>>,
        now: Moment,
    ) -> Option<Hold> {
        let left = self.left(now);
        if left.is_zero() {
            return None;
        }
        let until = now.plus(left);
        let timer = Box::pin(sleep(left));
        let mut hold = Hold { receivers: Vec::new(), began: now, until, timer };
        hold.extend(receivers);
        Some(hold)
    }

    fn left(&mut self, now: Moment) -> Duration {
        if self.window.is_none_or(|window| now.since(window) >= WINDOW) {
            *self = Self { window: Some(now), used: 0 };
        }
        Duration::from_millis(LONGEST.saturating_sub(self.used).into())
    }

    /// A hold is over.
    pub(crate) fn used(&mut self, hold: &Hold, now: Moment) {
        // A hold that was shorter than a millisecond counts as one, so that the sum stays bounded.
        let millis = now.since(hold.began).as_millis().max(1);
        self.used = self.used.saturating_add(u32::try_from(millis).unwrap_or(u32::MAX));
    }
}

impl Hold {
    /// Adds receivers that have filled up meanwhile.
    pub(crate) fn extend(&mut self, receivers: impl Iterator<Item = Arc<ClientSlot>>) {
        self.receivers.extend(receivers);
        self.receivers.sort_unstable_by_key(Arc::as_ptr);
        self.receivers.dedup_by(|one, other| Arc::ptr_eq(one, other));
    }

    /// Whether it is over. If not, the task is woken when it may be.
    pub(crate) fn poll(&mut self, now: Moment, cx: &mut Context<'_>) -> Poll<()> {
        self.receivers.retain(|slot| slot.mailbox.wait_for_room(cx.waker()));
        if self.receivers.is_empty() {
            return Poll::Ready(());
        }
        if self.until > now && self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        for slot in &self.receivers {
            if slot.mailbox.above_half() {
                tracing::debug!(client = %slot.id(), "it is too slow; publishers do not wait for it any more");
                slot.patience.exhaust();
            }
        }
        Poll::Ready(())
    }
}

/// The most that a publisher is held, in milliseconds of any [`WINDOW`].
pub(crate) const LONGEST: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);
