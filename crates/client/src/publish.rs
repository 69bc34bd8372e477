//! The two steps of a publish as futures: accepted, acknowledged.
//!
//! [`Publish`] does nothing until it is polled. Awaited, it accepts the message and waits for its acknowledgement;
//! [`Publish::queued`] stops after the first step and gives a [`Delivery`] for the second. Leaves out: the flow itself,
//! which is the machine's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use gantline_protocol::{AckProperties, Message, Outbound, ReasonCode};

use crate::client::Client;
use crate::error::{PublishError, PublishResult};
use crate::pending::Patience;
use crate::shared::Accepted;

/// A message on its way: resolves when its flow is complete, with the acknowledgement.
///
/// Made by [`Client::publish`]. That is: QoS 0, when the message is accepted into the bounded output; QoS 1, at PUBACK;
/// QoS 2, at PUBCOMP. While the output is full it waits, in the order of the callers. The order in which messages are
/// accepted is the order on the wire.
///
/// Cancel safe: dropped before the message was accepted, nothing is sent; dropped later, the message is delivered all
/// the same and only its outcome remains unknown.
///
/// # Errors
///
/// See [`PublishError`].
#[derive(Debug)]
#[must_use = "a publish does nothing until it is awaited"]
pub struct Publish {
    client: Client,
    step: Step,
    patience: Patience,
}

#[derive(Debug)]
enum Step {
    New(Message),
    /// Offered to the mailbox; `place` is its place in the line of those who wait for room.
    Offered {
        message: Outbound,
        place: Option<u64>,
    },
    Accepted(Delivery),
    Done,
}

impl Publish {
    pub(crate) const fn new(client: Client, message: Message) -> Self {
        Self { client, step: Step::New(message), patience: Patience::OfConnection }
    }

    /// The first step alone: resolves when the message is accepted into the bounded output, with a future of the
    /// acknowledgement. To have many messages in flight, or to let messages go without waiting for them.
    pub const fn queued(self) -> Queued {
        Queued(self)
    }

    /// Waits for the end of the flow, not of the connection: if that is lost and the message, of QoS 1 or 2, was sent,
    /// the outcome is the acknowledgement that a later connection brings which resumes the session.
    ///
    /// It is [`ConnectionLost`](PublishError::ConnectionLost) if the session turns out to be gone, which is known when
    /// the handle connects again at the latest; until then this waits. For programs that reconnect and keep their
    /// messages in order, because [`ConnectionLost::progress`](crate::ConnectionLost::progress) then says what is to be
    /// sent anew. Not the default, because it waits for ever if nobody reconnects: neither does the
    /// [time-out](crate::ConnectOptions::operation_timeout) of the options end it.
    pub const fn across_connections(mut self) -> Self {
        self.patience = Patience::OfFlow;
        self
    }

    /// As [`across_connections`](Self::across_connections), and the [store](crate::SessionStore) of the session keeps
    /// this name with the message. If the process ends first, [`Client::load_session`] gives the next one the outcome
    /// under that name. Without a store it is the same as `across_connections`.
    ///
    /// For programs that keep what they publish in a store of their own, so that they do not send as new what the
    /// session still delivers. The names of messages in flight have to differ.
    pub const fn across_restarts(mut self, name: u64) -> Self {
        self.patience = Patience::Named(name);
        self
    }

    /// Drives the first step.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let shared = self.client.shared();
        if let Step::New(message) = &self.step {
            let message = shared.outbound(message)?;
            self.step = Step::Offered { message, place: None };
        }
        let Step::Offered { message, place } = &mut self.step else { return Poll::Ready(Ok(())) };
        let room = shared.room(message.qos);
        if place.is_none() && !room.is_empty() {
            *place = Some(room.enter());
        }
        loop {
            // The waker is left before the attempt, so that room which is made just behind it is not missed.
            // Without a connection nobody waits for others, who may never be polled.
            if place.is_some_and(|place| !room.wait(place, cx.waker())) && shared.is_connected() {
                return Poll::Pending;
            }
            let accepted = shared.accept(message, self.patience);
            if let Ok(Accepted::Full) = accepted {
                if place.is_some() {
                    return Poll::Pending;
                }
                *place = Some(room.enter());
                continue;
            }
            if let Some(place) = place.take() {
                room.leave(place);
            }
            let wait = match accepted? {
                Accepted::Waits(tag) => Wait::Slot(tag),
                Accepted::Done | Accepted::Full => Wait::Nothing,
            };
            self.step = Step::Accepted(Delivery { client: self.client.clone(), wait });
            return Poll::Ready(Ok(()));
        }
    }
}

impl Future for Publish {
    type Output = Result<PublishResult, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_accept(cx))?;
        match &mut self.step {
            Step::Accepted(delivery) => Pin::new(delivery).poll(cx),
            Step::New(_) | Step::Offered { .. } | Step::Done => Poll::Pending,
        }
    }
}

impl Drop for Publish {
    fn drop(&mut self) {
        if let Step::Offered { message, place: Some(place) } = &self.step {
            self.client.shared().room(message.qos).leave(*place);
        }
    }
}

/// The first step of a [`Publish`]: resolves when the message is accepted. Made by [`Publish::queued`]. Cancel safe:
/// dropped before that, nothing is sent.
///
/// # Errors
///
/// The message cannot be accepted: see [`PublishError`].
#[derive(Debug)]
#[must_use = "a publish does nothing until it is awaited"]
pub struct Queued(Publish);

impl Future for Queued {
    type Output = Result<Delivery, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.0.poll_accept(cx))?;
        match std::mem::replace(&mut self.0.step, Step::Done) {
            Step::Accepted(delivery) => Poll::Ready(Ok(delivery)),
            Step::New(_) | Step::Offered { .. } | Step::Done => Poll::Pending,
        }
    }
}

/// The second step of a [`Publish`]: resolves when the flow is complete. May be dropped, the message is delivered all
/// the same.
///
/// # Errors
///
/// The message was refused, expired, or the connection was lost: see [`PublishError`].
#[derive(Debug)]
pub struct Delivery {
    client: Client,
    wait: Wait,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    /// QoS 0: there is nothing to wait for.
    Nothing,
    /// For the slot of this tag.
    Slot(u32),
    /// The outcome was told; nothing more will be.
    Over,
}

impl Delivery {
    /// Of the message of this tag, which nobody else waits for.
    pub(crate) const fn of(client: Client, tag: u32) -> Self {
        Self { client, wait: Wait::Slot(tag) }
    }
}

impl Future for Delivery {
    type Output = Result<PublishResult, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match self.wait {
            Wait::Nothing => {
                let properties = AckProperties::default();
                Ok(PublishResult { reason: ReasonCode::Success, properties })
            }
            Wait::Slot(tag) => ready!(self.client.shared().poll_outcome(tag, cx)),
            Wait::Over => return Poll::Pending,
        };
        self.wait = Wait::Over;
        Poll::Ready(outcome)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Wait::Slot(tag) = self.wait {
            self.client.shared().give_up(tag);
        }
    }
}
