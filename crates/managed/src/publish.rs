//! The two steps of a publish as futures: accepted into the outbox, done with.
//!
//! [`Publish`] does nothing until it is polled. Awaited, it accepts the message and waits for its outcome;
//! [`Publish::queued`] stops after the first step and gives a [`Delivery`] for the second. Leaves out: the way in between.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gantline_protocol::Message;
use tokio::sync::oneshot;

use crate::client::Handle;
use crate::outbox_store::MessageId;
use crate::outcome::{Doubt, Outcome};

/// A message on its way: resolves when it is done with, with its [`Outcome`].
///
/// Made by [`ManagedClient::publish`](crate::ManagedClient::publish). The message is accepted whether or not there is a
/// connection, and sent when there is one: in the order of acceptance, across connections too, for messages of QoS 1 and 2.
/// Outcomes of messages of QoS 1 and 2 are told in that order. It keeps the client running until it has ended.
///
/// Cancel safe: dropped before the message was accepted, nothing is sent; dropped later, the message is delivered all the
/// same and its outcome is an event only.
#[derive(Debug)]
#[must_use = "a publish does nothing until it is awaited"]
pub struct Publish {
    handle: Arc<Handle>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    New(Message),
    /// The store is asked to keep it.
    Stored(Delivery, oneshot::Receiver<()>),
    Accepted(Delivery),
    Done,
}

impl Publish {
    pub(crate) const fn new(handle: Arc<Handle>, message: Message) -> Self {
        Self { handle, step: Step::New(message) }
    }

    /// The first step alone: resolves when the message is accepted, that is when the outbox has it and so has its store if
    /// there is one, with a future of the outcome. If it is not accepted, that future tells why.
    pub const fn queued(self) -> Queued {
        Queued(self)
    }

    /// Drives the first step.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.step = match std::mem::replace(&mut self.step, Step::Done) {
                Step::New(message) => {
                    let accepted = self.handle.shared().accept(message);
                    let delivery = Delivery::new(&self.handle, accepted.id, accepted.end);
                    match accepted.kept {
                        Some(kept) => Step::Stored(delivery, kept),
                        None => Step::Accepted(delivery),
                    }
                }
                Step::Stored(delivery, mut kept) => match Pin::new(&mut kept).poll(cx) {
                    // If it was not kept, its outcome says so.
                    Poll::Ready(_) => Step::Accepted(delivery),
                    Poll::Pending => {
                        self.step = Step::Stored(delivery, kept);
                        return Poll::Pending;
                    }
                },
                step @ (Step::Accepted(_) | Step::Done) => {
                    self.step = step;
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl Future for Publish {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        ready!(self.poll_accept(cx));
        match &mut self.step {
            Step::Accepted(delivery) => Pin::new(delivery).poll(cx),
            Step::New(_) | Step::Stored(..) | Step::Done => Poll::Pending,
        }
    }
}

/// The first step of a [`Publish`]: resolves when the message is accepted. Made by [`Publish::queued`].
#[derive(Debug)]
#[must_use = "a publish does nothing until it is awaited"]
pub struct Queued(Publish);

impl Future for Queued {
    type Output = Delivery;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivery> {
        ready!(self.0.poll_accept(cx));
        match std::mem::replace(&mut self.0.step, Step::Done) {
            Step::Accepted(delivery) => Poll::Ready(delivery),
            Step::New(_) | Step::Stored(..) | Step::Done => Poll::Pending,
        }
    }
}

/// The second step of a [`Publish`]: resolves with the [`Outcome`]. May be dropped, the message is delivered all the same.
#[derive(Debug)]
#[must_use = "a message may end otherwise than delivered"]
pub struct Delivery {
    id: Option<MessageId>,
    end: End,
    /// Keeps the client running.
    _handle: Arc<Handle>,
}

/// How a publish ends.
#[derive(Debug)]
pub(crate) enum End {
    Later(oneshot::Receiver<Outcome>),
    Already(Outcome),
    /// The outcome was told; nothing more will be.
    Told,
}

impl Delivery {
    fn new(handle: &Arc<Handle>, id: Option<MessageId>, end: End) -> Self {
        Self { id, end, _handle: Arc::clone(handle) }
    }

    /// The id by which events name the message; `None` if the client was stopped.
    pub const fn id(&self) -> Option<MessageId> {
        self.id
    }
}

impl Future for Delivery {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = match &mut self.end {
            // Nobody is left who could tell: the runtime of the client was shut down.
            End::Later(outcome) => {
                ready!(Pin::new(outcome).poll(cx)).unwrap_or(Outcome::Indeterminate(Doubt::Stopped))
            }
            End::Already(_) => match std::mem::replace(&mut self.end, End::Told) {
                End::Already(outcome) => outcome,
                End::Later(_) | End::Told => return Poll::Pending,
            },
            End::Told => return Poll::Pending,
        };
        self.end = End::Told;
        Poll::Ready(outcome)
    }
}
