//! The server: what applications hold.
//!
//! [`Server`] collects what is wanted, [`RunningServer`] is the handle while it runs. Relates to: the broker, which all
//! tasks share; `handshake.rs`, which gets each accepted stream. Leaves out: what a connection does.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{AuthenticationMethod, ClientId, Message, Outbound, QoS, TopicError, TopicFilter};
#[cfg(feature = "websocket")]
use gantline_transport::WebSocketServerOptions;
use gantline_transport::{Address, Clock, Listener, Stream};
#[cfg(feature = "tls")]
use gantline_transport::{TlsAcceptor, TlsServerOptions};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::accepting::accept_all;
use crate::admission::Admission;
use crate::broker::Broker;
use crate::broker::publication::Publication;
use crate::broker::publish::Publisher;
use crate::broker::slot::{ClientSlot, Order};
use crate::error::{PublishError, StartError};
use crate::events::{MessageEvent, ServerEvent};
use crate::handshake;
use crate::hold::HoldCredit;
use crate::listening::{Layers, Place};
use crate::local::LocalSubscription;
use crate::options::ServerOptions;
use crate::persistence::{self, Persistence};
use crate::retained_store::RetainedStore;
use crate::running::{CUT_OFF, Core};
use crate::sys;
use crate::timekeeper::keep_time;
use crate::unconnected::{self, intercept_wills};
use crate::validation::ConnectionValidator;

/// A server that does not run yet.
///
/// ```
/// use std::time::Duration;
/// use gantline_server::{Message, Server, ServerOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await?;
/// println!("listening on {}", server.local_addresses()[0]);
/// server.publish(Message::new("announcements", "up")?.retain(true)).await?;
/// server.shutdown(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    pub(crate) options: ServerOptions,
    pub(crate) places: Vec<Place>,
    listeners: Vec<Box<dyn Listener>>,
    workers: Vec<Handle>,
    retained_store: Option<Arc<dyn RetainedStore>>,
    #[cfg(feature = "tls")]
    tls: Option<TlsServerOptions>,
    #[cfg(feature = "websocket")]
    pub(crate) websocket: Option<WebSocketServerOptions>,
}

impl Server {
    /// A server with these options that listens nowhere, which is enough for an application that brings its own
    /// streams ([`RunningServer::serve`]).
    pub const fn new(options: ServerOptions) -> Self {
        Self {
            options,
            places: Vec::new(),
            listeners: Vec::new(),
            workers: Vec::new(),
            retained_store: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "websocket")]
            websocket: None,
        }
    }

    /// Adds a listener of your own.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// The certificate of the server and everything else about TLS, for all its `mqtts://` and `wss://` addresses.
    /// Default: none; then such an address is an error, and so are TLS options without one. For renewals see
    /// [`TlsServerOptions::watch_files`], which counts from the start of the server, and [`RunningServer::tls`]. A
    /// handshake has to end within the [connect time-out](ServerOptions::connect_timeout).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, options: TlsServerOptions) -> Self {
        self.tls = Some(options);
        self
    }

    /// Adds a method of extended authentication (5.0 only), for clients that name it in CONNECT. May be called more
    /// than once; of two methods with one name, the first counts. A client with a method that is not here is refused
    /// with 0x8C, one without a method is not concerned.
    ///
    /// A client is authenticated before it gets its session, within the
    /// [connect time-out](ServerOptions::connect_timeout), and again whenever it wants; then everything else goes on
    /// meanwhile, for ten seconds at most. A method that panics ends the connection it is about with 0x80.
    #[must_use]
    pub fn authentication_method(mut self, method: impl AuthenticationMethod + 'static) -> Self {
        self.options.authentication_methods.push(Arc::new(method));
        self
    }

    /// Judges each CONNECT before its client gets a session: who may connect, and on which terms. Of two validators,
    /// the last counts. It has the [connect time-out](ServerOptions::connect_timeout) for it, and no other client waits
    /// meanwhile; if it panics, the client is refused with 0x80. Default: everybody may connect.
    ///
    /// ```
    /// use gantline_server::{ConnectionRequest, ReasonCode, Server, ServerOptions, Verdict};
    ///
    /// let server = Server::new(ServerOptions::default()).validate_connections(|client: ConnectionRequest| async move {
    ///     if client.client_id().as_str().len() < 10 {
    ///         return Verdict::refuse(ReasonCode::ClientIdentifierNotValid);
    ///     }
    ///     if client.user_name() != Some("mySecretUser") || client.password().is_none_or(|it| it != "mySecretPassword") {
    ///         return Verdict::refuse(ReasonCode::BadUserNameOrPassword);
    ///     }
    ///     Verdict::accept()
    /// });
    /// ```
    #[must_use]
    pub fn validate_connections(mut self, validator: impl ConnectionValidator + 'static) -> Self {
        self.options.connection_validator = Some(Arc::new(validator));
        self
    }

    /// Keeps retained messages in a store: they are loaded before anybody can connect, and saved as they change, in the
    /// background, so that nobody waits for the store. Default: they are in memory only.
    ///
    /// A store that fails does not stop the server: see
    /// [`Metrics::retained_store_failures`](crate::Metrics::retained_store_failures) and
    /// [`Metrics::retained_unsaved`](crate::Metrics::retained_unsaved). What the store promises about a crash is its
    /// own matter; a [`shutdown`](RunningServer::shutdown) saves everything.
    #[must_use]
    pub fn retained_store(mut self, store: impl RetainedStore + 'static) -> Self {
        self.retained_store = Some(Arc::new(store));
        self
    }

    /// Spreads connections over these runtimes, one after the other, instead of the one that `start` is called on. A
    /// connection stays on its runtime. They have to outlive the server and need IO and time.
    #[must_use]
    pub fn workers(mut self, workers: Vec<Handle>) -> Self {
        self.workers = workers;
        self
    }

    /// Begins to listen. Accepting and timekeeping run on the runtime on which this is called.
    ///
    /// # Errors
    ///
    /// An address is not one, or cannot be listened on, or the TLS options are wrong, or the retained messages cannot
    /// be loaded. Then nothing is left running.
    pub async fn start(self) -> Result<RunningServer, StartError> {
        let layers = Layers::new(
            self.options.tcp.clone(),
            #[cfg(feature = "tls")]
            self.tls,
            #[cfg(feature = "websocket")]
            self.websocket,
            &self.places,
        );
        let layers = layers.await?;
        let (broker, clock) = (Arc::new(Broker::new(self.options)), Clock::new());
        if let Some(store) = &self.retained_store {
            persistence::load(&**store, &broker, clock).await?;
        }
        let mut listeners = self.listeners;
        for place in self.places {
            listeners.push(layers.bind(place).await?);
        }
        let (alive, ended) = mpsc::channel(1);
        let core = Arc::new(Core {
            persistence: self
                .retained_store
                .map(|store| Persistence::start(store, Arc::clone(&broker), clock)),
            broker,
            clock,
            addresses: listeners.iter().map(|listener| listener.local_address()).collect(),
            stopping: watch::Sender::new(false),
            alive: Mutex::new(Some(alive)),
            ended: tokio::sync::Mutex::new(ended),
            keepers: Mutex::default(),
            layers,
        });
        intercept_wills(&core.broker, core.clock);
        let mut keepers = vec![tokio::spawn(keep_time(Arc::clone(&core.broker), core.clock)).abort_handle()];
        let interval = core.broker.options.sys_interval;
        if !interval.is_zero() {
            let numbers = sys::publish_numbers(Arc::clone(&core.broker), core.clock, interval);
            keepers.push(tokio::spawn(numbers).abort_handle());
        }
        *core.keepers.lock() = keepers;
        for listener in listeners {
            tracing::info!(name: "server.listening", address = %listener.local_address(), "listening");
            if let Some(door) = core.door() {
                tokio::spawn(accept_all(listener, door, self.workers.clone()));
            }
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = core.layers.tls.clone() {
            tokio::spawn(watch_files(tls, core.stopping.subscribe()));
        }
        Ok(RunningServer { core })
    }

    /// Runs the server until a future is ready, then shuts it down within five seconds.
    ///
    /// # Errors
    ///
    /// As of [`start`](Self::start).
    pub async fn run_until<T>(self, until: impl Future<Output = T>) -> Result<T, StartError> {
        let server = self.start().await?;
        let result = until.await;
        server.shutdown(Duration::from_secs(5)).await;
        Ok(result)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("places", &self.places).finish_non_exhaustive()
    }
}

/// A server that runs. Clones are handles of the same server; when the last one is dropped, it stops as with a
/// [`shutdown`](Self::shutdown) whose deadline has passed, and nobody waits for it.
#[derive(Clone, Debug)]
pub struct RunningServer {
    pub(crate) core: Arc<Core>,
}

impl RunningServer {
    /// Where it listens, in the order in which the listeners were added, own listeners first; with the true ports.
    pub fn local_addresses(&self) -> &[Address] {
        &self.core.addresses
    }

    /// The TLS of the server, to [reload](TlsAcceptor::reload_from_files) a renewed certificate without disturbing
    /// anybody. `None` if the server was started without [`Server::tls`].
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.core.layers.tls.as_ref()
    }

    /// Publishes a message of the application, and returns to how many subscribers it goes (a share group is one).
    ///
    /// It needs no client. If a subscriber cannot keep up, this waits for it as a publishing client would be held back:
    /// at most 50 ms. Not cancel safe in the sense that a message is never taken back: dropped while it waits, it is
    /// published.
    ///
    /// # Errors
    ///
    /// The message cannot be expressed, a [hook](Server::intercept_publishes) refuses it, it is to be retained and
    /// there is no room for it, or the server is shut down.
    pub async fn publish(&self, message: Message) -> Result<usize, PublishError> {
        self.publish_from(None, &message).await
    }

    /// Publishes a message in the name of a client, as [`publish`](Self::publish) does otherwise: if it has a session,
    /// its subscriptions that want none of its own messages do not get this one, and events name it. Whether there is
    /// such a client is nobody's concern.
    ///
    /// # Errors
    ///
    /// As of [`publish`](Self::publish).
    pub async fn publish_as(&self, sender: &ClientId, message: Message) -> Result<usize, PublishError> {
        let slot = self.core.broker.clients.get(sender.as_str());
        self.publish_from(slot.as_ref(), &message).await
    }

    /// Whether a message can be published now.
    pub(crate) fn check(&self, message: &Message) -> Result<(), PublishError> {
        message.check()?;
        if *self.core.stopping.borrow() { Err(PublishError::Stopped) } else { Ok(()) }
    }

    async fn publish_from(
        &self,
        sender: Option<&Arc<ClientSlot>>,
        message: &Message,
    ) -> Result<usize, PublishError> {
        self.check(message)?;
        let Core { broker, clock, .. } = &*self.core;
        let judged;
        let message = if broker.options.hooks.sees_publishes() {
            judged = unconnected::judge(broker, message, clock.now()).await?;
            match &judged {
                Some(message) => message,
                None => return Ok(0),
            }
        } else {
            message
        };
        let (receivers, filled) = {
            let now = clock.now();
            let outbound = Outbound::new(message, now);
            let mut publisher = Publisher::new(sender);
            let receivers = publisher.publish(broker, &mut Publication::of_message(&outbound), now)?;
            publisher.settle(broker, now);
            publisher.after.wake();
            if receivers == 0 {
                unconnected::tell_undelivered(broker, &outbound, now);
            }
            (receivers, std::mem::take(&mut publisher.after.filled))
        };
        if !filled.is_empty()
            && let Some(mut hold) =
                HoldCredit::default().hold(&broker.counters, filled.into_iter(), clock.now())
        {
            poll_fn(|cx| hold.poll(&broker.counters, clock.now(), cx)).await;
        }
        Ok(receivers)
    }

    /// Subscribes the application: first come the retained messages, then what is published.
    ///
    /// # Errors
    ///
    /// The filter is none.
    pub fn subscribe<F>(&self, filter: F, qos: QoS) -> Result<LocalSubscription, TopicError>
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        let filter = filter.try_into().map_err(Into::into)?;
        let mut subscription = LocalSubscription::new(&self.core.broker, self.core.clock, filter, qos);
        // The order to all may have come too early for this one.
        if *self.core.stopping.borrow() {
            subscription.end();
        }
        Ok(subscription)
    }

    /// Serves a connection that the application has accepted itself, as it is; see [`accept`](Self::accept) for TLS and
    /// the like on top of it. Does nothing but close it if the server is shut down or has too many connections. It runs
    /// on the runtime on which this is called.
    pub fn serve(&self, stream: Stream) {
        if let Some(door) = self.core.door()
            && let Some(admission) = Admission::new(&door.broker, &door.alive)
        {
            tokio::spawn(handshake::serve(stream, admission, door.clock, door.stopping));
        }
    }

    /// Stops the server and returns when every task of a connection has ended and the retained messages are saved.
    ///
    /// No more connections are accepted; 5.0 clients are told 0x8B, and each connection has until the deadline to take
    /// what waits for it. Whoever has not by then is cut off, which may take the
    /// [close time-out](ServerOptions::close_timeout) longer. Wills are not published. A
    /// [store](Server::retained_store) that has not saved the last changes by then gets at least five seconds for them.
    /// Cancel safe: called again, it goes on waiting.
    pub async fn shutdown(&self, deadline: Duration) {
        let core = &self.core;
        let began = Instant::now();
        core.stop();
        core.order(Order::Shutdown);
        let mut ended = core.ended.lock().await;
        if tokio::time::timeout(deadline, ended.recv()).await.is_err() {
            tracing::warn!(
                name: "server.cut_off", connections = core.broker.counters.connections.get(),
                "the deadline has passed, cutting off"
            );
            core.order(CUT_OFF);
            ended.recv().await;
        }
        if let Some(persistence) = &core.persistence {
            persistence.finish(deadline.saturating_sub(began.elapsed())).await;
        }
        tracing::info!(name: "server.stopped", "stopped");
        core.broker.events.announce(|| ServerEvent::Stopped);
        core.broker.events.messages.announce(|| MessageEvent::Stopped);
    }
}

/// Reads renewed certificates, if that is wanted, until the server stops.
#[cfg(feature = "tls")]
async fn watch_files(tls: TlsAcceptor, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = tls.watch() => {}
        _ = stopping.wait_for(|stops| *stops) => {}
    }
}
