//! The handle.
//!
//! A [`Client`] is a cheap clone of one handle. It holds no connection: what it is asked for goes into the mailbox of
//! the driver, or fails at once if there is none. Relates to: `connecting.rs`, `publish.rs`, `request.rs` and
//! `subscription.rs`, where its verbs are. Leaves out: IO.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{
    ClientId, DisconnectProperties, Message, QoS, ReasonCode, SubscribeFilter, SubscribeProperties,
    TopicError, TopicFilter,
};
use gantline_transport::Stream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::command::{Command, Goodbye, Unanswered};
use crate::connecting;
use crate::error::{ConnectError, ConnectionError, DisconnectCause, ReauthenticateError};
use crate::event::{ConnectionInfo, Event, Events};
use crate::options::ConnectOptions;
use crate::publish::{Delivery, Publish};
use crate::reauthenticate;
use crate::request::{Disconnect, Subscribe, Unsubscribe};
use crate::shared::Shared;
use crate::subscription::Messages;

/// A client: clone it, send it, share it. All clones are one client with at most one connection at a time.
///
/// The connection ends with the last of its clones, [`Subscription`](crate::Subscription)s,
/// [`Messages`] and pending publishes: what was accepted is still written and the server is told goodbye, but
/// nobody waits for it. [`disconnect`](Self::disconnect) does.
///
/// Every method may be called from anywhere, also from within the handling of a message.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Client {
    /// A client that is not connected yet: to take its streams before [`reconnect`](Self::reconnect) connects it for
    /// the first time, so that nothing is missed which the server sends at once to a resumed session.
    pub fn new(options: ConnectOptions) -> Self {
        Self { handle: Arc::new(Handle { shared: Shared::new(options) }) }
    }

    /// Connects to the address of the options; resolves when the server has accepted.
    ///
    /// Cancel safe: a future that is dropped leaves nothing behind.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let client = Self::new(options);
        client.reconnect().await?;
        Ok(client)
    }

    /// Connects over a stream that is open already, whatever it is: a tunnel, a serial line, one end of
    /// [`memory::pair`](gantline_transport::memory::pair). See [`Stream::from_io`].
    ///
    /// If the options have an address, what its scheme puts on top of a socket runs over the stream: TLS for
    /// `mqtts://`, say, with the host of the address as the name of the server. Options without an address
    /// ([`ConnectOptions::default`]) take the stream as it is. Cancel safe; the stream is closed then.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect_with(options: ConnectOptions, stream: Stream) -> Result<Self, ConnectError> {
        let client = Self::new(options);
        client.reconnect_with(stream).await?;
        Ok(client)
    }

    /// Connects this handle, for the first time or again. A session that outlived its connection is resumed: messages
    /// in flight are sent again with their packet ids, in their order and with DUP, and subscriptions go on.
    ///
    /// While the last connection is still closing, it waits for that. Cancel safe.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]; the failure is an [`Event`] too.
    pub async fn reconnect(&self) -> Result<(), ConnectError> {
        connecting::connect(self.shared(), None).await
    }

    /// As [`reconnect`](Self::reconnect), over a stream that is open already; see [`connect_with`](Self::connect_with).
    /// Cancel safe; the stream is closed then.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]; the failure is an [`Event`] too.
    pub async fn reconnect_with(&self, stream: Stream) -> Result<(), ConnectError> {
        connecting::connect(self.shared(), Some(stream)).await
    }

    /// Loads the session from its [store](ConnectOptions::session_store), if there is one and connecting has not done
    /// it already. Gives the publishes of an earlier process that had a [name](Publish::across_restarts) and whose flow
    /// was not over, in the order in which they go on: each with its name and with a future of its outcome. Each is
    /// given once; whoever is not interested drops it.
    ///
    /// Nothing is sent: the session goes on when the client connects. Cancel safe.
    ///
    /// # Errors
    ///
    /// The store fails, or what it has belongs to another client id; or an attempt to connect is loading it now. See
    /// [`ConnectError`].
    pub async fn load_session(&self) -> Result<Vec<(u64, Delivery)>, ConnectError> {
        connecting::load_session(self.shared()).await?;
        let restored = self.shared().pending.lock().take_restored();
        Ok(restored.into_iter().map(|(name, tag)| (name, Delivery::of(self.clone(), tag))).collect())
    }

    /// Replaces the options, for the next connection: another server, a fresh password. With another client id the next
    /// connection has another session.
    pub fn set_options(&self, options: ConnectOptions) {
        let former = std::mem::replace(&mut self.shared().station.lock().options, Arc::new(options));
        // Not under the lock: there may be user code in it, such as the owner of a payload.
        drop(former);
    }

    /// Publishes a message. The future does nothing until it is awaited; then it resolves with the acknowledgement, or
    /// with [`queued`](Publish::queued) as soon as the message is accepted.
    pub fn publish(&self, message: Message) -> Publish {
        Publish::new(self.clone(), message)
    }

    /// Subscribes; awaited, gives a stream of the messages. Options and further filters are set on the way:
    ///
    /// ```no_run
    /// # use gantline_client::{Client, QoS};
    /// # async fn example(client: Client) -> Result<(), gantline_client::SubscribeError> {
    /// let doors = client.subscribe("doors/+", QoS::AtLeastOnce).no_local(true).and("locks/+", QoS::AtMostOnce).await?;
    /// # Ok(()) }
    /// ```
    pub fn subscribe<F>(&self, filter: F, maximum_qos: QoS) -> Subscribe
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        self.subscribe_to(Vec::new(), SubscribeProperties::default()).and(filter, maximum_qos)
    }

    /// As [`subscribe`](Self::subscribe), for filters that have their options already.
    pub fn subscribe_to(&self, filters: Vec<SubscribeFilter>, properties: SubscribeProperties) -> Subscribe {
        Subscribe::new(self.clone(), filters, properties)
    }

    /// Unsubscribes, whoever holds the filter: streams that are left with no filter end. A stream that is dropped
    /// unsubscribes by itself.
    pub fn unsubscribe<F>(&self, filter: F) -> Unsubscribe
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        Unsubscribe::new(self.clone()).and(filter)
    }

    /// A stream of all messages from now on, those of subscriptions included. It outlives connections.
    ///
    /// A message that several streams want is acknowledged when the last of them has taken it. If the connection is
    /// lost before, one of QoS 2 that some of them have taken counts as taken, so that they do not get it again; the
    /// others keep it. One that no stream wants is acknowledged, dropped and told as an event; so take this before
    /// connecting if a session is resumed whose subscriptions were made elsewhere.
    pub fn messages(&self) -> Messages {
        Messages::new(self.clone())
    }

    /// Calls a function with each message, one after the other, in a task of its own: an adapter of
    /// [`messages`](Self::messages). The function may use the client in every way. Ends with the client, or when the
    /// task is aborted. A function that owns a clone of the client keeps it: then abort the task.
    pub fn on_message<F, T>(&self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Message) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.messages().for_each(handle)
    }

    /// A stream of what happens to the connection from now on.
    pub fn events(&self) -> Events {
        self.shared().listeners.listen()
    }

    /// Calls a function with each event, one after the other, in a task of its own: an adapter of
    /// [`events`](Self::events). Ends with the client, or when the task is aborted. A function that owns a clone of the
    /// client keeps it: then abort the task.
    pub fn on_event<F, T>(&self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Event) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.on(handle, Some)
    }

    /// Calls a function with what the server granted whenever a connection is there from now on: an adapter of
    /// [`events`](Self::events), as [`on_event`](Self::on_event) is. Subscriptions of a session that is gone can be
    /// made anew here.
    pub fn on_connected<F, T>(&self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(Arc<ConnectionInfo>) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.on(handle, |event| match event {
            Event::Connected(info) => Some(info),
            _ => None,
        })
    }

    /// Calls a function with the cause whenever a connection has ended from now on: an adapter of
    /// [`events`](Self::events), as [`on_event`](Self::on_event) is. It may [`reconnect`](Self::reconnect); an attempt
    /// that fails is no disconnection, but [`Event::ConnectFailed`].
    pub fn on_disconnected<F, T>(&self, handle: F) -> JoinHandle<()>
    where
        F: FnMut(DisconnectCause) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.on(handle, |event| match event {
            Event::Disconnected { cause } => Some(cause),
            _ => None,
        })
    }

    /// Calls a function with what `select` makes of the events from now on.
    fn on<E, F, T>(&self, mut handle: F, select: fn(Event) -> Option<E>) -> JoinHandle<()>
    where
        E: Send + 'static,
        F: FnMut(E) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut events = self.events();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Some(selected) = select(event) {
                    handle(selected).await;
                }
            }
        })
    }

    /// Authenticates again on the present connection, with the [method](ConnectOptions::authentication) that it was
    /// made with: because a token expires, say. Everything else goes on meanwhile. One at a time.
    ///
    /// The method runs in this future. **Not cancel safe:** the server cannot be asked to forget an exchange that has
    /// begun, so a future that is dropped from then on ends the connection, with
    /// [`AuthenticationFailure::Abandoned`](crate::AuthenticationFailure::Abandoned) as its cause. A time-out around it
    /// is therefore a bound for the server too; there is none otherwise.
    ///
    /// # Errors
    ///
    /// See [`ReauthenticateError`]. When the exchange fails, the connection is over [MQTT-4.12.1-2].
    pub async fn reauthenticate(&self) -> Result<(), ReauthenticateError> {
        reauthenticate::reauthenticate(self.shared()).await
    }

    /// Pings the server; resolves with how long the answer took. Cancel safe: the ping is sent all the same.
    ///
    /// # Errors
    ///
    /// There is no connection, it ended before the answer came, or that took too long.
    pub async fn ping(&self) -> Result<Duration, ConnectionError> {
        let (reply, answer) = oneshot::channel();
        self.order(Command::Ping(reply), answer).await?.map_err(|unanswered| match unanswered {
            Unanswered::TimedOut(limit) => ConnectionError::TimedOut { limit },
            // A ping is always sent.
            Unanswered::Failed(_) => ConnectionError::NotConnected,
        })
    }

    /// Resolves when everything that was accepted before is written to the network. That is no acknowledgement. Cancel
    /// safe: it only waits.
    ///
    /// # Errors
    ///
    /// There is no connection, or it ended before all was written.
    pub async fn flush(&self) -> Result<(), ConnectionError> {
        let (reply, answer) = oneshot::channel();
        self.order(Command::Flush(reply), answer).await
    }

    /// Ends the connection: writes what was accepted before, says goodbye, closes. Awaited, resolves when that is done,
    /// at the latest after the close time-out of the options. The handle can connect again.
    pub fn disconnect(&self) -> Disconnect {
        Disconnect::new(self.clone())
    }

    /// Whether there is a connection at this moment.
    pub fn is_connected(&self) -> bool {
        self.shared().is_connected()
    }

    /// What the server granted to the present connection; `None` without one.
    pub fn connection(&self) -> Option<Arc<ConnectionInfo>> {
        self.shared().station.lock().info.clone()
    }

    /// The client id: the one of the last attempt to connect, be it given, generated or assigned; before that, the one
    /// of the options, if they give one.
    pub fn client_id(&self) -> Option<ClientId> {
        self.shared().station.lock().client_id()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Orders something and waits for the answer.
    pub(crate) async fn order<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, ConnectionError> {
        self.shared().order(command).map_err(|_| ConnectionError::NotConnected)?;
        answer.await.map_err(|_| self.shared().lost().into())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.station.lock().abandoned = true;
        let goodbye =
            Goodbye { reason: ReasonCode::Success, properties: DisconnectProperties::default(), reply: None };
        // Whoever ends the connection ends the streams; without one that is up to us.
        if self.shared.order(Command::Disconnect(Box::new(goodbye))).is_err() {
            self.shared.end_if_idle();
        }
    }
}
