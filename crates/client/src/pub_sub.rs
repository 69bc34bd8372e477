//! What a library needs of a client to publish and to subscribe, whichever client it is.
//!
//! [`Client`] implements it, and so does a client that keeps itself connected; RPC works over either. Leaves out:
//! whatever only one of them has, such as connecting.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use gantline_protocol::{Message, ProtocolVersion, QoS, SubscribeProperties, TopicFilter};

use crate::client::Client;
use crate::error::{DisconnectCause, PublishError, PublishResult, SubscribeError};
use crate::event::{Event, Events};
use crate::subscription::Subscription;

/// A client to build upon: publishes, subscribes, and tells at once when its connection is lost.
///
/// Cheap to clone; all clones are one client. An implementor that connects again by itself restores the subscriptions
/// that are held before it accepts a message on the new connection, so that whoever publishes a request gets its
/// answer.
pub trait PubSub: Clone + Send + Sync + 'static {
    /// The messages of a subscription. Dropping it unsubscribes. Ends when the subscription is over for good.
    type Subscription: Stream<Item = Message> + Send + Unpin + 'static;

    /// Each connection that ended from now on, with its cause. Does not keep the client alive, and ends with it.
    type Losses: Stream<Item = DisconnectCause> + Send + Unpin + 'static;

    /// Publishes on the present connection; resolves with the acknowledgement, in which
    /// [`ReasonCode::NoMatchingSubscribers`](crate::ReasonCode::NoMatchingSubscribers) tells that nobody gets the
    /// message. Never waits for a connection: a message that is worth nothing later must not be kept for later.
    ///
    /// Cancel safe: dropped after the message was accepted, the message is delivered all the same.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; without a connection [`PublishError::NotConnected`], at once.
    fn publish(&self, message: Message) -> impl Future<Output = Result<PublishResult, PublishError>> + Send;

    /// Subscribes to filters with their maximum QoS, as one stream; resolves when the server has granted all of them.
    /// Dropping the future gives the subscription up.
    ///
    /// # Errors
    ///
    /// See [`SubscribeError`]; a refusal names the filters and the reasons.
    fn subscribe(
        &self,
        filters: &[(TopicFilter, QoS)],
    ) -> impl Future<Output = Result<Self::Subscription, SubscribeError>> + Send;

    /// Tells of connections that end from now on.
    fn losses(&self) -> Self::Losses;

    /// The version of the present connection; `None` without one.
    fn version(&self) -> Option<ProtocolVersion>;
}

impl PubSub for Client {
    type Subscription = Subscription;
    type Losses = Losses;

    fn publish(&self, message: Message) -> impl Future<Output = Result<PublishResult, PublishError>> + Send {
        Self::publish(self, message)
    }

    async fn subscribe(&self, filters: &[(TopicFilter, QoS)]) -> Result<Subscription, SubscribeError> {
        let request = self.subscribe_to(Vec::new(), SubscribeProperties::default());
        filters.iter().fold(request, |request, (filter, qos)| request.and(filter.clone(), *qos)).await
    }

    fn losses(&self) -> Losses {
        Losses(self.events())
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.shared().version()
    }
}

/// The connections of a [`Client`] that ended, a view of its [`Events`]. Made by [`PubSub::losses`].
#[derive(Debug)]
pub struct Losses(Events);

impl Stream for Losses {
    type Item = DisconnectCause;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DisconnectCause>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some(Event::Disconnected { cause }) => return Poll::Ready(Some(cause)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
