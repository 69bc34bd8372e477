//! What a managed client is to do: where to connect, how patiently, and what to keep meanwhile.
//!
//! Relates to: [`ConnectOptions`], the options of each connection. Leaves out: subscriptions, which are made with the
//! client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gantline_client::ConnectOptions;
use gantline_transport::{Address, AddressError};

use crate::outbox_store::OutboxStore;
use crate::state::Failure;

/// How to stay connected. See the setters for what there is and what holds if nothing is said.
///
/// ```
/// use std::time::Duration;
///
/// use gantline_managed::{ConnectOptions, ManagedOptions, OnOutboxFull};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connect = ConnectOptions::new("mqtt://a.example")?
///     .client_id("kitchen")?
///     .session_expiry(Duration::from_secs(3600));
/// let options = ManagedOptions::new(connect)
///     .server("mqtt://b.example")?
///     .backoff(Duration::from_millis(500), Duration::from_secs(30))
///     .max_pending(1_000, 1 << 20)
///     .on_outbox_full(OnOutboxFull::DropOldest);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ManagedOptions {
    pub(crate) connect: ConnectOptions,
    pub(crate) servers: Vec<Address>,
    pub(crate) shortest_pause: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) stable_after: Duration,
    pub(crate) outbox: OutboxBounds,
    pub(crate) max_in_flight: u16,
    pub(crate) in_doubt: InDoubt,
    pub(crate) filters_per_request: usize,
    pub(crate) follow_references: bool,
    pub(crate) stop_when: Arc<dyn Fn(&Failure) -> bool + Send + Sync>,
    pub(crate) store: Option<Arc<dyn OutboxStore>>,
}

/// The bounds of the outbox and what happens at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxBounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) on_full: OnOutboxFull,
}

/// What the outbox does with a message that exceeds its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutboxFull {
    /// The message is dropped. The default.
    #[default]
    DropNewest,
    /// The oldest that waits gives way. What is in flight stays; if everything is, the message is dropped.
    DropOldest,
}

/// What becomes of a message of QoS 2 that was sent and whose session the server has lost: it may have arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// It ends as indeterminate, so that it arrives at most once. The default.
    #[default]
    GiveUp,
    /// It is sent again, so that it arrives at least once and perhaps twice.
    Resend,
}

impl ManagedOptions {
    /// Options for connections with these options.
    ///
    /// With a [session that outlives its connections](ConnectOptions::session_expiry), messages in flight go on where
    /// they were and the server keeps what comes meanwhile. Without one, each connection subscribes anew and messages
    /// of QoS 2 in flight are [in doubt](Self::in_doubt).
    pub fn new(connect: ConnectOptions) -> Self {
        let servers = connect.address().cloned().into_iter().collect();
        Self {
            connect,
            servers,
            shortest_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            stable_after: Duration::from_secs(30),
            outbox: OutboxBounds { messages: 10_000, bytes: 16 << 20, on_full: OnOutboxFull::default() },
            max_in_flight: 1024,
            in_doubt: InDoubt::default(),
            filters_per_request: 8,
            follow_references: false,
            stop_when: Arc::new(Failure::is_fatal),
            store: None,
        }
    }

    /// Adds a server, to be tried when those before it cannot be reached or refuse. All else is as for the first one,
    /// but for credentials in the URL. Each has its turn before there is a pause.
    ///
    /// # Errors
    ///
    /// The text is no address.
    pub fn server(mut self, url: impl AsRef<str>) -> Result<Self, AddressError> {
        self.servers.push(Address::new(url)?);
        Ok(self)
    }

    /// The longest pause after the first failure, which doubles with each failure, and the longest pause at all. How
    /// long each really is, chance decides, from nothing to that. Default 1 s and 60 s.
    pub const fn backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.shortest_pause = shortest;
        self.longest_pause = longest;
        self
    }

    /// How long a connection must last so that the next failure counts as the first one. Default 30 s.
    pub const fn stable_after(mut self, span: Duration) -> Self {
        self.stable_after = span;
        self
    }

    /// How many messages may be in the outbox, waiting and in flight, and how many bytes of topics, payloads and
    /// properties. An empty outbox takes one message of any size. Default 10,000 messages and 16 MiB.
    pub const fn max_pending(mut self, messages: usize, bytes: usize) -> Self {
        self.outbox.messages = messages;
        self.outbox.bytes = bytes;
        self
    }

    /// What happens to a message above these bounds. Default [`OnOutboxFull::DropNewest`].
    pub const fn on_outbox_full(mut self, on_full: OnOutboxFull) -> Self {
        self.outbox.on_full = on_full;
        self
    }

    /// How many messages of QoS 1 and 2 may be in flight, if the server's Receive Maximum allows as many. Default
    /// 1,024, at least 1.
    pub const fn max_in_flight(mut self, messages: u16) -> Self {
        self.max_in_flight = if messages == 0 { 1 } else { messages };
        self
    }

    /// What becomes of messages of QoS 2 whose session the server has lost. Default [`InDoubt::GiveUp`].
    pub const fn in_doubt(mut self, in_doubt: InDoubt) -> Self {
        self.in_doubt = in_doubt;
        self
    }

    /// How many filters go into one SUBSCRIBE or UNSUBSCRIBE; fewer if the server's Maximum Packet Size demands it.
    /// Default 8, because there are servers that close the connection at more; at least 1.
    pub const fn filters_per_request(mut self, filters: usize) -> Self {
        self.filters_per_request = if filters == 0 { 1 } else { filters };
        self
    }

    /// Whether to go where the server sends us: its Server Reference with Use another server (0x9C) or Server moved
    /// (0x9D). Default false, because it takes our credentials to a server that nobody has configured; never to one
    /// with a less safe transport. Not followed, such a refusal is one like others.
    pub const fn follow_references(mut self, follow: bool) -> Self {
        self.follow_references = follow;
        self
    }

    /// On which failures to stop instead of trying again. Default [`Failure::is_fatal`].
    ///
    /// ```
    /// use gantline_managed::{ConnectOptions, Failure, ManagedOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stubborn = ManagedOptions::new(ConnectOptions::new("mqtt://localhost")?).stop_when(|_| false);
    /// # Ok(()) }
    /// ```
    pub fn stop_when(mut self, stops: impl Fn(&Failure) -> bool + Send + Sync + 'static) -> Self {
        self.stop_when = Arc::new(stops);
        self
    }

    /// Keeps the outbox in a store, so that its messages outlive the program. A message is accepted when the store has
    /// it. Default: none, the outbox is in memory only.
    ///
    /// To keep the promise of QoS 2 when the program is killed, give the connections a
    /// [session store](ConnectOptions::session_store) and [`clean_start(false)`](ConnectOptions::clean_start) as well:
    /// then a message in flight goes on where it was, and the outbox waits for it. The two stores belong together.
    pub fn outbox_store(mut self, store: impl OutboxStore + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }
}

impl fmt::Debug for ManagedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedOptions")
            .field("connect", &self.connect)
            .field("servers", &self.servers)
            .field("shortest_pause", &self.shortest_pause)
            .field("longest_pause", &self.longest_pause)
            .field("stable_after", &self.stable_after)
            .field("outbox", &self.outbox)
            .field("max_in_flight", &self.max_in_flight)
            .field("in_doubt", &self.in_doubt)
            .field("filters_per_request", &self.filters_per_request)
            .field("follow_references", &self.follow_references)
            .field("store", &self.store.is_some())
            .finish_non_exhaustive()
    }
}
