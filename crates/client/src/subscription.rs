//! Streams of messages: of one subscription, or of everything.
//!
//! A stream owns a [`Tap`]: its place in the dispatch. Taking a message acknowledges it, unless acknowledging is left
//! to the application ([`ManualAcks`]). Relates to: `inbox.rs`, where messages wait. Leaves out: how a subscription is
//! made (`request.rs`).

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use gantline_protocol::{AckProperties, Message, ReasonCode, SubAck, TopicFilter};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::command::Command;
use crate::concurrent;
use crate::dispatch::StreamId;
use crate::inbox::{Inbox, OnFull, StreamBounds};
use crate::items::{Item, Items};
use crate::shared::Shared;
use crate::ticket::Ticket;

/// The messages of a subscription, a bounded stream. Made by [`Client::subscribe`].
///
/// A message is acknowledged when it is taken from here; what is not taken holds back the acknowledgements of later
/// ones. The stream lives as long as its subscription: it ends when somebody unsubscribes, and when the session is
/// gone, be it with the connection or found missing by the next one. While a session waits for its next connection, so
/// does the stream.
///
/// Dropping it unsubscribes, unless another stream holds the same filter, and acknowledges what was not taken.
#[derive(Debug)]
pub struct Subscription {
    tap: Tap,
    filters: Vec<TopicFilter>,
    granted: Vec<ReasonCode>,
    properties: AckProperties,
    /// Keeps the connection. Dropped behind the tap, so that the last one unsubscribes first.
    client: Option<Client>,
}

impl Subscription {
    pub(crate) fn new(client: Client, tap: Tap, filters: Vec<TopicFilter>, suback: SubAck) -> Self {
        let SubAck { reasons: granted, properties, .. } = suback;
        Self { tap, filters, granted, properties, client: Some(client) }
    }

    /// The next message; `None` when the subscription is over. Cancel safe: a message is taken only when it is
    /// returned.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.tap.poll_message(cx)).await
    }

    /// What the server granted, one for each filter in order: the QoS, which may be lower than asked for.
    pub fn granted(&self) -> &[ReasonCode] {
        &self.granted
    }

    /// What the server added to its answer. Empty on 3.x.
    pub const fn properties(&self) -> &AckProperties {
        &self.properties
    }

    /// The filters, in the order of the request.
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// How many messages were dropped because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.tap.inbox.dropped()
    }

    /// Leaves acknowledging to the application.
    pub const fn manual_acks(self) -> ManualAcks<Self> {
        ManualAcks(self)
    }

    /// Calls a function with each message, one after the other, in a task of its own. The function may use the client
    /// in every way. Ends with the subscription or with the client, or when the task is aborted. A function that owns a
    /// clone of the client keeps it.
    pub fn for_each<F, T>(mut self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        // A task that nobody holds must not keep the connection.
        self.client = None;
        tokio::spawn(self.tap.for_each(handle))
    }

    /// Calls a function with each message, for at most `limit` messages at a time (0 counts as 1), each in a task of
    /// its own. Unlike with [`for_each`](Self::for_each) a message is acknowledged when its handler is done;
    /// acknowledgements leave in the order of arrival whoever is done first. Ends as `for_each` does, and takes
    /// handlers that are not done with it: their messages stay unacknowledged, and so does that of a handler which
    /// panics.
    pub fn for_each_concurrent<F, T>(mut self, limit: usize, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.client = None;
        tokio::spawn(concurrent::for_each(self.tap, limit, handle))
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.tap.poll_message(cx)
    }
}

/// All messages of a client, or those that match some filters, a bounded stream. Made by [`Client::messages`] and
/// [`Subscribe::without_request`](crate::Subscribe::without_request).
///
/// A message is acknowledged when it is taken from here. The stream outlives connections and ends with the client.
#[derive(Debug)]
pub struct Messages {
    tap: Tap,
    client: Option<Client>,
}

impl Messages {
    pub(crate) fn new(client: Client) -> Self {
        Self::of(client, Vec::new(), None, None)
    }

    /// Of messages that match a filter, or of everything if there is none.
    pub(crate) fn of(
        client: Client,
        filters: Vec<TopicFilter>,
        bounds: Option<StreamBounds>,
        on_full: Option<OnFull>,
    ) -> Self {
        Self { tap: Tap::open(client.shared(), filters, bounds, on_full), client: Some(client) }
    }

    /// The next message; `None` when the client is gone. Cancel safe: a message is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.tap.poll_message(cx)).await
    }

    /// How many messages were dropped because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.tap.inbox.dropped()
    }

    /// Leaves acknowledging to the application.
    pub const fn manual_acks(self) -> ManualAcks<Self> {
        ManualAcks(self)
    }

    /// Calls a function with each message, one after the other, in a task of its own. The function may use the client
    /// in every way. Ends with the client, or when the task is aborted. A function that owns a clone of the client
    /// keeps it.
    pub fn for_each<F, T>(mut self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.client = None;
        tokio::spawn(self.tap.for_each(handle))
    }

    /// Calls a function with each message, for at most `limit` messages at a time (0 counts as 1), each in a task of
    /// its own. Unlike with [`for_each`](Self::for_each) a message is acknowledged when its handler is done;
    /// acknowledgements leave in the order of arrival whoever is done first. Ends as `for_each` does, and takes
    /// handlers that are not done with it: their messages stay unacknowledged, and so does that of a handler which
    /// panics.
    pub fn for_each_concurrent<F, T>(mut self, limit: usize, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.client = None;
        tokio::spawn(concurrent::for_each(self.tap, limit, handle))
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.tap.poll_message(cx)
    }
}

/// A stream of messages that the application acknowledges by hand: [`Subscription::manual_acks`],
/// [`Messages::manual_acks`].
#[derive(Debug)]
pub struct ManualAcks<S>(S);

impl<S: Source> ManualAcks<S> {
    /// The next message; `None` when the stream has ended. Cancel safe: a message is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Unacknowledged> {
        std::future::poll_fn(|cx| self.0.tap().poll_unacknowledged(cx)).await
    }

    /// The stream itself, for its questions.
    pub const fn get_ref(&self) -> &S {
        &self.0
    }
}

impl<S: Source + Unpin> Stream for ManualAcks<S> {
    type Item = Unacknowledged;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Unacknowledged>> {
        self.0.tap().poll_unacknowledged(cx)
    }
}

/// A message that waits for the application's acknowledgement. It is the message, too.
///
/// Acknowledgements leave in the order in which the messages arrived, so each one waits for all before it. One that is
/// dropped without acknowledgement holds back all later ones of its QoS; the server sends it again on the next
/// connection that resumes the session.
#[derive(Debug)]
pub struct Unacknowledged {
    message: Message,
    ticket: Ticket,
    shared: Arc<Shared>,
}

impl Unacknowledged {
    /// Acknowledges with this reason and gives the message. An error refuses it: the server does not send it again. On
    /// 3.x every reason is success. Nothing is sent at QoS 0, and nothing if the connection that brought the message is
    /// gone.
    pub fn acknowledge(self, reason: ReasonCode) -> Message {
        self.shared.settle(self.ticket.settle(reason));
        self.message
    }
}

impl Deref for Unacknowledged {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// A place in the dispatch: where a stream gets its messages from.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    /// Messages of QoS 0 that were fetched with an earlier one and not returned.
    batch: Items,
    id: StreamId,
}

impl Tap {
    /// A place for these filters, or for everything if there are none. Bounds that are not given are those of the
    /// options.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        filters: Vec<TopicFilter>,
        bounds: Option<StreamBounds>,
        on_full: Option<OnFull>,
    ) -> Self {
        let options = Arc::clone(&shared.station.lock().options);
        let bounds = bounds.unwrap_or(options.stream_bounds);
        let on_full = on_full.unwrap_or(options.on_full);
        let inbox = Arc::new(Inbox::new(bounds, on_full, Arc::clone(&shared.gauge)));
        let id = shared.dispatch.lock().add(Arc::clone(&inbox), filters);
        Self { shared: Arc::clone(shared), inbox, batch: Items::new(), id }
    }

    /// Its name in the dispatch.
    pub(crate) const fn id(&self) -> StreamId {
        self.id
    }

    /// The server does not have these filters.
    pub(crate) fn disown(&self, filters: &[TopicFilter]) {
        let mut dispatch = self.shared.dispatch.lock();
        for filter in filters {
            dispatch.refused(self.id, filter);
        }
    }

    #[inline]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if self.batch.is_empty() {
            ready!(self.poll_fetch(true, cx));
        }
        Poll::Ready(self.batch.pop_front().map(|item| item.message))
    }

    pub(crate) fn poll_unacknowledged(&mut self, cx: &mut Context<'_>) -> Poll<Option<Unacknowledged>> {
        if self.batch.is_empty() {
            ready!(self.poll_fetch(false, cx));
        }
        let shared = &self.shared;
        let unacknowledged =
            |Item { message, ticket, .. }| Unacknowledged { message, ticket, shared: Arc::clone(shared) };
        Poll::Ready(self.batch.pop_front().map(unacknowledged))
    }

    /// Gets at least one message, unless the stream has ended; tells the driver. See [`Inbox::poll_fetch`].
    fn poll_fetch(&mut self, acknowledges: bool, cx: &mut Context<'_>) -> Poll<()> {
        let fetched = ready!(self.inbox.poll_fetch(&mut self.batch, acknowledges, cx));
        if fetched == Some(true) {
            self.shared.order_collecting(&self.inbox);
        }
        Poll::Ready(())
    }

    async fn for_each<F, T>(mut self, mut handle: F)
    where
        F: FnMut(Message) -> T,
        T: Future<Output = ()>,
    {
        while let Some(message) = std::future::poll_fn(|cx| self.poll_message(cx)).await {
            handle(message).await;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Nobody will take what is left: it must not hold back the acknowledgements of others.
        let _ = self.inbox.abandon(|left| self.shared.note(left));
        // A stream that was too full holds up nobody any more.
        self.shared.order_acknowledging();
        if self.shared.dispatch.lock().remove(self.id) {
            // Without a connection the next one that resumes the session unsubscribes.
            let _ = self.shared.order(Command::Tidy);
        }
    }
}

/// What [`ManualAcks`] is made of: [`Subscription`] or [`Messages`].
pub trait Source: sealed::Tapped {}

impl Source for Subscription {}
impl Source for Messages {}

impl sealed::Tapped for Subscription {
    fn tap(&mut self) -> &mut Tap {
        &mut self.tap
    }
}

impl sealed::Tapped for Messages {
    fn tap(&mut self) -> &mut Tap {
        &mut self.tap
    }
}

mod sealed {
    use super::Tap;

    /// Not nameable outside, so that nobody else implements it.
    pub trait Tapped {
        fn tap(&mut self) -> &mut Tap;
    }
}
