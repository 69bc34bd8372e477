//! The handle.
//!
//! A [`ManagedClient`] is a cheap clone of one handle. It records what is wanted; the supervisor makes it so. Relates
//! to: `publish.rs` and `subscribe.rs`, where its verbs are. Leaves out: connections.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use gantline_client::{Client, ConnectOptions};
use gantline_protocol::{Message, QoS, ReasonCode, StoreError, TopicError, TopicFilter};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::counters::Counters;
use crate::event::{ManagedEvent, ManagedEvents};
use crate::lifecycle;
use crate::options::ManagedOptions;
use crate::publish::Publish;
use crate::shared::{Shared, Wish};
use crate::state::{State, StopCause};
use crate::subscribe::Subscribe;
use crate::subscription::ManagedMessages;

/// A client that stays connected: clone it, send it, share it. All clones are one client.
///
/// It stops with the last of its clones, streams and pending publishes; [`stop`](Self::stop) waits for that.
///
/// Every method may be called from anywhere, also from within the handling of a message.
#[derive(Clone, Debug)]
pub struct ManagedClient {
    handle: Arc<Handle>,
}

#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl ManagedClient {
    /// A client that is not started yet: to subscribe before [`start`](Self::start), so that nothing is missed which
    /// the server sends at once to a resumed session.
    pub fn new(options: ManagedOptions) -> Self {
        Self { handle: Arc::new(Handle { shared: Shared::new(options) }) }
    }

    /// Starts, or starts again after a stop: connects, and connects again whenever the connection is lost. Resolves
    /// when what the stores of the outbox and of the session have is read, not when there is a connection; see
    /// [`connected`](Self::connected). Does nothing if the client is running.
    ///
    /// While the client is still stopping, it waits for that. Cancel safe.
    ///
    /// # Errors
    ///
    /// The store of the outbox could not be read, or, next to it, the one of the session, which fails or belongs to
    /// another client id. The client is not started.
    pub async fn start(&self) -> Result<(), StoreError> {
        lifecycle::start(self.shared()).await
    }

    /// Stops: says goodbye and does not connect again. Awaited, resolves when that is done. Messages that wait end as
    /// dropped, or stay in the store; [`Stop::drain`] sends them first. Streams stay, and go on if the client is
    /// started again.
    pub fn stop(&self) -> Stop {
        Stop { handle: Arc::clone(&self.handle), drain: None, reason: ReasonCode::Success }
    }

    /// Resolves when there is a connection, at once if there is one already. Cancel safe.
    ///
    /// # Errors
    ///
    /// The client is stopped, or has given up; the cause says why.
    pub async fn connected(&self) -> Result<(), StopCause> {
        let mut states = self.watch_state();
        let state = states.wait_for(|state| state.is_connected() || state.is_stopped()).await;
        match state.as_deref() {
            Ok(State::Stopped(cause)) => Err(cause.clone()),
            Ok(_) => Ok(()),
            // The sender is ours.
            Err(_) => Err(StopCause::Requested),
        }
    }

    /// Tries to connect now if the client is waiting to: because the network is back, say.
    pub fn retry_now(&self) {
        self.shared().hurry.notify_waiters();
    }

    /// Replaces the options of connections, from the next one on: a fresh password, say. The address in it does not
    /// count: the servers stay as they were. With another client id the next connection has another session.
    pub fn set_connect_options(&self, options: ConnectOptions) {
        let former = std::mem::replace(&mut *self.shared().connect.lock(), Arc::new(options));
        // Not under the lock: there may be user code in it.
        drop(former);
    }

    /// Publishes a message, now or when there is a connection. The future does nothing until it is awaited; then it
    /// resolves with the [`Outcome`](crate::Outcome), or with [`queued`](Publish::queued) as soon as the message is
    /// accepted.
    pub fn publish(&self, message: Message) -> Publish {
        Publish::new(Arc::clone(&self.handle), message)
    }

    /// Subscribes, now and on each connection to come; awaited, gives a stream of the messages at once. Options and
    /// further filters are set on the way:
    ///
    /// ```no_run
    /// # use gantline_managed::{ManagedClient, QoS, TopicError};
    /// # async fn example(client: ManagedClient) -> Result<(), TopicError> {
    /// let doors = client.subscribe("doors/+", QoS::AtLeastOnce).no_local(true).and("locks/+", QoS::AtMostOnce).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A filter that is subscribed to twice has the options of the last time, for all streams.
    pub fn subscribe<F>(&self, filter: F, maximum_qos: QoS) -> Subscribe
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        Subscribe::new(Arc::clone(&self.handle), self.client().subscribe(filter, maximum_qos))
    }

    /// Unsubscribes, whoever holds the filter: streams that are left with no filter end when they have given what they
    /// have. Recorded at once and told to the server when there is a connection. A stream that is dropped unsubscribes
    /// by itself.
    ///
    /// # Errors
    ///
    /// The text is no topic filter.
    pub fn unsubscribe<F>(&self, filter: F) -> Result<(), TopicError>
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        let filter = filter.try_into().map_err(Into::into)?;
        let wakers = self.shared().desire.lock().withdraw(&filter);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// A stream of all messages from now on, those of subscriptions included. It outlives connections and subscribes to
    /// nothing.
    pub fn messages(&self) -> ManagedMessages {
        ManagedMessages::new(Arc::clone(&self.handle), self.client().messages())
    }

    /// Calls a function with each message, one after the other, in a task of its own: an adapter of
    /// [`messages`](Self::messages). Ends with the client, or when the task is aborted. A function that owns a clone of
    /// the client keeps it: then abort the task.
    pub fn on_message<F, T>(&self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.messages().for_each(handle)
    }

    /// A stream of what happens to the client from now on.
    pub fn events(&self) -> ManagedEvents {
        ManagedEvents::new(self.shared().listen())
    }

    /// Calls a function with each event, one after the other, in a task of its own: an adapter of
    /// [`events`](Self::events). Ends with the client, or when the task is aborted. A function that owns a clone of the
    /// client keeps it: then abort the task.
    pub fn on_event<F, T>(&self, mut handle: F) -> JoinHandle<()>
    where
        F: FnMut(ManagedEvent) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut events = self.events();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                handle(event).await;
            }
        })
    }

    /// What the client is doing.
    pub fn state(&self) -> State {
        self.shared().state.borrow().clone()
    }

    /// What the client is doing, to be watched. Always the latest; what came in between may be missed, unlike with
    /// events.
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.shared().state.subscribe()
    }

    /// Whether there is a connection at this moment.
    pub fn is_connected(&self) -> bool {
        self.client().is_connected()
    }

    /// What the client has done so far, and what it has to do.
    pub fn counters(&self) -> Counters {
        self.shared().counters()
    }

    /// The client below, whose connections are managed: to ping, to authenticate again, or for what the server granted.
    /// What is published with it passes the outbox by, and a connection that is ended with it is made again.
    pub fn client(&self) -> &Client {
        &self.shared().client
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    pub(crate) fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Whether there is a connection whose subscriptions are restored.
    pub(crate) fn is_restored(&self) -> bool {
        self.is_connected() && self.shared().desire.lock().is_restored()
    }
}

impl Handle {
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lifecycle::order(&self.shared, Wish::Stop(ReasonCode::Success));
        let wakers = self.shared.desire.lock().end();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A stop to be made: set options, then await it. Made by [`ManagedClient::stop`].
///
/// From the moment it is awaited, new publishes end as dropped. It takes as long as the goodbye and, if there is one,
/// the store of the outbox. Dropped before it resolves, the stop goes on, unless a start was still under way.
#[derive(Clone, Debug)]
#[must_use = "the client runs until this is awaited"]
pub struct Stop {
    handle: Arc<Handle>,
    drain: Option<Duration>,
    reason: ReasonCode,
}

impl Stop {
    /// Sends what is in the outbox first and waits for the outcomes, connecting again if need be, but no longer than
    /// this. [`Duration::MAX`]: as long as it takes. Default: not at all.
    pub const fn drain(mut self, longest: Duration) -> Self {
        self.drain = Some(longest);
        self
    }

    /// The reason of the goodbye. Default: a normal disconnection, after which the server forgets the will. See
    /// [`Disconnect::reason`](gantline_client::Disconnect::reason).
    pub const fn reason(mut self, reason: ReasonCode) -> Self {
        self.reason = reason;
        self
    }
}

impl IntoFuture for Stop {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let wish = match self.drain {
                None => Wish::Stop(self.reason),
                Some(longest) => Wish::Drain(Instant::now().checked_add(longest), self.reason),
            };
            lifecycle::stop(&self.handle.shared, wish).await;
        })
    }
}
