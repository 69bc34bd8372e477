//! Moves messages from the outbox into the connection and their acknowledgements back.
//!
//! Messages go out as fast as the window allows and their outcomes are taken in the order of sending. A message
//! outlives its connection in one of two ways: the session of the lower client still has it, then that sends it again
//! and all the pump does is wait; or it does not, then the pump puts it back at the front of the outbox, if that cannot
//! deliver it twice. Relates to: [`gantline_client::Publish::across_connections`], which tells the two apart. Leaves
//! out: when to connect.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use gantline_client::{ConnectionLost, Delivery, Progress, PublishError, PublishResult, Queued};
use gantline_protocol::{AckProperties, QoS, ReasonCode};
use tokio::time::Instant;

use crate::options::InDoubt;
use crate::outbox::{Entry, Taken};
use crate::outcome::{Doubt, DropReason, Outcome, Rejection};
use crate::shared::{Shared, wake};
use crate::state::Failure;

/// What is on its way. It outlives connections, and a stop.
#[derive(Debug, Default)]
pub(crate) struct Pump {
    in_flight: VecDeque<(Entry, Delivery)>,
    /// The message that the connection has not accepted yet.
    next: Option<(Entry, Queued)>,
    /// To be put back into the outbox, in order.
    returning: Vec<Entry>,
    window: usize,
    /// The last connections ended because of some message: one at a time goes out, until one is acknowledged.
    suspicious: bool,
    /// So it was when this connection began.
    alone: bool,
    /// The connection does not take messages any more.
    closed: bool,
    /// The subscriptions come first.
    held: bool,
    /// The store of the session keeps the ids of messages.
    linked: bool,
}

impl Pump {
    /// A connection is there, whose server takes so many messages at once.
    pub(crate) fn begin(&mut self, shared: &Shared, window: usize) {
        self.settle_lost(shared);
        self.window = window.max(1);
        self.alone = self.suspicious;
        self.closed = false;
        self.held = true;
        self.linked = shared.outbox.lock().is_linked();
    }

    /// Waits for messages that the session of an earlier process delivers.
    pub(crate) fn adopt(&mut self, shared: &Shared, mut messages: Vec<(Entry, Delivery)>) {
        messages.sort_by_key(|(entry, _)| entry.id);
        self.in_flight.extend(messages);
        shared.note_in_flight(self.in_flight.len());
    }

    /// Runs as long as it is polled. Cancel safe.
    pub(crate) async fn run(&mut self, shared: &Shared) -> Infallible {
        std::future::poll_fn(|cx| self.poll(shared, cx)).await
    }

    /// Takes every outcome that is there, and puts back what is to be sent again. For when a connection has ended, and
    /// when the next one has told what became of the session.
    pub(crate) fn settle_lost(&mut self, shared: &Shared) {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut still = VecDeque::with_capacity(self.in_flight.len());
        for (entry, mut delivery) in std::mem::take(&mut self.in_flight) {
            match Pin::new(&mut delivery).poll(cx) {
                Poll::Ready(result) => self.settle(shared, entry, result),
                Poll::Pending => still.push_back((entry, delivery)),
            }
        }
        shared.note_in_flight(still.len());
        self.in_flight = still;
        if let Some((entry, _)) = self.next.take() {
            self.returning.push(entry);
        }
        let mut returning = std::mem::take(&mut self.returning);
        returning.sort_by_key(|entry| entry.id);
        let waker = shared.outbox.lock().put_back(returning);
        wake(waker);
    }

    /// The client stops: whoever waits for what is in flight is told. The session may still deliver it.
    pub(crate) fn stop(&mut self, shared: &Shared) {
        for (entry, _) in &mut self.in_flight {
            if !entry.told {
                shared.tell_waiter(entry.waiter.take(), entry.id, Outcome::Indeterminate(Doubt::Stopped));
            }
            // What is in the store is a message of its own when the client is started again.
            entry.told = !entry.stored;
        }
    }

    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Infallible> {
        for _ in 0..TURNS {
            let acknowledged = self.poll_front(shared, cx);
            if !acknowledged && !self.poll_send(shared, cx) {
                return Poll::Pending;
            }
        }
        // Others shall have their turn too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the outcome of the oldest message. Returns whether there was one.
    fn poll_front(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        let Some((_, delivery)) = self.in_flight.front_mut() else { return false };
        let Poll::Ready(result) = Pin::new(delivery).poll(cx) else { return false };
        if let Some((entry, _)) = self.in_flight.pop_front() {
            self.settle(shared, entry, result);
        }
        shared.note_in_flight(self.in_flight.len());
        true
    }

    /// Sends the next message. Returns whether something has changed.
    fn poll_send(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        if let Some((_, queued)) = &mut self.next {
            let Poll::Ready(result) = Pin::new(queued).poll(cx) else { return false };
            if let Some((entry, _)) = self.next.take() {
                self.accepted(shared, entry, result);
            }
            return true;
        }
        if self.held {
            if shared.desire.lock().poll_restored(cx).is_pending() {
                return false;
            }
            self.held = false;
        }
        let window = if self.suspicious { 1 } else { self.window };
        if self.closed || self.in_flight.len() >= window {
            return false;
        }
        let now = Instant::now();
        let (taken, journal) = shared.outbox.lock().poll_take(now, cx);
        wake(journal);
        match taken {
            Poll::Pending => false,
            Poll::Ready(Taken::Expired(entry)) => {
                shared.finish(entry, Outcome::Dropped(DropReason::Expired));
                true
            }
            Poll::Ready(Taken::Message(entry)) => {
                let publish = shared.client.publish(entry.to_send(now));
                let publish = match self.linked {
                    true => publish.across_restarts(entry.id.value()),
                    false => publish.across_connections(),
                };
                self.next = Some((entry, publish.queued()));
                true
            }
        }
    }

    fn accepted(&mut self, shared: &Shared, entry: Entry, result: Result<Delivery, PublishError>) {
        match result {
            Ok(delivery) if entry.message.qos_level() != QoS::AtMostOnce => {
                self.in_flight.push_back((entry, delivery));
                shared.note_in_flight(self.in_flight.len());
            }
            // Nothing will be heard of it.
            Ok(_) => self.settle(shared, entry, Ok(success())),
            Err(error) => self.settle(shared, entry, Err(error)),
        }
    }

    fn settle(&mut self, shared: &Shared, mut entry: Entry, result: Result<PublishResult, PublishError>) {
        let outcome = match result {
            Ok(result) => {
                self.suspicious = false;
                Outcome::Delivered(result)
            }
            Err(PublishError::Refused(result)) => {
                self.suspicious = false;
                Outcome::Rejected(Rejection::Refused(result))
            }
            Err(PublishError::ConnectionLost(lost)) => {
                self.closed = true;
                match self.lost(shared, &mut entry, lost) {
                    Some(outcome) => outcome,
                    None => return self.returning.push(entry),
                }
            }
            Err(PublishError::Unwritable(error)) => Outcome::Rejected(error.into()).unless(&entry),
            Err(PublishError::TooLarge { maximum }) => {
                Outcome::Rejected(Rejection::TooLarge { maximum }).unless(&entry)
            }
            Err(PublishError::NotOffered(reason)) => {
                Outcome::Rejected(Rejection::NotOffered(reason)).unless(&entry)
            }
            Err(PublishError::NotInVersion { property, version }) => {
                Outcome::Rejected(Rejection::NotInVersion { property, version }).unless(&entry)
            }
            Err(PublishError::Expired) => Outcome::Dropped(DropReason::Expired).unless(&entry),
            // It was not accepted.
            Err(_) => {
                self.closed = true;
                return self.returning.push(entry);
            }
        };
        shared.finish(entry, outcome);
    }

    /// The message outlived its connection and the session does not have it. `None`: it is to be sent again.
    fn lost(&mut self, shared: &Shared, entry: &mut Entry, lost: ConnectionLost) -> Option<Outcome> {
        if entry.told {
            return Some(Outcome::Indeterminate(Doubt::Stopped));
        }
        match lost.progress {
            Progress::Unsent => return None,
            // The server owns it; what is missing is only the end of the flow.
            Progress::Received => return Some(Outcome::Delivered(success())),
            Progress::Sent => entry.in_doubt = true,
        }
        if let Some(reason) = Failure::blames_a_packet(&lost.cause) {
            // Alone in flight, it must be the one.
            entry.blamed += u32::from(self.alone);
            self.suspicious = true;
            if entry.blamed == MOST_BLAMED {
                self.suspicious = false;
                let rejection = Rejection::EndsConnections { times: entry.blamed, reason };
                return Some(Outcome::Rejected(rejection));
            }
        }
        let gives_up =
            entry.message.qos_level() == QoS::ExactlyOnce && shared.options.in_doubt == InDoubt::GiveUp;
        gives_up.then_some(Outcome::Indeterminate(Doubt::SessionLost(lost.cause)))
    }
}

impl Outcome {
    /// A message that was sent once and may have arrived is not said to have failed.
    fn unless(self, entry: &Entry) -> Self {
        if entry.in_doubt { Self::Indeterminate(Doubt::Resent) } else { self }
    }
}

fn success() -> PublishResult {
    PublishResult { reason: ReasonCode::Success, properties: AckProperties::default() }
}

/// Turns before others have theirs.
const TURNS: usize = 256;
/// Connections that a message may end.
const MOST_BLAMED: u32 = 3;
