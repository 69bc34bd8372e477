//! What a client wants of its connection: where to, as whom, on which terms.
//!
//! Setters never fail except where a text is parsed. What contradicts something else is found by
//! [`ConnectOptions::check`], which every connect calls before anything is sent. The setters of credentials stand in
//! `options/credentials.rs`, those of the transport in `options/transport.rs`; `options/packet.rs` makes CONNECT of
//! them. Leaves out: what the server makes of it, which is in the [`ConnectionInfo`](crate::ConnectionInfo).

mod check;
mod credentials;
mod error;
mod packet;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{AuthenticationMethod, ClientId, Message, ProtocolVersion, UserProperties};
use gantline_transport::{Address, DialOptions};

pub(crate) use self::check::check_credentials;
use self::credentials::Provider;
pub use self::credentials::{Credentials, CredentialsProvider, CredentialsRequest, Password};
pub use self::error::OptionsError;
use crate::inbox::{OnFull, StreamBounds};
use crate::inspector::{Inspector, PacketDirection};
use crate::session_store::{Durability, SessionStore, Store};

/// How to connect. See the setters for what there is and what holds if nothing is said.
///
/// ```
/// use gantline_client::ConnectOptions;
/// # fn main() -> Result<(), gantline_client::OptionsError> {
/// let options = ConnectOptions::new("mqtt://ada:secret@broker.example")?.client_id("kitchen")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub(crate) address: Option<Address>,
    pub(crate) dial: DialOptions,
    pub(crate) proxied: bool,
    #[cfg(feature = "tls")]
    tls: bool,
    #[cfg(feature = "websocket")]
    has_websocket: bool,
    /// The address with TLS, if its scheme was left out.
    #[cfg(all(feature = "tls", feature = "websocket"))]
    secure_websocket: Option<Address>,
    pub(crate) inspector: Option<Inspector>,
    pub(crate) version: ProtocolVersion,
    pub(crate) validate_features: bool,
    pub(crate) fallback: Option<ProtocolVersion>,
    pub(crate) identity: Identity,
    pub(crate) clean_start: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) maximum_packet_size: u32,
    pub(crate) stream_bounds: StreamBounds,
    pub(crate) on_full: OnFull,
    pub(crate) output_bounds: StreamBounds,
    pub(crate) session_store: Option<Store>,
    pub(crate) session_durability: Durability,
    keep_alive: u16,
    credentials: Credentials,
    credentials_provider: Option<Provider>,
    authentication: Option<Arc<dyn AuthenticationMethod>>,
    will: Option<Message>,
    will_delay: Option<u32>,
    session_expiry: Option<u32>,
    receive_maximum: Option<u16>,
    topic_alias_maximum: Option<u16>,
    request_response_information: Option<bool>,
    request_problem_information: Option<bool>,
    user_properties: UserProperties,
}

/// Where the client id comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Generated,
    Given(ClientId),
    Assigned,
}

impl ConnectOptions {
    /// Options for the server at this URL: `mqtt://host:port`, or another scheme of [`Address`]. Port, user name and
    /// password (`mqtt://user:password@host`) may be left out.
    ///
    /// # Errors
    ///
    /// The text is no such URL.
    pub fn new(url: impl AsRef<str>) -> Result<Self, OptionsError> {
        Ok(Self::to(Address::new(url)?))
    }

    /// Options for the server at this host and TCP port.
    ///
    /// # Errors
    ///
    /// The text is no host name and no IP address.
    pub fn at(host: &str, port: u16) -> Result<Self, OptionsError> {
        // An IPv6 address stands in brackets, because it has colons itself.
        let bare = host.contains(':') && !host.starts_with('[');
        Self::new(if bare { format!("mqtt://[{host}]:{port}") } else { format!("mqtt://{host}:{port}") })
    }

    /// Options for the server at this address, with the credentials in it.
    pub fn to(address: Address) -> Self {
        let credentials = address.credentials().map_or_else(Credentials::default, Credentials::of_url);
        Self { address: Some(address.without_credentials()), credentials, ..Self::default() }
    }

    /// The same options for the server at this address. Credentials in it replace those that were set, unless there is
    /// a [provider](Self::credentials_provider).
    pub fn server(mut self, address: &Address) -> Self {
        if let Some(credentials) = address.credentials().filter(|_| self.credentials_provider.is_none()) {
            self.credentials = Credentials::of_url(credentials);
        }
        self.address = Some(address.clone().without_credentials());
        #[cfg(all(feature = "tls", feature = "websocket"))]
        {
            self.secure_websocket = None;
        }
        self
    }

    /// Who the client is; the server keeps one session for each client id. Default: an id is generated for the handle
    /// and kept for its later connections.
    ///
    /// # Errors
    ///
    /// The text is empty, has more than 65,535 bytes or contains U+0000.
    pub fn client_id(mut self, id: impl AsRef<str>) -> Result<Self, OptionsError> {
        self.identity = Identity::Given(ClientId::new(id)?);
        Ok(self)
    }

    /// Lets the server choose the client id. On 5.0 it tells which, and the handle keeps it for its later connections;
    /// on 3.1.1 nobody learns it and a clean start is required; 3.1 has no such thing.
    pub fn server_assigned_client_id(mut self) -> Self {
        self.identity = Identity::Assigned;
        self
    }

    /// The version to speak. Default 5.0.
    pub const fn version(mut self, version: ProtocolVersion) -> Self {
        self.version = version;
        self
    }

    /// The version to try once more with, if the server refuses the first one as unsupported. Default: none, because a
    /// connection that silently lacks what the newer version promised is worse than an error.
    ///
    /// Only a CONNACK that says so counts; a server that just closes is not asked again. The options must be valid for
    /// the second version too. With [`Client::connect_with`](crate::Client::connect_with) there is no second attempt,
    /// because the stream is used up.
    pub const fn fallback(mut self, version: ProtocolVersion) -> Self {
        self.fallback = Some(version);
        self
    }

    /// Whether it is an error to ask for what the version of the connection does not have: an option of CONNECT,
    /// SUBSCRIBE, UNSUBSCRIBE or DISCONNECT, or a property of a message. Default true; the error names it. If false,
    /// all that is left out, apart from [`authentication`](Self::authentication): for programs that can do without.
    pub const fn validate_features(mut self, validate: bool) -> Self {
        self.validate_features = validate;
        self
    }

    /// The longest silence on our side: the client pings when it sent nothing for so long, or got nothing for twice as
    /// long, and gives the server up when a ping is not answered for as long again. Default 60 s; whole seconds,
    /// rounded up, at most 65,535; zero switches it off. The server may demand another value.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = u16::try_from(whole_seconds(interval)).unwrap_or(u16::MAX);
        self
    }

    /// Whether the first connection of the handle begins a new session. Default true.
    ///
    /// Later connections of the same handle resume the session if it outlives its connection: on 5.0 because of
    /// [`session_expiry`](Self::session_expiry), on 3.x because of `clean_start(false)`, which there means both.
    pub const fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// How long the server keeps the session after the connection: subscriptions, messages for us, flows. 5.0 only; 3.x
    /// has [`clean_start`](Self::clean_start). Default: it ends with the connection. Whole seconds, rounded up;
    /// [`Duration::MAX`] is for ever.
    pub fn session_expiry(mut self, interval: Duration) -> Self {
        self.session_expiry = Some(whole_seconds(interval));
        self
    }

    /// Where the session is kept beyond the life of the process: messages of QoS 1 and 2 that are not acknowledged, and
    /// what QoS 2 must remember. Default: nowhere. Needs a [`client_id`](Self::client_id) and a session that outlives
    /// its connection; and [`clean_start(false)`](Self::clean_start), if a restarted process is to go on where the last
    /// one ended.
    ///
    /// Then the first connection sends again what was in flight, with its packet ids, in order and with DUP. If the
    /// server does not have the session any more, or is told to begin a new one, the messages are in
    /// [`ConnectionInfo::undelivered`](crate::ConnectionInfo::undelivered).
    ///
    /// It counts in the options with which a client is made. A message that the application has taken, and whose taking
    /// the store had not confirmed when the process was killed, comes again.
    pub fn session_store(mut self, store: impl SessionStore + 'static) -> Self {
        self.session_store = Some(Store(Arc::new(store)));
        self
    }

    /// Puts something between the client and its [store](Self::session_store): what `wrap` makes of the store takes its
    /// place. Does nothing without a store.
    pub fn map_session_store<S: SessionStore + 'static>(
        mut self,
        wrap: impl FnOnce(Arc<dyn SessionStore>) -> S,
    ) -> Self {
        self.session_store = self.session_store.map(|Store(store)| Store(Arc::new(wrap(store))));
        self
    }

    /// Whether packets wait for the [store](Self::session_store). Default [`Durability::BeforeSend`]. It counts in the
    /// options with which a client is made.
    pub const fn session_durability(mut self, durability: Durability) -> Self {
        self.session_durability = durability;
        self
    }

    /// The message that the server publishes when this client is gone without goodbye. Its properties need 5.0.
    /// Default: none.
    pub fn will(mut self, message: Message) -> Self {
        self.will = Some(message);
        self
    }

    /// How long the server waits with the will, so that a client which is back soon is not mourned. 5.0 only. Default:
    /// not at all. Whole seconds, rounded up.
    pub fn will_delay(mut self, delay: Duration) -> Self {
        self.will_delay = Some(whole_seconds(delay));
        self
    }

    /// The method of extended authentication, such as SCRAM. 5.0 only. Default: none.
    ///
    /// It runs in the future that connects, within the connect time-out: its first step before the network is touched,
    /// its last with what CONNACK brings, before the connection counts as open. See
    /// [`Client::reauthenticate`](crate::Client::reauthenticate) for later.
    pub fn authentication(mut self, method: impl AuthenticationMethod + 'static) -> Self {
        self.authentication = Some(Arc::new(method));
        self
    }

    /// The most time for connecting, from the resolution of the name to CONNACK; the handshake of TLS and what asks for
    /// an identity or authenticates are included. Default 10 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The most time for ending a connection: for writing what was accepted and for the server to close. Default 5 s.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// The most time for an answer of the server: to a publish of QoS 1 or 2 that does not wait [across
    /// connections](crate::Publish::across_connections), to a subscribe, an unsubscribe and a ping. The waiting then
    /// ends with an error of its own; the connection goes on. Default: none, because a dead connection is found by the
    /// [keep alive](Self::keep_alive).
    ///
    /// It is counted from when the request is accepted, so not while a publisher waits for room in the output. Nothing
    /// is taken back: a message is delivered all the same, and a subscription is given up by an unsubscribe.
    pub const fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = Some(timeout);
        self
    }

    /// How many messages of QoS 1 and 2 the server may send before we acknowledge. 5.0 only. Default 1,024; never above
    /// the messages of [`stream_bounds`](Self::stream_bounds), and at least 1.
    pub const fn receive_maximum(mut self, maximum: u16) -> Self {
        self.receive_maximum = Some(maximum);
        self
    }

    /// The largest packet that we accept, in bytes. Default 16 MiB, at least 1 KiB. A 5.0 server is told and drops what
    /// is larger; on 3.x, which cannot tell, the connection ends.
    pub const fn maximum_packet_size(mut self, bytes: u32) -> Self {
        self.maximum_packet_size = if bytes < LEAST_PACKET_SIZE { LEAST_PACKET_SIZE } else { bytes };
        self
    }

    /// The highest topic alias that the server may assign, each of which costs memory for one topic. 5.0 only. Default
    /// 32; 0 for none.
    pub const fn topic_alias_maximum(mut self, maximum: u16) -> Self {
        self.topic_alias_maximum = Some(maximum);
        self
    }

    /// Whether the server should tell a topic prefix for responses in CONNACK. 5.0 only. Default: not asked.
    pub const fn request_response_information(mut self, wanted: bool) -> Self {
        self.request_response_information = Some(wanted);
        self
    }

    /// Whether the server may add reason strings and user properties to acknowledgements. 5.0 only. Default: not said,
    /// which means yes.
    pub const fn request_problem_information(mut self, wanted: bool) -> Self {
        self.request_problem_information = Some(wanted);
        self
    }

    /// Adds a user property to CONNECT. 5.0 only.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push(name, value);
        self
    }

    /// The bounds of each stream of messages, unless its subscription says otherwise. Default 1,024 messages and 4 MiB.
    /// See [`OnFull`] for what happens there.
    pub const fn stream_bounds(mut self, messages: usize, bytes: usize) -> Self {
        self.stream_bounds = StreamBounds { messages, bytes };
        self
    }

    /// What a stream does with a message above its bounds, unless its subscription says otherwise. Default
    /// [`OnFull::HoldAcks`].
    pub const fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// The bounds of the output, above which publishers wait; QoS 0 is counted apart from QoS 1 and 2. Default 8,192
    /// messages and 8 MiB.
    pub const fn output_bounds(mut self, messages: usize, bytes: usize) -> Self {
        self.output_bounds = StreamBounds { messages, bytes };
        self
    }

    /// A function that sees every packet, whole and as it goes over the wire, inside TLS and WebSocket: to log, to
    /// count, to find out. Default: none, which costs nothing. Packets of a later connection are those with CONNECT
    /// before them.
    ///
    /// It is called by the task of the connection, so it must be quick, must not block and must not panic; a packet
    /// that comes in parts is copied for it. CONNECT has the password in it.
    ///
    /// ```
    /// use gantline_client::{ConnectOptions, PacketDirection};
    ///
    /// let options = ConnectOptions::default().packet_inspector(|direction, packet| match direction {
    ///     PacketDirection::Received => println!("<- {} bytes", packet.len()),
    ///     PacketDirection::Sent => println!("-> {} bytes", packet.len()),
    /// });
    /// ```
    pub fn packet_inspector(
        mut self,
        inspect: impl Fn(PacketDirection, &[u8]) + Send + Sync + 'static,
    ) -> Self {
        self.inspector = Some(Inspector::new(inspect));
        self
    }

    /// Where the server is, without credentials.
    pub const fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }
}

/// Options without an address, for [`Client::connect_with`](crate::Client::connect_with).
impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            address: None,
            dial: DialOptions::default(),
            proxied: false,
            #[cfg(feature = "tls")]
            tls: false,
            #[cfg(feature = "websocket")]
            has_websocket: false,
            #[cfg(all(feature = "tls", feature = "websocket"))]
            secure_websocket: None,
            inspector: None,
            version: ProtocolVersion::default(),
            validate_features: true,
            fallback: None,
            identity: Identity::Generated,
            clean_start: true,
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            operation_timeout: None,
            maximum_packet_size: 16 << 20,
            stream_bounds: StreamBounds::default(),
            on_full: OnFull::default(),
            output_bounds: StreamBounds { messages: 8192, bytes: 8 << 20 },
            session_store: None,
            session_durability: Durability::default(),
            keep_alive: 60,
            credentials: Credentials::default(),
            credentials_provider: None,
            authentication: None,
            will: None,
            will_delay: None,
            session_expiry: None,
            receive_maximum: None,
            topic_alias_maximum: None,
            request_response_information: None,
            request_problem_information: None,
            user_properties: UserProperties::default(),
        }
    }
}

/// Seconds as they go over the wire, rounded up; what is too long for them is for ever.
fn whole_seconds(duration: Duration) -> u32 {
    let rounded = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

/// Every CONNACK and every acknowledgement fits into this.
const LEAST_PACKET_SIZE: u32 = 1024;
