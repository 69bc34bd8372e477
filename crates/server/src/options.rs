//! The options of a server: what it grants, and the bounds of everything that a client can fill.
//!
//! Relates to: [`Offer`], the part of it that is negotiated with each client; [`Server`](crate::Server), which takes
//! them. Leaves out: where the server listens.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{AuthenticationMethod, MAXIMUM_PACKET_SIZE, Offer, QoS};
use gantline_transport::{Address, MailboxLimits, Overflow, TcpOptions};

use crate::hooks::Hooks;
use crate::memory;
use crate::rate::Rates;
use crate::validation::ConnectionValidator;

/// How a server behaves. All bounds have defaults, named at their setters.
///
/// ```
/// use std::time::Duration;
/// use gantline_server::ServerOptions;
///
/// let options = ServerOptions::default()
///     .max_connections(10_000)
///     .max_packet_size(1 << 20)
///     .connect_timeout(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(crate) offer: Offer,
    pub(crate) tcp: TcpOptions,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) max_sessions: usize,
    pub(crate) max_subscriptions_per_client: usize,
    pub(crate) max_retained_messages: usize,
    pub(crate) max_retained_bytes: usize,
    pub(crate) rates: Rates,
    pub(crate) max_topic_length: u16,
    pub(crate) sys_interval: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_connect_size: u32,
    pub(crate) max_topic_levels: u16,
    pub(crate) queue: MailboxLimits,
    pub(crate) parked_messages: u32,
    pub(crate) memory_budget: u64,
    pub(crate) close_timeout: Duration,
    /// Given to [`Server`](crate::Server), and kept here because all connections see the options.
    pub(crate) authentication_methods: Vec<Arc<dyn AuthenticationMethod>>,
    /// Likewise.
    pub(crate) connection_validator: Option<Arc<dyn ConnectionValidator>>,
    /// Likewise.
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) hook_timeout: Duration,
}

impl ServerOptions {
    /// Where a broker usually listens: `mqtt://0.0.0.0:1883`, for [`Server::listen`](crate::Server::listen).
    pub fn default_endpoint() -> Address {
        Address::from(SocketAddr::from(([0, 0, 0, 0], 1883)))
    }

    /// How many connections there may be at a time. One more is told "quota exceeded" (3.x: "server unavailable").
    /// Default: no bound but the system's.
    #[must_use]
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How many connections there may be at a time from one address, from when the handshake of the transport has
    /// ended; of IPv6, from one /64. Behind a load balancer that speaks the PROXY protocol the address is the one that
    /// it tells; connections without one, such as those of Unix sockets, are not concerned. One more is told "quota
    /// exceeded" (3.x: "server unavailable"). Default: no bound.
    #[must_use]
    pub const fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = connections;
        self
    }

    /// How many sessions there may be at a time, of clients that are connected or away. A client that has none, and
    /// comes when there are as many, is told "quota exceeded" (3.x: "server unavailable"). Default 1,000,000.
    #[must_use]
    pub const fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// How many subscriptions one client may have. A filter above is refused with 0x97 (3.x: 0x80), a subscription that
    /// it has may be changed. The application is not bound by it. Default 100,000.
    #[must_use]
    pub const fn max_subscriptions_per_client(mut self, subscriptions: usize) -> Self {
        self.max_subscriptions_per_client = subscriptions;
        self
    }

    /// How many filters one SUBSCRIBE or UNSUBSCRIBE may have. One with more ends the connection with 0x97, before any
    /// of it has effect: it would keep others waiting. Default 10,000; 0 is taken for 1.
    #[must_use]
    pub const fn max_filters_per_packet(mut self, filters: u16) -> Self {
        self.offer.maximum_filters = if filters == 0 { 1 } else { filters };
        self
    }

    /// How many retained messages there may be. A message for one topic more is refused with 0x97 and goes to nobody;
    /// where that cannot be told (QoS 0, 3.x) it is dropped and counted. Topics that have one may always be changed and
    /// cleared. What a [store](crate::Server::retained_store) has is loaded even if it is more. Those that the server
    /// [publishes itself](Self::sys_interval), some sixty, count too, but are never refused. Default 10,000,000.
    #[must_use]
    pub const fn max_retained_messages(mut self, messages: usize) -> Self {
        self.max_retained_messages = messages;
        self
    }

    /// How much memory retained messages may hold in all, in bytes; what happens above is as for their
    /// [number](Self::max_retained_messages). Default: a quarter of the memory that the process may use.
    #[must_use]
    pub const fn max_retained_bytes(mut self, bytes: usize) -> Self {
        self.max_retained_bytes = bytes;
        self
    }

    /// How many messages one client may publish a second, as many again at once after it has been silent. What is above
    /// waits in the socket, so that nothing is lost; a client that waits for it counts as alive. Default 0: no bound.
    #[must_use]
    pub const fn max_message_rate(mut self, messages_per_second: u32) -> Self {
        self.rates.messages = messages_per_second;
        self
    }

    /// How many bytes of packets one client may send a second, as [`max_message_rate`](Self::max_message_rate). A
    /// packet that is larger than that is taken whole, and paid for by silence. Default 0: no bound.
    #[must_use]
    pub const fn max_byte_rate(mut self, bytes_per_second: u32) -> Self {
        self.rates.bytes = bytes_per_second;
        self
    }

    /// How often the server publishes its own numbers under `$SYS/broker/`, with the names that mosquitto has for them;
    /// only what has changed, retained, with QoS 0. They are in no [store](crate::Server::retained_store). Default:
    /// never, which is zero; `gantline serve` does every 10 s. Clients may not publish to `$SYS/` in either case.
    #[must_use]
    pub const fn sys_interval(mut self, interval: Duration) -> Self {
        self.sys_interval = interval;
        self
    }

    /// The largest packet that clients may send, in bytes, fixed header included; told to 5.0 clients. Default 16 MiB;
    /// 0 is taken for 1. A larger one ends the connection with 0x95.
    #[must_use]
    pub const fn max_packet_size(mut self, bytes: u32) -> Self {
        self.offer.maximum_packet_size =
            at_least_one(if bytes > MAXIMUM_PACKET_SIZE { MAXIMUM_PACKET_SIZE } else { bytes });
        self
    }

    /// The largest CONNECT, in bytes: what a stranger can make the server hold. Default 128 KiB, and never more than
    /// the [largest packet](Self::max_packet_size).
    #[must_use]
    pub const fn max_connect_size(mut self, bytes: u32) -> Self {
        self.max_connect_size = bytes;
        self
    }

    /// How long a new connection has until its CONNECT is there whole and its
    /// [authentication](crate::Server::authentication_method) has ended, handshakes of the transport included. Default
    /// 5 s.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many QoS 1 and 2 messages of one client may be unacknowledged; told to 5.0 clients, which are disconnected
    /// with 0x93 if they exceed it. Default 1,024; 0 is taken for 1.
    #[must_use]
    pub const fn receive_maximum(mut self, messages: u16) -> Self {
        self.offer.receive_maximum = if messages == 0 { 1 } else { messages };
        self
    }

    /// How many QoS 1 and 2 messages may be under way to one client, if it does not ask for fewer. Default 1,024; 0 is
    /// taken for 1.
    #[must_use]
    pub const fn max_inflight(mut self, messages: u16) -> Self {
        self.offer.inflight = if messages == 0 { 1 } else { messages };
        self
    }

    /// How many messages may wait for one connected client: QoS 0 and QoS 1/2 each. Default 65,536. What happens
    /// beyond is said by [`overflow`](Self::overflow).
    #[must_use]
    pub const fn max_queued_messages(mut self, messages: u32) -> Self {
        self.queue.once_messages = messages;
        self.queue.queue_messages = messages;
        self
    }

    /// How many bytes may wait for one client, connected or not: QoS 0 and QoS 1/2 each. Default 8 MiB. One message
    /// may always wait, however large.
    #[must_use]
    pub const fn max_queued_bytes(mut self, bytes: u32) -> Self {
        self.queue.once_bytes = bytes;
        self.queue.queue_bytes = bytes;
        self
    }

    /// How many QoS 1 and 2 messages may wait for a client that is away. Default 10,000.
    #[must_use]
    pub const fn max_parked_messages(mut self, messages: u32) -> Self {
        self.parked_messages = messages;
        self
    }

    /// How many bytes may wait for all clients together. Default: a quarter of the memory that the process may use.
    #[must_use]
    pub const fn max_queued_bytes_in_all(mut self, bytes: u64) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// What happens to a message for which there is no room. Default [`Overflow::DropOldest`].
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// How many seconds a session outlives its connection at most; told to 5.0 clients that ask for more. Default
    /// [`u32::MAX`], for ever. It also bounds the sessions of 3.x clients, which cannot be told.
    #[must_use]
    pub const fn session_expiry_max(mut self, seconds: u32) -> Self {
        self.offer.session_expiry_maximum = seconds;
        self
    }

    /// The longest keep alive in seconds; told to 5.0 clients that ask for more, or for none. Default: as they want;
    /// so is 0.
    #[must_use]
    pub const fn keep_alive_max(mut self, seconds: u16) -> Self {
        self.offer.keep_alive_maximum = NonZeroU16::new(seconds);
        self
    }

    /// How many topic aliases a client may set, each of which costs up to 64 KiB. Default 32; 0 for none.
    #[must_use]
    pub const fn topic_alias_maximum(mut self, aliases: u16) -> Self {
        self.offer.topic_alias_maximum = aliases;
        self
    }

    /// How many topic aliases the server sets for a client that allows as many. Default 32; 0 for none.
    #[must_use]
    pub const fn outgoing_topic_aliases(mut self, aliases: u16) -> Self {
        self.offer.outgoing_topic_aliases = aliases;
        self
    }

    /// How many levels a topic name or filter may have. Default 128. A deeper filter is refused with 0x8F, a message
    /// to a deeper topic with 0x90; where that cannot be told (QoS 0, 3.x) the message is dropped and counted.
    #[must_use]
    pub const fn max_topic_levels(mut self, levels: u16) -> Self {
        self.max_topic_levels = levels;
        self
    }

    /// How many bytes of UTF-8 a topic name or filter may have; what happens above is as for its
    /// [levels](Self::max_topic_levels). Default 65,535, which is all that MQTT can express.
    #[must_use]
    pub const fn max_topic_length(mut self, bytes: u16) -> Self {
        self.max_topic_length = bytes;
        self
    }

    /// The highest QoS that clients may publish and subscribe with. Default [`QoS::ExactlyOnce`].
    #[must_use]
    pub const fn maximum_qos(mut self, qos: QoS) -> Self {
        self.offer.maximum_qos = qos;
        self
    }

    /// Whether clients may publish retained messages. Default true.
    #[must_use]
    pub const fn retain_available(mut self, available: bool) -> Self {
        self.offer.retain_available = available;
        self
    }

    /// Whether clients may subscribe with `+` and `#`. Default true.
    #[must_use]
    pub const fn wildcard_subscriptions(mut self, available: bool) -> Self {
        self.offer.wildcard_subscriptions_available = available;
        self
    }

    /// Whether clients may subscribe with `$share`. Default true.
    #[must_use]
    pub const fn shared_subscriptions(mut self, available: bool) -> Self {
        self.offer.shared_subscriptions_available = available;
        self
    }

    /// Whether clients may give their subscriptions identifiers. Default true.
    #[must_use]
    pub const fn subscription_identifiers(mut self, available: bool) -> Self {
        self.offer.subscription_identifiers_available = available;
        self
    }

    /// How long a connection that ends may take to read what it is told last. Default 2 s.
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How long a hook that returns a future may take to decide. Default 10 s. After that a message is refused with
    /// 0x80, a subscription too, a delivery does not take place, and it is counted: see
    /// [`Metrics::hook_timeouts`](crate::Metrics::hook_timeouts).
    #[must_use]
    pub const fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.hook_timeout = timeout;
        self
    }

    /// The options of TCP listeners and their connections.
    #[must_use]
    pub fn tcp(mut self, tcp: TcpOptions) -> Self {
        self.tcp = tcp;
        self
    }

    /// The authentication method of this name.
    pub(crate) fn authentication_method(&self, name: &str) -> Option<&Arc<dyn AuthenticationMethod>> {
        self.authentication_methods.iter().find(|method| method.name() == name)
    }

    /// The bounds of the queue of a connected client.
    pub(crate) const fn connected_limits(&self) -> MailboxLimits {
        self.queue
    }

    /// The bounds of the queue of a client that is away. There is nobody to disconnect, so the oldest message makes
    /// room where that was the policy.
    pub(crate) const fn parked_limits(&self) -> MailboxLimits {
        let overflow = match self.queue.overflow {
            Overflow::DropNewest => Overflow::DropNewest,
            Overflow::DropOldest | Overflow::Disconnect => Overflow::DropOldest,
        };
        MailboxLimits { queue_messages: self.parked_messages, overflow, ..self.queue }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        let memory = memory::available();
        Self {
            offer: Offer::default(),
            tcp: TcpOptions::default(),
            max_connections: usize::MAX,
            max_connections_per_address: usize::MAX,
            max_sessions: 1_000_000,
            max_subscriptions_per_client: 100_000,
            max_retained_messages: 10_000_000,
            max_retained_bytes: usize::try_from(memory / 4).unwrap_or(usize::MAX),
            rates: Rates::default(),
            max_topic_length: u16::MAX,
            sys_interval: Duration::ZERO,
            connect_timeout: Duration::from_secs(5),
            max_connect_size: 128 << 10,
            max_topic_levels: 128,
            queue: MailboxLimits::default(),
            parked_messages: 10_000,
            memory_budget: memory / 4,
            close_timeout: Duration::from_secs(2),
            authentication_methods: Vec::new(),
            connection_validator: None,
            hooks: Arc::default(),
            hook_timeout: Duration::from_secs(10),
        }
    }
}

const fn at_least_one(number: u32) -> u32 {
    if number == 0 { 1 } else { number }
}
