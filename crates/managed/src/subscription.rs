//! Streams of messages that outlive connections and sessions: of some filters, or of everything.
//!
//! Each wraps a stream of the lower client that was made without a request. That keeps what the lower client does well:
//! its bounds, acknowledging when a message is taken, one acknowledgement for a message that several streams want, and
//! no message of QoS 2 twice after a resume. What it does not know, that a filter is not wanted any more, the
//! membership adds. Leaves out: asking the server, see `desire.rs`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use gantline_client::{ManualAcks, Messages, SubscribeError, Unacknowledged};
use gantline_protocol::{Message, ReasonCode, TopicFilter};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::Handle;
use crate::desire::FilterAnswer;
use crate::membership::Membership;
use crate::shared::{Shared, wake};

/// The messages of a subscription, a bounded stream. Made by
/// [`ManagedClient::subscribe`](crate::ManagedClient::subscribe).
///
/// A message is acknowledged when it is taken from here; what is not taken holds back the acknowledgements of later
/// ones. The stream outlives connections, sessions and stops of the client. It ends when somebody
/// [unsubscribes](crate::ManagedClient::unsubscribe) from its last filter, and it keeps the client running.
///
/// Dropping it gives its filters up, unless another stream holds them.
#[derive(Debug)]
pub struct Subscription {
    stream: Inlet<Messages>,
    filters: Vec<TopicFilter>,
    answers: Vec<watch::Receiver<Option<FilterAnswer>>>,
}

/// Why a filter is not subscribed to.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The server refused it.
    #[error("the server refused {filter:?}: {reason}", filter = filter.as_str())]
    Refused {
        /// The filter.
        filter: TopicFilter,
        /// Why. 3.1.1 knows one reason only.
        reason: ReasonCode,
    },
    /// It could not be asked for.
    #[error("{filter:?} could not be subscribed to: {error}", filter = filter.as_str())]
    Failed {
        /// The filter.
        filter: TopicFilter,
        /// Why.
        error: Arc<SubscribeError>,
    },
    /// It is not wanted any more.
    #[error("{filter:?} was unsubscribed from", filter = filter.as_str())]
    Unsubscribed {
        /// The filter.
        filter: TopicFilter,
    },
}

impl Subscription {
    pub(crate) fn new(
        handle: Arc<Handle>,
        messages: Messages,
        membership: Arc<Membership>,
        filters: Vec<TopicFilter>,
        answers: Vec<watch::Receiver<Option<FilterAnswer>>>,
    ) -> Self {
        Self { stream: Inlet::new(handle, messages, membership), filters, answers }
    }

    /// The next message; `None` when the stream has ended. Cancel safe: a message is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.stream.poll_message(cx)).await
    }

    /// What the server granted, one for each filter in order: the QoS, which may be lower than asked for. Waits until
    /// the server of the present connection, or of the next one, has answered. Cancel safe.
    ///
    /// # Errors
    ///
    /// A filter was refused. The stream stays, and the filter is asked for again on the next connection.
    pub async fn granted(&mut self) -> Result<Vec<ReasonCode>, FilterError> {
        let mut granted = Vec::with_capacity(self.filters.len());
        for (filter, answer) in self.filters.iter().zip(&mut self.answers) {
            let filter = || filter.clone();
            let answer = match answer.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone(),
                Err(_) => None,
            };
            match answer {
                Some(FilterAnswer::Server(reason)) if reason.is_error() => {
                    return Err(FilterError::Refused { filter: filter(), reason });
                }
                Some(FilterAnswer::Server(reason)) => granted.push(reason),
                Some(FilterAnswer::Failed(error)) => {
                    return Err(FilterError::Failed { filter: filter(), error });
                }
                None => return Err(FilterError::Unsubscribed { filter: filter() }),
            }
        }
        Ok(granted)
    }

    /// The filters, in the order of the request.
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// How many messages were dropped because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.stream.source.dropped()
    }

    /// Leaves acknowledging to the application.
    pub fn manual_acks(self) -> ManualStream {
        ManualStream(self.stream.manual())
    }

    /// Calls a function with each message, one after the other, in a task of its own. The function may use the client
    /// in every way. Ends with the subscription or with the client, or when the task is aborted. A function that owns a
    /// clone of the client keeps it.
    pub fn for_each<F, T>(self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.stream.for_each(handle)
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.stream.poll_message(cx)
    }
}

/// All messages of a managed client, a bounded stream. Made by
/// [`ManagedClient::messages`](crate::ManagedClient::messages).
///
/// A message is acknowledged when it is taken from here. The stream keeps the client running.
#[derive(Debug)]
pub struct ManagedMessages {
    stream: Inlet<Messages>,
}

impl ManagedMessages {
    pub(crate) fn new(handle: Arc<Handle>, messages: Messages) -> Self {
        let membership = Arc::new(Membership::new(Vec::new()));
        handle.shared().desire.lock().join(&membership);
        Self { stream: Inlet::new(handle, messages, membership) }
    }

    /// The next message. Cancel safe: a message is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.stream.poll_message(cx)).await
    }

    /// How many messages were dropped because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.stream.source.dropped()
    }

    /// Leaves acknowledging to the application.
    pub fn manual_acks(self) -> ManualStream {
        ManualStream(self.stream.manual())
    }

    /// Calls a function with each message, one after the other, in a task of its own. The function may use the client
    /// in every way. Ends with the client, or when the task is aborted. A function that owns a clone of the client
    /// keeps it.
    pub fn for_each<F, T>(self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.stream.for_each(handle)
    }
}

impl Stream for ManagedMessages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.stream.poll_message(cx)
    }
}

/// A stream of messages that the application acknowledges by hand: [`Subscription::manual_acks`],
/// [`ManagedMessages::manual_acks`].
#[derive(Debug)]
pub struct ManualStream(Inlet<ManualAcks<Messages>>);

impl ManualStream {
    /// The next message; `None` when the stream has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Unacknowledged> {
        std::future::poll_fn(|cx| self.0.poll_unacknowledged(cx)).await
    }
}

impl Stream for ManualStream {
    type Item = Unacknowledged;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Unacknowledged>> {
        self.0.poll_unacknowledged(cx)
    }
}

/// A stream of the lower client and what ends it.
#[derive(Debug)]
struct Inlet<S> {
    source: S,
    member: Member,
    /// Keeps the client running.
    handle: Option<Arc<Handle>>,
}

/// A membership that gives its filters up when it is dropped.
#[derive(Debug)]
struct Member {
    membership: Arc<Membership>,
    shared: Arc<Shared>,
}

impl<S> Inlet<S> {
    fn new(handle: Arc<Handle>, source: S, membership: Arc<Membership>) -> Self {
        let member = Member { membership, shared: Arc::clone(handle.shared()) };
        Self { source, member, handle: Some(handle) }
    }
}

impl<S: Stream + Unpin> Inlet<S> {
    /// The next item whose message is one of this stream; what is to be done with the others is `pass`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        message: impl Fn(&S::Item) -> &Message,
        pass: impl Fn(S::Item),
    ) -> Poll<Option<S::Item>> {
        loop {
            match Pin::new(&mut self.source).poll_next(cx) {
                Poll::Ready(Some(item)) if !self.member.membership.wants(message(&item)) => pass(item),
                Poll::Pending => return self.member.membership.poll_end(cx).map(|()| None),
                polled @ Poll::Ready(_) => return polled,
            }
        }
    }
}

impl Inlet<Messages> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll(cx, |message| message, drop)
    }

    fn manual(self) -> Inlet<ManualAcks<Messages>> {
        let Self { source, member, handle } = self;
        Inlet { source: source.manual_acks(), member, handle }
    }

    fn for_each<F, T>(mut self, mut act: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        // A task that nobody holds must not keep the client.
        self.handle = None;
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|cx| self.poll_message(cx)).await {
                act(message).await;
            }
        })
    }
}

impl Inlet<ManualAcks<Messages>> {
    fn poll_unacknowledged(&mut self, cx: &mut Context<'_>) -> Poll<Option<Unacknowledged>> {
        self.poll(cx, |message| message, |message| drop(message.acknowledge(ReasonCode::Success)))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let filters = self.membership.take_filters();
        let synchronizer = self.shared.desire.lock().release(&filters);
        wake(synchronizer);
    }
}
